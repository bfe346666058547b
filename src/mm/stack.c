/* SPDX-License-Identifier: MIT */
/*
 * Stacks: mappings with MAP_GROWSDOWN, which a touch below makes grow.
 *
 *     prev   guard gap   reach: open, in no VMA      stack
 *     [###]--------------........................[############)
 *                        ^ limit_stack below the stack's end, or prev + guard
 *
 * A touch of closed memory is a SIGSEGV that nobody can turn into growth. So
 * the host has open what a touch may make the stack grow to; the touch arrives
 * as a fault on no VMA, and stack_grow answers it as expand_downwards of
 * mm/vma.c would. The reach depends on the neighbour below, so every change
 * near a stack ends in stack_open_reach_locked. Spaces without stacks pay one
 * comparison.
 */
#include "mm/map.h"

#include "pager/pager.h"

#include <sys/mman.h>

/* What a touch may make v grow to: [start, v->start), maybe empty. */
static struct range reach_of(const struct uf_space *space, const struct vma *v)
{
    const struct vma *prev = vma_set_prev(&space->vmas, v);
    struct range reach = {space->region.range.start, v->start};
    uintptr_t end = map_run_end(space, v);
    size_t len = end - v->start;
    uint64_t limit = align_down(space->limit_stack, page_size());

    if (prev) {
        reach.start = prev->end;
        if (!(prev->flags & VMA_GROWSDOWN) && (prev->flags & VMA_PROT))
            reach.start += stack_guard_bytes();
        if (reach.start > reach.end)
            reach.start = reach.end;
    }
    if (limit <= len)
        reach.start = v->start;
    else if (limit < end - reach.start)
        reach.start = end - limit;
    return reach;
}

/* The first mapping whose reach depends on what is in the range: the one right
 * below it is all of a stack now, or no longer. */
static const struct vma *first_concerned(const struct uf_space *space,
                                         struct range range)
{
    const struct vma *v = vma_set_find(&space->vmas, range.start - 1);

    return v && v->start < range.start ? map_run_start(space, v) : v;
}

static struct range widen(const struct uf_space *space, struct range hull)
{
    uintptr_t end = hull.end;
    const struct vma *v;

    for (v = first_concerned(space, hull); v;
         v = vma_set_next(&space->vmas, v)) {
        if (v->flags & VMA_GROWSDOWN)
            hull = range_hull(hull, reach_of(space, v));
        if (v->start >= end)
            break;
    }
    return hull;
}

struct range stack_hull_locked(const struct uf_space *space, struct range range)
{
    if (space->pages.stack == 0)
        return (struct range){0, 0};
    return widen(space, range);
}

static void protect_if_any(struct uf_space *space, struct range part, int prot)
{
    if (!range_is_empty(part))
        region_protect(&space->region, part, prot);
}

void stack_open_reach_locked(struct uf_space *space, struct range hull,
                             struct range changed)
{
    const struct vma *v;
    uintptr_t at;

    if (space->pages.stack == 0 && range_is_empty(hull))
        return; /* no stack before, none now */
    /* A failure leaves memory closed that could be open, or open in no VMA,
     * where a touch finds that it may not grow: nothing is wrong for long. */
    hull = widen(space, range_hull(hull, changed));
    at = hull.start;
    for (v = vma_set_find(&space->vmas, at); v;
         v = vma_set_next(&space->vmas, v)) {
        if (v->start > at) {
            struct range gap = {at, v->start};
            struct range reach = {v->start, v->start};

            if (v->flags & VMA_GROWSDOWN)
                reach = range_clip(reach_of(space, v), gap);
            protect_if_any(space, (struct range){gap.start, reach.start},
                           PROT_NONE);
            protect_if_any(space, reach, vma_prot(v));
        }
        at = v->end;
        if (at >= hull.end)
            return;
    }
    protect_if_any(space, (struct range){at, hull.end}, PROT_NONE);
}

/* acct_stack_growth, and the guard gap. */
static bool may_grow(const struct uf_space *space, const struct vma *v,
                     uintptr_t page)
{
    size_t npages = (v->start - page) / page_size();

    return page >= reach_of(space, v).start &&
           limits_allow_pages_locked(space, npages, v->flags) &&
           limits_allow_locking_locked(space, npages, v->flags);
}

static bool grow_locked(struct uf_space *space, const struct vma *v,
                        uintptr_t page)
{
    struct vma more = *v;
    struct range reach = {page, v->start};

    if (vma_set_reserve(&space->vmas, 1) != 0)
        return false;
    if ((v->flags & VMA_ON_HOST) &&
        map_give_state(space, reach, v->flags) != 0) {
        map_give_back(space, reach);
        return false;
    }
    more.start = page;
    more.end = v->start;
    more.generation = space->generation;
    map_insert_locked(space, &more);
    COUNT(space->counters, stack_grown);
    return true;
}

void stack_reconsider_locked(struct uf_space *space)
{
    struct range all = space->region.range;

    if (!space->stack_refused)
        return;
    space->stack_refused = false;
    stack_open_reach_locked(space, all, all);
}

bool stack_grow(struct uf_space *space, uintptr_t addr)
{
    uintptr_t page = align_down(addr, page_size());
    struct vma *v;
    bool grown;

    map_lock(space);
    /* Since the touch was looked up: the region may be another's memory now. */
    if (atomic_load(&space->dying)) {
        rwlock_release(&space->map_lock);
        return false;
    }
    v = vma_set_find(&space->vmas, page);
    grown = v && v->start <= page; /* another thread was faster */
    if (!grown && v && (v->flags & VMA_GROWSDOWN) && may_grow(space, v, page))
        grown = grow_locked(space, v, page);
    if (!grown && v && (v->flags & VMA_GROWSDOWN) &&
        page >= reach_of(space, v).start)
        space->stack_refused = true;
    if (!grown)
        protect_if_any(space, (struct range){page, page + page_size()},
                       PROT_NONE);
    map_unlock(space);
    return grown;
}
