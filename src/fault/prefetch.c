/* SPDX-License-Identifier: MIT */
/*
 * prefetch: making pages resident before they are touched, a few at a time, on
 * the background thread.
 *
 * The same steps as a fault, but as a hint (fault.piece): what cannot be had is
 * neither refused nor reported, and left to its own touch.
 */
#include "fault/background.h"

#include <errno.h>
#include <time.h>

#include "fault/engine.h"
#include "fault/fault.h"
#include "fault/install.h"
#include "mm/map.h"
#include "pager/pager.h"

/* Few enough that a fault does not notice the lock they are installed under. */
#define PIECE_PAGES 32

/* How often a page is tried that cannot be had now. */
#define TRIES 4

static bool is_wanted(const struct vma *v, bool pagers_only)
{
    return !vma_flags_by_kernel(v->flags) && (v->flags & VMA_PROT) &&
           !(pagers_only && v->pager->is_zero);
}

static bool is_absent(const struct uf_space *space, uintptr_t page)
{
    return !resident_test(&space->resident, page) &&
           !(space->has_guards && resident_test(&space->guards, page)) &&
           !(space->refused.words && resident_test(&space->refused, page));
}

bool prefetch_is_wanted(const struct uf_space *space, const struct vma *v,
                        uintptr_t page)
{
    return is_wanted(v, false) && is_absent(space, page);
}

/* A page at a time, so that a look-up in a large range is no longer under the
 * lock than an install: it stops after LOOK_PAGES. */
#define LOOK_PAGES 4096

/* The first page of *range that is mapped and absent becomes its start, and the
 * answer is true. False: not found yet; *range is where to go on, or empty. */
static bool find_locked(struct uf_space *space, struct range *range,
                        uint32_t *ret_flags)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, *range);
    size_t looked = 0;

    for (; v && v->start < range->end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), *range);

        range->start = part.start;
        *ret_flags = (v->flags & VMA_WRITE) ? UF_FAULT_WRITE : 0;
        if (!is_wanted(v, false))
            continue;
        for (; range->start < part.end; range->start += page_size()) {
            if (is_absent(space, range->start))
                return true;
            if (++looked == LOOK_PAGES)
                return false;
        }
    }
    range->start = range->end;
    return false;
}

static bool find(struct uf_space *space, struct range *range,
                 uint32_t *ret_flags)
{
    bool found = false;

    rwlock_take_read(&space->map_lock);
    if (atomic_load(&space->dying))
        range->start = range->end;
    else
        found = find_locked(space, range, ret_flags);
    rwlock_release(&space->map_lock);
    return found;
}

static void pause_ns(uint64_t ns)
{
    struct timespec ts = {0, (long)ns};

    nanosleep(&ts, NULL);
}

struct fault_result prefetch_piece(struct uf_space *space,
                                   struct fault_server *server,
                                   struct fault *fault)
{
    struct fault_result r = fault_resolve(space, server, fault);

    for (; r.outcome == UF_OUTCOME_DEFERRED && fault->attempts < TRIES;
         fault->attempts++) {
        pause_ns(r.retry_ns);
        r = fault_resolve(space, server, fault);
    }
    if (r.outcome == UF_OUTCOME_DEFERRED)
        return r;
    COUNT_ADD(space->counters, pages_prefetched, r.npages);
    COUNT_ADD(space->counters, prefetched, r.npages);
    fault_settle(space);
    fault_revoke_self_touch(server->self_touch, NULL);
    return r;
}

void prefetch_some(struct uf_space *space, struct handler *handler,
                   struct range *range)
{
    struct fault fault = {.tid = 0};
    struct fault_result r;
    bool entered;
    size_t npages;

    if (!find(space, range, &fault.flags))
        return;
    npages = range_len(*range) / page_size();
    fault.piece = npages < PIECE_PAGES ? (uint32_t)npages : PIECE_PAGES;
    fault.addr = range->start;
    entered = engine_enter_user_code();
    r = prefetch_piece(space, &handler->server, &fault);
    fault_wake(space, &r);
    engine_leave_user_code(entered);
    /* Stale without an error: what was filled has changed meanwhile, and is
     * looked up again. */
    if (r.outcome != UF_OUTCOME_STALE || r.err)
        range->start += page_size();
}

/* Queues what is wanted of the range, mapping by mapping, so that what others
 * map meanwhile is left alone. */
static int queue_parts(struct uf_space *space, struct background *background,
                       struct range range, bool pagers_only)
{
    const struct vma *v;
    uintptr_t at = range.start;
    int err = 0;

    rwlock_take_read(&space->map_lock);
    v = vma_set_find_intersection(&space->vmas, range);
    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), range);
        int e = 0;

        if (part.start > at && !err)
            err = -ENOMEM;
        at = part.end;
        if (is_wanted(v, pagers_only))
            e = background_prefetch(background, space, part);
        if (e) {
            err = e;
            break;
        }
    }
    rwlock_release(&space->map_lock);
    return at < range.end && !err ? -ENOMEM : err;
}

/* The background, running. An advice may come from an allocator, whose lock
 * pthread_create would want: it is for a thread that runs. 0 or -errno. */
static int get_background(struct uf_engine *engine, bool is_advice,
                          struct background **ret)
{
    int err;

    *ret = background_running(engine);
    if (*ret || is_advice)
        return 0;
    err = background_start(engine);
    *ret = background_running(engine);
    return err && err != -ENOMEM ? -EAGAIN : err;
}

int prefetch_request(struct uf_space *space, struct range range,
                     bool pagers_only)
{
    struct background *background;
    int err;

    if (!space->engine || space->populates_by_kernel)
        return 0;
    err = get_background(space->engine, pagers_only, &background);
    if (err || !background)
        return err;
    return queue_parts(space, background, range, pagers_only);
}
