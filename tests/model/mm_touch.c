/* SPDX-License-Identifier: MIT */
/*
 * Touching memory that may not be there: a signal is an answer. By the thread
 * that runs the operations, by threads beside it, and by a forked child.
 *
 * Threads beside make the time of a touch random, and a first write gives a
 * mapping an anon_vma, which decides what merges. So threads read everywhere,
 * which changes nothing that is compared but residency, or (thread_writes) they
 * also write, each its own bytes at a page's end, and mappings are compared
 * with like neighbours joined.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"

#define CHILD_PAGES 24u /* of a mapping's ends that a child looks at */

static _Thread_local sigjmp_buf touch_failed;
static _Thread_local volatile sig_atomic_t touching;

static struct sigaction before[2]; /* of SIGSEGV, SIGBUS */

/* What is not a touch of ours happens again, for who was there before. */
static void on_signal(int sig)
{
    if (touching)
        siglongjmp(touch_failed, sig);
    sigaction(sig, &before[sig == SIGBUS], NULL);
}

static void catch_signal(int sig)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    struct sigaction old;

    sigaction(sig, &action, &old);
    if (old.sa_handler != on_signal)
        before[sig == SIGBUS] = old;
}

void mm_catch_signals(void)
{
    catch_signal(SIGSEGV);
    catch_signal(SIGBUS);
}

int mm_read_byte(uintptr_t at, uint8_t *ret_byte)
{
    int sig = sigsetjmp(touch_failed, 0);

    if (sig == 0) {
        touching = 1;
        *ret_byte = *(volatile uint8_t *)at;
    }
    touching = 0;
    return sig;
}

static __attribute__((noinline)) void store(uintptr_t at, size_t len_bytes,
                                            uint8_t fill)
{
    for (size_t i = 0; i < len_bytes; i++)
        ((volatile uint8_t *)at)[i] = fill;
}

int mm_write_bytes(uintptr_t at, size_t len_bytes, uint8_t fill)
{
    int sig = sigsetjmp(touch_failed, 0);

    if (sig == 0) {
        touching = 1;
        store(at, len_bytes, fill);
    }
    touching = 0;
    return sig;
}

int mm_read_page(uintptr_t page, size_t len_bytes, uint64_t *ret_print)
{
    int sig = sigsetjmp(touch_failed, 0);

    if (sig == 0) {
        touching = 1;
        *ret_print = mm_page_print((const void *)page, len_bytes);
    }
    touching = 0;
    return sig;
}

/* -------------------------------------------------------------- threads -- */

struct toucher {
    struct mm_side *side;
    uint32_t nth;
};

static struct toucher touchers[THREADS_MAX];
static uint32_t ntouchers;
static _Atomic uint32_t nbusy;

static void await_value_change(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void touch_somewhere(const struct toucher *toucher,
                            struct mm_source *source)
{
    struct mm_side *side = toucher->side;
    uintptr_t page =
        side->base + mm_below(source, side->config.npages) * page_size();
    uint8_t byte;

    if (side->config.thread_writes && mm_below(source, 2))
        mm_write_bytes(page + page_size() - 8 * (toucher->nth + 1), 8,
                       (uint8_t)mm_below(source, 256));
    else
        mm_read_byte(page + mm_below(source, page_size()), &byte);
}

static void *touch_on(void *data)
{
    const struct toucher *toucher = data;
    struct mm_exchange *exchange = toucher->side->exchange;
    _Atomic uint32_t *running = &exchange->running[toucher->side->id];
    struct mm_source source = {.state = exchange->seed + toucher->nth};

    for (;;) {
        await_value_change(running, 0);
        atomic_fetch_add(&nbusy, 1);
        /* After it is seen as busy: nothing is taken from under it. */
        while (*running > toucher->nth) {
            touch_somewhere(toucher, &source);
            exchange->touches[toucher->side->id]++;
            if (mm_below(&source, 16) == 0)
                sched_yield();
        }
        atomic_fetch_sub(&nbusy, 1);
        if (*running > 0) /* not one of those that are wanted */
            await_value_change(running, *running);
    }
    return NULL;
}

int mm_start_threads(struct mm_side *side, uint32_t nthreads)
{
    ntouchers = nthreads < THREADS_MAX ? nthreads : THREADS_MAX;
    for (uint32_t i = 0; i < ntouchers; i++) {
        pthread_t thread;
        pthread_attr_t attr;
        int err;

        touchers[i] = (struct toucher){side, i};
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 << 10);
        err = pthread_create(&thread, &attr, touch_on, &touchers[i]);
        pthread_attr_destroy(&attr);
        if (err)
            return -err;
    }
    return 0;
}

void mm_threads_go(struct mm_side *side)
{
    _Atomic uint32_t *running = &side->exchange->running[side->id];

    if (side->config.nthreads == 0)
        return;
    *running = side->config.nthreads;
    syscall(SYS_futex, running, FUTEX_WAKE, THREADS_MAX, NULL, NULL, 0);
}

void mm_threads_stop(struct mm_side *side)
{
    _Atomic uint32_t *running = &side->exchange->running[side->id];

    *running = 0;
    while (nbusy > 0)
        sched_yield();
    syscall(SYS_futex, running, FUTEX_WAKE, THREADS_MAX, NULL, NULL, 0);
}

/* ---------------------------------------------------------------- a child */

/* What the child can read at a page: its bytes, or the signal. */
static uint64_t look_at(uint64_t seen, uintptr_t page, size_t len_bytes)
{
    uint64_t print = 0;
    int sig = mm_read_page(page, len_bytes, &print);

    seen = mm_hash(seen, page);
    return mm_hash(seen, sig ? (uint64_t)sig : print << 8);
}

static void child(struct mm_side *side, const struct mm_args *args)
{
    size_t page = page_size();
    size_t len = page - (side->config.thread_writes ? THREADS_BYTES : 0);
    uint64_t seen = 1;

    for (uint32_t i = 0; i < side->nmaps; i++) {
        const struct mm_map *map = &side->maps[i];
        size_t npages = (map->end - map->start) / page;

        for (size_t nth = 0; nth < npages; nth++)
            if (nth < CHILD_PAGES || nth + CHILD_PAGES >= npages)
                seen = look_at(seen, map->start + nth * page, len);
    }
    if (args->at >= side->base && args->at < side->end)
        seen = mm_hash(seen, (uint64_t)mm_write_bytes(args->at, 1, args->fill));
    side->exchange->child_seen[side->id] = seen;
    _exit(0);
}

void mm_fork_and_look(struct mm_side *side, const struct mm_args *args,
                      struct mm_record *record)
{
    int status = -1;
    pid_t pid;

    side->exchange->child_seen[side->id] = 0;
    pid = side->fork(side);
    if (pid == 0)
        child(side, args);
    if (pid < 0)
        record->result = (uint64_t)-errno;
    else if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) != pid || status != 0)
        record->wrong = __LINE__;
    record->seen = side->exchange->child_seen[side->id];
}
