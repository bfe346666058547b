/* SPDX-License-Identifier: MIT */
/*
 * The program break, step by step as SYSCALL_DEFINE1(brk) in mm/mmap.c does it:
 *
 *     below start_brk ────────────────────────────────► unchanged
 *     over the data limit (check_data_rlimit) ────────► unchanged
 *     same page as before ────────────────────────────► new break, no mapping
 *     lower: unmap [new page, old page) ──────────────► new break
 *     higher: too long for the space ─────────────────► unchanged
 *             next mapping nearer than one page ──────► unchanged
 *             address-space or data pages over limit ─► unchanged
 *             open, insert, merge with the heap ──────► new break
 *
 * The order can be seen from outside: a break beyond the data limit is refused
 * even when it would shrink an already too large heap... but only then, since
 * a lower break is never checked against anything else.
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"
#include "pager/pager.h"

static void set_brk(struct uf_space *space, uintptr_t brk)
{
    space->brk = brk;
    GAUGE_SET(space->counters, brk, brk);
    gauge_peak(&space->counters->brk_peak, brk);
}

/* Unmaps [gone), the pages above a lowered break. 0 or -errno. */
static int shrink_locked(struct uf_space *space, struct range gone)
{
    int err;

    if (!vma_set_find_intersection(&space->vmas, gone))
        return -EINVAL; /* no heap there: the kernel leaves the break too */
    err = vma_set_reserve(&space->vmas, 1);
    if (!err)
        err = map_close_locked(space, gone);
    if (!err)
        COUNT(space->counters, brk_shrunk);
    return err;
}

/* True if [part) and one guard page above it are free; as the kernel, without
 * the guard where the space ends, and with a stack's own. */
static bool room_for(const struct uf_space *space, struct range part)
{
    const struct vma *next;
    size_t guard = page_size();

    if (!range_covers(space->region.range, part))
        return false;
    next = vma_set_find(&space->vmas, part.start);
    if (!next)
        return true;
    if (next->flags & VMA_GROWSDOWN)
        guard += stack_guard_bytes();
    return next->start >= guard && part.end <= next->start - guard;
}

/* Maps [part), the pages below a raised break. 0 or -errno. */
static int grow_locked(struct uf_space *space, struct range part)
{
    size_t npages = range_len(part) / page_size();
    struct vma vma = {
        .start = part.start,
        .end = part.end,
        .flags = VMA_READ | VMA_WRITE | space->def_flags,
        .pager = space->heap_pager,
        .offset = part.start - space->region.range.start,
    };
    int err;

    if (!room_for(space, part) ||
        !limits_allow_locking_locked(space, npages, vma.flags) ||
        !limits_allow_pages_locked(space, npages, vma.flags) ||
        space->vmas.count > space->limit_map_count)
        return -ENOMEM;
    err = vma_set_reserve(&space->vmas, 1);
    if (err)
        return err;
    err = region_open(&space->region, part);
    if (!err && (vma.flags & VMA_LOCKED)) {
        err = region_lock(&space->region, part, true);
        if (err)
            region_close(&space->region, part);
    }
    if (err)
        return err;
    /* Not a new one: growing takes no page away, and fills under way in the
     * heap that it merges with stay good. */
    vma.generation = space->generation;
    map_insert_locked(space, &vma);
    COUNT(space->counters, brk_grown);
    return 0;
}

/* Moves the break if it may be moved. *ret_grown: what came in. */
static int move_locked(struct uf_space *space, uintptr_t brk,
                       struct range *ret_grown)
{
    uintptr_t new_end = align_up(brk, page_size());
    uintptr_t old_end = align_up(space->brk, page_size());
    struct range part;
    int err = 0;

    if (brk < space->start_brk || !limits_allow_brk_locked(space, brk))
        return -ENOMEM;
    if (new_end != old_end) {
        if (brk <= space->brk) {
            part = (struct range){new_end, old_end};
            err = shrink_locked(space, part);
        } else if (new_end < old_end) {
            err = -ENOMEM; /* rounding wrapped past the last address */
        } else {
            part = (struct range){old_end, new_end};
            err = grow_locked(space, part);
            if (!err)
                *ret_grown = part;
        }
    }
    if (!err)
        set_brk(space, brk);
    return err;
}

static uintptr_t brk_locked(struct uf_space *space, uintptr_t brk,
                            struct range *ret_grown)
{
    COUNT(space->counters, brk_calls);
    if (move_locked(space, brk, ret_grown) != 0 && brk != 0)
        COUNT(space->counters, brk_refused);
    return space->brk;
}

uintptr_t space_brk(struct uf_space *space, uintptr_t brk,
                    struct range *ret_grown)
{
    uintptr_t now;

    *ret_grown = (struct range){0, 0};
    map_lock(space);
    now = brk_locked(space, brk, ret_grown);
    map_unlock(space);
    return now;
}

/* glibc's sbrk: the sum may not wrap, and the call has failed if the answer is
 * below what was asked for. (Asking for less than start_brk is answered with
 * the unchanged break, which is above: glibc calls that success, so do we.) */
intptr_t space_sbrk(struct uf_space *space, intptr_t increment,
                    struct range *ret_grown)
{
    uintptr_t old, want;
    bool wraps;

    *ret_grown = (struct range){0, 0};
    map_lock(space);
    old = space->brk;
    want = old + (uintptr_t)increment;
    wraps =
        increment > 0 ? want < old : old < (uintptr_t)0 - (uintptr_t)increment;
    if (increment != 0 && (wraps || brk_locked(space, want, ret_grown) < want))
        old = (uintptr_t)-ENOMEM;
    map_unlock(space);
    return (intptr_t)old;
}
