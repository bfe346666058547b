/* SPDX-License-Identifier: MIT */
/* See near.h. */
#include "fault/near.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/slab.h"
#include "fault/engine.h"

static struct slab_cache nears = SLAB_CACHE("near", sizeof(struct near));

int near_start(struct uf_engine *engine)
{
    struct near *near = slab_alloc(&nears);
    int err;

    if (!near)
        return -ENOMEM;
    atomic_init(&near->at_cpu, -1);
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
