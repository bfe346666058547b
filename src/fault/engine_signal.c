/* SPDX-License-Identifier: MIT */
/*
 * The signal engine: the touching thread answers its own fault.
 *
 *     touch ─► SIGBUS ─► trap.c: whose address? ─► engine_serve_signal
 *        ▲                                           │ zeros, a pager that says it
 *        │                                           │ may: fault_resolve, here
 *        └────── return from the handler ◄───────────┤
 *                                                    │ hooks, other pagers: handed
 *                                                    └ to a handler thread, and
 *                                                      waited for
 *
 * No thread switch: the kernel builds a signal frame, one ioctl installs the
 * page, the access is made again. The locks that fault_resolve takes are not
 * made for signal handlers; they are sound here because the interrupted
 * instruction touched managed memory, and no code of ours does that under a
 * lock (invariant 3). Nothing is allocated but from the slab, nothing printed.
 *
 * Other foreign code is not run here: what it calls may be anything but
 * async-signal-safe, and may want the lock that the thread was interrupted
 * under.
 */
#include "fault/engine.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "base/thread_id.h"
#include "fault/ahead.h"
#include "fault/dirty.h"
#include "host/uffd_abi.h"
#include "host/uffd_signal.h"
#include "pager/pager.h"

#define NS_PER_MS 1000000ull

/* The last fault of this thread that found its page there: the same once more
 * means that looking again does not help. */
static __thread uintptr_t last_present;

/* The bare call: libc's is a cancellation point, and a thread that ended here
 * would keep its pin. */
static void pause_ns(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* The last address that was found not to be ours to serve. */
static __thread uintptr_t last_foreign;

/* A SIGBUS of memory that the host serves: a file's page past its end. Only the
 * second time: at the first the memory may have become the host's since. */
static bool is_the_hosts_own(struct uf_space *space, uintptr_t addr)
{
    const struct vma *vma;
    bool host, again = last_foreign == addr;

    rwlock_take_read(&space->map_lock);
    vma = vma_set_lookup(&space->vmas, addr);
    host = vma && vma_flags_by_kernel(vma->flags);
    rwlock_release(&space->map_lock);
    last_foreign = host ? addr : 0;
    return host && again;
}

static bool was_refused(struct uf_space *space, uintptr_t addr)
{
    return space->refused.words && resident_test(&space->refused, addr);
}

/* ---- Buffers for pagers -------------------------------------------------- */

static void *take_buffer(struct uf_engine *engine)
{
    void *buffer = NULL;

    for (int i = 0; !buffer && i < ENGINE_SPARE_BUFFERS; i++)
        buffer = atomic_exchange(&engine->spare_buffers[i], NULL);
    return buffer;
}

static void put_back(struct uf_engine *engine, void *buffer)
{
    bool done = !buffer;

    for (int i = 0; !done && i < ENGINE_SPARE_BUFFERS; i++) {
        void *none = NULL;

        done = atomic_compare_exchange_strong(&engine->spare_buffers[i], &none,
                                              buffer);
    }
    CHECK(done);
}

int engine_make_spare_buffers(struct uf_engine *engine)
{
    void *buffer;

    if (!engine->signals || atomic_exchange(&engine->has_spare_buffers, true))
        return 0;
    for (int i = 0; i < ENGINE_SPARE_BUFFERS; i++) {
        buffer = slab_pages(fault_buffer_bytes());
        if (!buffer) {
            engine_free_spare_buffers(engine);
            return -ENOMEM;
        }
        put_back(engine, buffer);
    }
    return 0;
}

void engine_free_spare_buffers(struct uf_engine *engine)
{
    void *buffer;

    while ((buffer = take_buffer(engine)))
        slab_pages_free(buffer, fault_buffer_bytes());
    atomic_store(&engine->has_spare_buffers, false);
}

/* ---- Serving ------------------------------------------------------------- */

/* To its end, in this thread. */
static bool serve_now(struct uf_space *space, struct fault *fault, void *buffer)
{
    struct fault_server server = {
        .buffer = buffer,
        .in_signal = true,
        .defer_limit_ns = space->engine->opts.defer_limit_ms * NS_PER_MS,
    };
    struct fault_result result;

    fault_receive(space, fault);
    fault->attempts = last_present == fault->addr;
    for (;;) {
        result = fault_resolve(space, &server, fault);
        if (result.outcome != UF_OUTCOME_DEFERRED)
            break;
        if (fault->deferred_ns == 0)
            fault->deferred_ns = fault_clock_ns();
        fault->attempts++;
        pause_ns(result.retry_ns);
    }
    ahead_follow(space, &server);
    last_present = result.outcome == UF_OUTCOME_PRESENT ? fault->addr : 0;
    fault_count(space, fault, &result);
    fault_settle(space);
    if (result.outcome == UF_OUTCOME_STALE)
        return !is_the_hosts_own(space, fault->addr);
    return result.outcome != UF_OUTCOME_REFUSED;
}

static void hand_over(struct uf_space *space, const struct fault *fault)
{
    struct uffd_fault message = {
        .addr = fault->addr,
        .flags =
            (fault->flags & UF_FAULT_WRITE) ? UFFD_PAGEFAULT_FLAG_WRITE : 0,
        .tid = fault->tid,
    };

    uffd_signal_hand_over(space->region.uffd, &message);
}

/* A handler thread touched a space from foreign code. It goes on with a page of
 * zeros or not at all. */
static bool serve_handler(struct handler *handler, struct uf_space *space,
                          struct fault *fault)
{
    fault_receive(space, fault);
    while (!fault_answer_self_touch(&handler->self_touch, space, fault->addr))
        pause_ns(NS_PER_MS);
    return true;
}

enum place { HERE, HERE_BY_PAGER, AT_A_HANDLER };

/* Who is to answer a touch of addr. */
static enum place place_for(struct uf_space *space, uintptr_t addr)
{
    enum place place = HERE;
    const struct vma *vma;

    if (space->config.on_error || space->config.on_fault)
        return AT_A_HANDLER;
    if (!atomic_load(&space->has_pagers))
        return HERE;
    rwlock_take_read(&space->map_lock);
    vma = vma_set_lookup(&space->vmas, addr);
    if (vma && !vma_flags_by_kernel(vma->flags) && !vma->pager->is_zero)
        place =
            pager_runs_in_signals(vma->pager) ? HERE_BY_PAGER : AT_A_HANDLER;
    rwlock_release(&space->map_lock);
    return place;
}

bool engine_serve_signal(struct uf_space *space, uintptr_t addr, bool write)
{
    struct fault fault = {
        .addr = addr,
        .flags = write ? UF_FAULT_WRITE : 0,
        .tid = thread_id(),
        .received_ns = fault_clock_ns(),
    };
    struct uf_engine *engine = space->engine;
    enum place place;
    struct handler *handler;
    void *buffer = NULL;
    bool served;

    if (!engine || !engine->signals || was_refused(space, addr))
        return false;
    if (write && dirty_is_protected(space, addr)) {
        dirty_note(space, addr);
        return true;
    }
    handler = engine_find_handler(fault.tid);
    place = place_for(space, addr);
    if (place == HERE_BY_PAGER)
        buffer = take_buffer(engine);
    if (!handler && (place == HERE || buffer)) {
        served = serve_now(space, &fault, buffer);
        put_back(engine, buffer);
        return served;
    }
    put_back(engine, buffer);
    if (is_the_hosts_own(space, addr))
        return false;
    if (handler)
        return serve_handler(handler, space, &fault);
    hand_over(space, &fault);
    return true;
}
