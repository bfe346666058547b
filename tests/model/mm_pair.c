/* SPDX-License-Identifier: MIT */
/*
 * The processes of the sides: starting them, telling both to run a list, and
 * saying where one is that hangs or has died. A lost side is started anew, so
 * that what kills it can be shrunk.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"

#define SKIPPED     77
#define PATIENCE_MS 60000
/* Free in every layout: above where a bottom-up search begins, below programs
 * and the stack; of high memory where sanitizers look at it. */
#define ARENA ((uintptr_t)1 << 46)

_Noreturn void mm_die(const char *what, int err)
{
    printf("mm-twin: %s: %s\n", what, strerror(-err));
    exit(err == -EPERM || err == -ENOSYS ? SKIPPED : 1);
}

/* -------------------------------------------------------- a side's process --
 */

static struct mm_exchange *map_exchange(int fd)
{
    void *p = mmap(NULL, sizeof(struct mm_exchange), PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        mm_die("mmap", -errno);
    return p;
}

/* Deep enough that the stack does not grow while limits are in force. */
static __attribute__((noinline)) void touch_stack(void)
{
    volatile char deep[400 << 10];

    for (size_t i = 0; i < sizeof(deep); i += 1024)
        deep[i] = 1;
}

/* malloc must not ask for more once the room is full and the break elsewhere.
 */
static void set_memory_aside(void)
{
    void *p;

    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    p = malloc(1 << 20);
    memset(p, 1, 1 << 20);
    free(p);
}

/* A touch is answered fastest on its own CPU; the engine's threads inherit. */
static void pin(int nth)
{
    cpu_set_t allowed, one;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || nth-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

static int prepare(struct mm_side *side, struct mm_exchange *exchange,
                   uint32_t nthreads, bool bottom_up)
{
    int err;

    side->arena = ARENA;
    side->exchange = exchange;
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    mm_catch_signals();
    err = mm_files_open();
    if (!err)
        err = mm_start_threads(side, nthreads);
    return err ? err : side->prepare(side, bottom_up);
}

/* --serve kernel|self|space EXCHANGE-FD IN OUT THREADS BOTTOM-UP */
int mm_side_serve(char **args)
{
    struct mm_exchange *exchange = map_exchange(atoi(args[1]));
    int in = atoi(args[2]), out = atoi(args[3]);
    struct mm_side *side =
        strcmp(args[0], "space") == 0 ? mm_space_side() : mm_kernel_side();
    int err;
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (strcmp(args[0], "self") == 0)
        side->id = SIDE_TESTED;
    pin(side->id == SIDE_KERNEL);
    touch_stack();
    set_memory_aside();
    err = prepare(side, exchange, (uint32_t)atoi(args[4]), args[5][0] == '1');
    while (read(in, &go, 1) == 1) {
        if (err)
            exchange->error[side->id] = err;
        else
            mm_side_run(side, exchange);
        if (write(out, &go, 1) != 1)
            return 1;
    }
    return 0;
}

static void become_side(const char *side, bool bottom_up, char (*arg)[12])
{
    if (bottom_up)
        personality(ADDR_COMPAT_LAYOUT);
    execl("/proc/self/exe", "mm-twin", "--serve", side, arg[0], arg[1], arg[2],
          arg[3], bottom_up ? "1" : "0", (char *)NULL);
    _exit(127);
}

static void start_process(struct mm_pair *pair, struct mm_process *process,
                          const char *side, bool bottom_up)
{
    int to[2], from[2];
    char arg[4][12];

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        mm_die("pipe", -errno);
    snprintf(arg[0], sizeof(arg[0]), "%d", pair->exchange_fd);
    snprintf(arg[1], sizeof(arg[1]), "%d", to[0]);
    snprintf(arg[2], sizeof(arg[2]), "%d", from[1]);
    snprintf(arg[3], sizeof(arg[3]), "%u", THREADS_MAX);
    if (pair->exchange->config.nthreads == 0)
        snprintf(arg[3], sizeof(arg[3]), "0");
    fflush(NULL);
    process->pid = fork();
    if (process->pid < 0)
        mm_die("fork", -errno);
    if (process->pid == 0) {
        fcntl(to[0], F_SETFD, 0);
        fcntl(from[1], F_SETFD, 0);
        fcntl(pair->exchange_fd, F_SETFD, 0);
        become_side(side, bottom_up, arg);
    }
    close(to[0]);
    close(from[1]);
    process->to = to[1];
    process->from = from[0];
}

static void stop_process(struct mm_process *process, bool by_force)
{
    int status;

    if (process->pid == 0)
        return;
    if (by_force)
        kill(process->pid, SIGKILL);
    close(process->to);
    close(process->from);
    waitpid(process->pid, &status, 0);
    process->pid = 0;
}

/* ------------------------------------------------------------ running both --
 */

void mm_pair_open(struct mm_pair *pair, bool self, struct mm_side *here)
{
    int fd = memfd_create("mm-twin", MFD_CLOEXEC);
    int err = 0;

    if (fd < 0 || ftruncate(fd, sizeof(struct mm_exchange)) < 0)
        mm_die("memfd_create", -errno);
    *pair = (struct mm_pair){.exchange = map_exchange(fd),
                             .exchange_fd = fd,
                             .self = self,
                             .here = here,
                             .patience_ms = PATIENCE_MS};
    if (here)
        err = prepare(here, pair->exchange, 0, false);
    if (err)
        mm_die("tested side", err);
}

void mm_pair_close(struct mm_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        stop_process(&pair->kernel[i], false);
        stop_process(&pair->tested[i], false);
    }
    munmap(pair->exchange, sizeof(*pair->exchange));
    close(pair->exchange_fd);
}

static bool await(struct mm_pair *pair, struct mm_process *process,
                  enum mm_side_id id)
{
    struct pollfd fd = {.fd = process->from, .events = POLLIN};
    char answer;
    const char *how = NULL;

