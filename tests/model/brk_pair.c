/* SPDX-License-Identifier: MIT */
/*
 * The two processes: starting them, telling both to run a list, and saying
 * where one is that hangs or has died.
 */
#include "model/brk_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"

#define SKIPPED 77
/* For one run of at most OPS_MAX operations: after that it hangs. */
#define PATIENCE_MS 120000

_Noreturn void die(const char *what, int err)
{
    printf("brk-twin: %s: %s\n", what, strerror(-err));
    exit(err == -EPERM || err == -ENOSYS ? SKIPPED : 1);
}

/* -------------------------------------------------------- a side's process --
 */

static struct exchange *map_exchange(int fd)
{
    void *p = mmap(NULL, sizeof(struct exchange), PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        die("mmap", -errno);
    return p;
}

/* Deep enough that the stack does not grow while pages are counted. */
static __attribute__((noinline)) void touch_stack(void)
{
    volatile char deep[200 << 10];

    for (size_t i = 0; i < sizeof(deep); i += 1024)
        deep[i] = 1;
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

/* --serve SIDE EXCHANGE-FD IN OUT */
int side_serve(char **args)
{
    struct exchange *exchange = map_exchange(atoi(args[1]));
    int in = atoi(args[2]), out = atoi(args[3]);
    struct side *side = strcmp(args[0], "kernel") == 0   ? kernel_side()
                        : strcmp(args[0], "native") == 0 ? native_side()
                                                         : space_side();
    uint64_t ignored;
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    pin(side->id == SIDE_KERNEL);
    touch_stack();
    process_drop_ballast();
    if (process_heap(&side->start, &ignored) < 0)
        return 1;
    while (read(in, &go, 1) == 1) {
        side_run(side, exchange);
        if (write(out, &go, 1) != 1)
            return 1;
    }
    return 0;
}

static struct process start_process(const char *side, int exchange_fd)
{
    struct process process;
    int to[2], from[2];
    char arg[3][12];

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        die("pipe", -errno);
    snprintf(arg[0], sizeof(arg[0]), "%d", exchange_fd);
    snprintf(arg[1], sizeof(arg[1]), "%d", to[0]);
    snprintf(arg[2], sizeof(arg[2]), "%d", from[1]);
    fflush(NULL);
    process.pid = fork();
    if (process.pid < 0)
        die("fork", -errno);
    if (process.pid == 0) {
        fcntl(to[0], F_SETFD, 0);
        fcntl(from[1], F_SETFD, 0);
        fcntl(exchange_fd, F_SETFD, 0);
        setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=0", 1);
        execl("/proc/self/exe", "brk-twin", "--serve", side, arg[0], arg[1],
              arg[2], (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    process.to = to[1];
    process.from = from[0];
    return process;
}

static void stop_process(struct process *process)
{
    int status;

    close(process->to);
    close(process->from);
    waitpid(process->pid, &status, 0);
}

/* ------------------------------------------------------------ running both --
 */

void open_pair(struct pair *pair, bool native)
{
    int fd = memfd_create("brk-twin", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, sizeof(struct exchange)) < 0)
        die("memfd_create", -errno);
    *pair = (struct pair){.exchange = map_exchange(fd)};
    pair->process[SIDE_KERNEL] = start_process("kernel", fd);
    pair->process[SIDE_TESTED] = start_process(native ? "native" : "space", fd);
    close(fd);
}

void close_pair(struct pair *pair)
{
    for (int i = 0; i < SIDES; i++)
        stop_process(&pair->process[i]);
    munmap(pair->exchange, sizeof(*pair->exchange));
}

/* Where a side is that does not answer, or has died. */
static _Noreturn void lost(const struct pair *pair, enum side_id id,
                           const char *how)
{
    const struct exchange *exchange = pair->exchange;
    uint32_t done = exchange->done[id];

    printf(
        "brk-twin: the %s side %s; seed %" PRIu64 ", operation %" PRIu32 "\n",
        id == SIDE_KERNEL ? "kernel's" : "tested", how, exchange->seed, done);
    if (done < exchange->nops)
        op_print(&exchange->ops[done]);
    for (int i = 0; i < SIDES; i++)
        kill(pair->process[i].pid, SIGKILL);
    exit(1);
}

static void await(struct pair *pair, enum side_id id)
{
    struct pollfd fd = {.fd = pair->process[id].from, .events = POLLIN};
    char answer;

    if (poll(&fd, 1, PATIENCE_MS) <= 0)
        lost(pair, id, "hangs");
    if (read(fd.fd, &answer, 1) != 1)
        lost(pair, id, "has died");
}

/* Both sides do exchange->ops. */
void run_once(struct pair *pair)
{
    for (int i = 0; i < SIDES; i++)
        if (write(pair->process[i].to, "g", 1) != 1)
            die("write", -errno);
    for (int i = 0; i < SIDES; i++)
        await(pair, (enum side_id)i);
    for (int i = 0; i < SIDES; i++)
        if (pair->exchange->error[i])
            die(i == SIDE_KERNEL ? "kernel's side" : "tested side",
                pair->exchange->error[i]);
}
