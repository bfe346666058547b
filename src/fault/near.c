/* SPDX-License-Identifier: MIT */
/* See near.h. */
#include "fault/near.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/slab.h"
#include "fault/engine.h"

/* How long it rests, first and at most; and after how many turns without a
 * rescue that begins anew. */
#define PAUSE_FIRST_NS ((int64_t)20000000)
#define PAUSE_LAST_NS  ((int64_t)10000000000)
#define SERVED_WELL    256

/* Looks of the reader without a fault that end its duty. */
#define IDLE_LOOKS 10

/* Enough for one on an idle CPU to come. */
#define A_MOMENT_NS 50000

/* A toucher that takes longer to its next fault has other work, or is on
 * another CPU; and how many such faults go by before the next look, if it was
 * the work: doubling, up to this. */
#define GAP_NS   25000
#define SKIP_MAX 64

static struct slab_cache nears = SLAB_CACHE("near", sizeof(struct near));

/* Leaving SCHED_IDLE counts as lowering the nice value from 20 (sched(7)). */
static bool may_rescue(void)
{
    struct __user_cap_header_struct header = {.version =
                                                  _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{0}};
    struct rlimit nice;

    if (getrlimit(RLIMIT_NICE, &nice) == 0 && nice.rlim_cur >= 20)
        return true;
    return syscall(SYS_capget, &header, caps) == 0 &&
           (caps[0].effective & (1u << CAP_SYS_NICE));
}

static int start_one(struct channel *channel)
{
    struct near *near;
    int err;

    if (atomic_load(&channel->near))
        return 0;
    near = slab_alloc(&nears);
    if (!near)
        return -ENOMEM;
    atomic_init(&near->at_cpu, -1);
    near->pause_ns = PAUSE_FIRST_NS;
    near->backoff = 1;
    near->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = near->stop_fd < 0 ? -errno : 0;
    if (!err)
        err = engine_start_near(channel, near);
    if (err) {
        if (near->stop_fd >= 0)
            close(near->stop_fd);
        slab_free(&nears, near);
    }
    return err;
}

int near_start(struct uf_engine *engine)
{
    int err = may_rescue() ? 0 : -EPERM;

    for (unsigned i = 0; !err && i < engine->nchannels; i++)
        err = start_one(engine->channels[i]);
    return err;
}

void near_stop(struct channel *channel)
{
    struct near *near = atomic_exchange(&channel->near, NULL);
    uint64_t one = 1;
    ssize_t ignored;

    if (!near)
        return;
    ignored = write(near->stop_fd, &one, sizeof(one));
    (void)ignored;
    engine_join_handler(near->handler);
    close(near->stop_fd);
    slab_free(&nears, near);
}

void near_retire(struct uf_engine *engine)
{
    for (unsigned i = 0; i < engine->nchannels; i++) {
        struct near *near = atomic_load(&engine->channels[i]->near);

        if (near)
            atomic_store(&near->retired, true);
    }
}

void near_forget(struct channel *channel, bool close_fd)
{
    struct near *near = atomic_exchange(&channel->near, NULL);

    if (!near)
        return;
    if (close_fd)
        close(near->stop_fd);
    slab_free(&nears, near);
}