    if (TEMP_FAILURE_RETRY(poll(&fd, 1, pair->patience_ms)) <= 0)
        how = "hangs";
    else if (read(fd.fd, &answer, 1) != 1)
        how = "has died";
    if (!how)
        return true;
    pair->lost = how;
    pair->lost_side = id;
    stop_process(process, true);
    return false;
}

static void start_run(struct mm_process *process)
{
    if (write(process->to, "g", 1) != 1 && errno != EPIPE)
        mm_die("write", -errno);
}

static bool run_once(struct mm_pair *pair)
{
    struct mm_exchange *exchange = pair->exchange;
    bool up = exchange->config.bottom_up;
    struct mm_process *kernel = &pair->kernel[up];
    /* The space's process knows no direction; the kernel's is one at birth. */
    struct mm_process *tested = &pair->tested[up && pair->self];
    bool both;

    pair->lost = NULL;
    if (kernel->pid == 0)
        start_process(pair, kernel, "kernel", up);
    if (tested->pid == 0 && !pair->here)
        start_process(pair, tested, pair->self ? "self" : "space",
                      up && pair->self);
    start_run(kernel);
    if (pair->here)
        mm_side_run(pair->here, exchange);
    else
        start_run(tested);
    both = await(pair, kernel, SIDE_KERNEL);
    if (!pair->here && !await(pair, tested, SIDE_TESTED))
        return false;
    return both;
}

bool mm_pair_run(struct mm_pair *pair)
{
    const struct mm_exchange *exchange = pair->exchange;
    struct mm_process *kernel = &pair->kernel[exchange->config.bottom_up];
    struct mm_process *self = &pair->tested[exchange->config.bottom_up];
    const int32_t *error = exchange->error;
    bool both = run_once(pair);

    for (int tries = 0; both && tries < 3; tries++) {
        if (error[SIDE_KERNEL] != -EAGAIN && error[SIDE_TESTED] != -EAGAIN)
            break;
        if (error[SIDE_KERNEL] == -EAGAIN)
            stop_process(kernel, true);
        if (error[SIDE_TESTED] == -EAGAIN && pair->self)
            stop_process(self, true);
        both = run_once(pair);
    }
    for (int i = 0; both && i < SIDES; i++)
        if (error[i])
            mm_die(i == SIDE_KERNEL ? "kernel's side" : "tested side",
                   error[i]);
    return both;
}
