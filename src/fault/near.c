/* SPDX-License-Identifier: MIT */
/* See near.h. */
#include "fault/near.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/slab.h"
#include "fault/engine.h"

/* How long it rests, first and at most; and after how many turns without a
 * rescue that begins anew. */
#define PAUSE_FIRST_NS ((int64_t)200000000)
#define PAUSE_LAST_NS  ((int64_t)10000000000)
#define SERVED_WELL    256

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

int near_start(struct uf_engine *engine)
{
    struct near *near;
    int err;

    if (!may_rescue())
        return -EPERM;
    near = slab_alloc(&nears);
    if (!near)
        return -ENOMEM;
    atomic_init(&near->at_cpu, -1);
    near->pause_ns = PAUSE_FIRST_NS;
    near->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = near->stop_fd < 0 ? -errno : 0;
    if (!err)
        err = engine_start_near(engine, near);
    if (err) {
        if (near->stop_fd >= 0)
            close(near->stop_fd);
        slab_free(&nears, near);
        return err;
    }
    atomic_store(&engine->near, near);
    return 0;
}

void near_stop(struct uf_engine *engine)
{
    struct near *near = atomic_exchange(&engine->near, NULL);
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

void near_begin(struct near *near)
{
    atomic_fetch_add(&near->serial, 1);
}

void near_end(struct near *near)
{
    atomic_fetch_add(&near->serial, 1);
    if (!atomic_exchange(&near->rescued, false)) {
        if (++near->served == SERVED_WELL)
            near->pause_ns = PAUSE_FIRST_NS;
        return;
    }
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

    if (!near->tired)
        return;
    ppoll(&stop, 1, &ts, NULL);
    near->tired = false;
    near->pause_ns = 2 * ns < PAUSE_LAST_NS ? 2 * ns : PAUSE_LAST_NS;
}

uint64_t near_held(struct uf_engine *engine)
{
    struct near *near = atomic_load(&engine->near);
    uint64_t serial = near ? atomic_load(&near->serial) : 0;

    return serial % 2 ? serial : 0;
}

void near_rescue(struct uf_engine *engine, uint64_t held)
{
    struct near *near = atomic_load(&engine->near);
    pid_t tid = near ? atomic_load(&near->handler->tid) : 0;
    cpu_set_t everywhere;

    if (tid == 0 || near_held(engine) != held)
        return;
    atomic_store(&near->rescued, true);
    sched_setscheduler(tid, SCHED_OTHER, &(struct sched_param){0});
    if (sched_getaffinity(0, sizeof(everywhere), &everywhere) == 0)
        sched_setaffinity(tid, sizeof(everywhere), &everywhere);
}

void near_come(struct uf_engine *engine)
{
    struct near *near = atomic_load(&engine->near);
    int cpu = near ? sched_getcpu() : -1;
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