bool near_is_worth_it(const struct uf_engine *engine)
{
    cpu_set_t set;

    return engine->opts.cpu_plus_one == 0 && !engine->signals &&
           sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

bool near_begin(struct near *near)
{
    atomic_fetch_add(&near->serial, 1);
    return !atomic_load(&near->on_duty) &&
           !atomic_exchange(&near->on_duty, true);
}

void near_end(struct near *near)
{
    near->ended_ns = fault_clock_ns();
    atomic_fetch_add(&near->serial, 1);
    if (!atomic_exchange(&near->rescued, false)) {
        if (++near->served == SERVED_WELL)
            near->pause_ns = PAUSE_FIRST_NS;
        return;
    }
    atomic_store(&near->on_duty, false);
    sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    atomic_store(&near->at_cpu, -1);
    near->served = 0;
    near->tired = true;
}

void near_rest(struct near *near)
{
    struct pollfd stop = {.fd = near->stop_fd, .events = POLLIN};
    int64_t ns = near->pause_ns;
    struct timespec ts = {ns / 1000000000, ns % 1000000000};

    if (atomic_load(&near->retired)) {
        ppoll(&stop, 1, NULL, NULL);
        return;
    }
    if (!near->tired)
        return;
    ppoll(&stop, 1, &ts, NULL);
    near->tired = false;
    near->pause_ns = 2 * ns < PAUSE_LAST_NS ? 2 * ns : PAUSE_LAST_NS;
}

/* ---------------------------------------------------------------- watching --
 */

bool near_is_on_duty(struct channel *channel)
{
    struct near *near = atomic_load(&channel->near);

    return near && atomic_load(&near->on_duty);
}

static void rescue(struct near *near)
{
    pid_t tid = atomic_load(&near->handler->tid);
    cpu_set_t everywhere;

    if (tid == 0)
        return;
    atomic_store(&near->rescued, true);
    /* The right to do so may be gone (setuid): then this was its last fault. */
    if (sched_setscheduler(tid, SCHED_OTHER, &(struct sched_param){0}) < 0)
        atomic_store(&near->retired, true);
    if (sched_getaffinity(0, sizeof(everywhere), &everywhere) == 0)
        sched_setaffinity(tid, sizeof(everywhere), &everywhere);
}

/* Faults wait, and not just since now. */
static bool faults_wait(struct channel *channel, const struct near *near)
{
    struct timespec moment = {0, A_MOMENT_NS};

    for (int looks = 0; looks < 2; looks++) {
        if (channel->uffd.ops->wait(&channel->uffd, channel->stop_fd, 0) <= 0)
            return false;
        if (looks == 0)
            nanosleep(&moment, NULL);
    }
    return atomic_load(&near->serial) == near->seen;
}

/* Whether a thread sleeps in a fault that was read: it may be that all were
 * woken, and run where the near handler would. True if that cannot be told. */
static bool somebody_sleeps(struct channel *channel)
{
    char text[256];
    const char *at;
    ssize_t got;
    int fd;

    snprintf(text, sizeof(text), "/proc/thread-self/fdinfo/%d",
             channel->uffd.fd);
    fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    at = strstr(text, "total:");
    return !at || strtoul(at + strlen("total:"), NULL, 10) > 0;
}

/* The descriptor is the reader's again; unless the near handler begins at this
 * very moment, and may have found itself on duty still. */
static void relieve(struct near *near)
{
    atomic_store(&near->on_duty, false);
    if (atomic_load(&near->serial) != near->seen)
        atomic_store(&near->on_duty, true);
    near->idle = 0;
}

/* The near handler has not moved on. */
static void act_on(struct channel *channel, struct near *near, bool serving)
{
    if (serving && somebody_sleeps(channel)) {
        rescue(near);
        relieve(near);
    } else if (!serving && faults_wait(channel, near)) {
        atomic_store(&near->rescued, true);
        relieve(near);
    } else if (++near->idle >= IDLE_LOOKS) {
        relieve(near);
    }
}

void near_watch(struct channel *channel)
{
    struct near *near = atomic_load(&channel->near);
    uint64_t serial = near ? atomic_load(&near->serial) : 0;

    if (!near)
        return;
    if (serial == near->seen) {
        act_on(channel, near, serial % 2);
        return;
    }
    near->seen = serial;
    near->idle = 0;
}

/* --------------------------------------------------------------- following --
 */

static void go_to(struct near *near, int cpu)
{
    cpu_set_t set;
    pid_t tid;

    if (cpu < 0 || atomic_load(&near->at_cpu) == cpu)
        return;
    tid = atomic_load(&near->handler->tid);
    if (tid == 0)
        return; /* not running yet */
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(tid, sizeof(set), &set) == 0)
        atomic_store(&near->at_cpu, cpu);
}

/* The CPU that a thread runs on or last ran on: proc(5), stat, field 39. -1 if
 * that cannot be had. */
static int cpu_of(pid_t tid)
{
    char text[1024];
    const char *at;
    ssize_t got;
    int fd;

    snprintf(text, sizeof(text), "/proc/self/task/%d/stat", (int)tid);
    fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    at = strrchr(text, ')'); /* ends field 2 */
    for (int field = 2; at && field < 39; field++)
        at = strchr(at + 1, ' ');
    return at ? atoi(at + 1) : -1;
}

void near_look(struct channel *channel, pid_t tid)
{
    struct near *near = atomic_load(&channel->near);

    if (near && !near_is_on_duty(channel))
        go_to(near, cpu_of(tid));
}

void near_follow(struct near *near, pid_t tid, uint64_t received_ns)
{
    int cpu;

    if (received_ns - near->ended_ns < GAP_NS) {
        near->skip = 0;
        return;
    }
    if (near->skip > 0 && --near->skip > 0)
        return;
    cpu = cpu_of(tid);
    if (cpu == atomic_load(&near->at_cpu))
        near->skip = near->backoff < SKIP_MAX ? near->backoff *= 2 : SKIP_MAX;
    else
        near->backoff = 1;
    go_to(near, cpu);
}

void near_come(struct channel *channel)
{
    struct near *near = atomic_load(&channel->near);

    if (near)
        go_to(near, sched_getcpu());
}
