/* SPDX-License-Identifier: MIT */
/* See registrar.h. */
#include "run/registrar.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/mapping.h"

#define STACK_BYTES ((size_t)256 << 10) /* as the engine's, see agent.c */

enum { IDLE, ASKED, ANSWERED };

static struct {
    pthread_mutex_t asking; /* one at a time */
    atomic_bool runs;
    _Atomic uint32_t state;
    struct uffd_result (*regist)(struct uffd *u, struct range range);
    struct uffd *uffd;
    struct range range;
    struct uffd_result result;
} registrar = {.asking = PTHREAD_MUTEX_INITIALIZER};

static void wait_while(uint32_t state)
{
    while (atomic_load(&registrar.state) == state)
        syscall(SYS_futex, &registrar.state, FUTEX_WAIT_PRIVATE, state, NULL);
}

static void go_to(uint32_t state)
{
    atomic_store(&registrar.state, state);
    syscall(SYS_futex, &registrar.state, FUTEX_WAKE_PRIVATE, 1);
}

static void *registrar_main(void *arg)
{
    mapping_pass_this_thread();
    prctl(PR_SET_NAME, "ufault-register");
    for (;;) {
        wait_while(IDLE);
        wait_while(ANSWERED);
        if (atomic_load(&registrar.state) != ASKED)
            continue;
        registrar.result = registrar.regist(registrar.uffd, registrar.range);
        go_to(ANSWERED);
    }
    return arg;
}

int registrar_start(void)
{
    void *stack = mapping_take_stack(STACK_BYTES);
    pthread_attr_t attr;
    pthread_t thread;
    int err;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (stack)
        pthread_attr_setstack(&attr, stack, STACK_BYTES);
    else
        pthread_attr_setstacksize(&attr, STACK_BYTES);
    err = pthread_create(&thread, &attr, registrar_main, NULL);
    pthread_attr_destroy(&attr);
    atomic_store(&registrar.runs, err == 0);
    return -err;
}

bool registrar_runs(void)
{
    return atomic_load(&registrar.runs);
}

struct uffd_result
registrar_do(struct uffd_result (*regist)(struct uffd *u, struct range range),
             struct uffd *uffd, struct range range)
{
    struct uffd_result result;

    pthread_mutex_lock(&registrar.asking);
    registrar.regist = regist;
    registrar.uffd = uffd;
    registrar.range = range;
    go_to(ASKED);
    wait_while(ASKED);
    result = registrar.result;
    atomic_store(&registrar.state, IDLE);
    pthread_mutex_unlock(&registrar.asking);
    return result;
}

void registrar_fork_child(void)
{
    pthread_mutex_init(&registrar.asking, NULL);
    atomic_store(&registrar.runs, false);
    atomic_store(&registrar.state, IDLE);
}
