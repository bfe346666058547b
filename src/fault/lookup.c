/* SPDX-License-Identifier: MIT */
/* See lookup.h. */
#include "fault/lookup.h"

#include "fault/ahead.h"
#include "fault/huge.h"
#include "fault/window.h"
#include "mm/map.h"
#include "mm/shared.h"
#include "pager/cache.h"
#include "pager/pager.h"

/* Pages for a touch that continues nothing. A write may be one of many that are
 * spread thin; a page of zeros that is read takes no memory, and a pager's
 * bytes come in pieces anyway. 0: MADV_RANDOM, never more than one. */
static uint32_t pages_of_new(const struct vma *vma, const struct fault *fault)
{
    if (vma->flags & VMA_RAND_READ)
        return 0;
    if (vma->flags & VMA_SEQ_READ)
        return 64;
    return (fault->flags & UF_FAULT_WRITE) && vma->pager->is_zero ? 1 : 16;
}

/* The window of a hint: up to fault->piece absent pages from its address on. */
static struct range piece_of(struct uf_space *space, const struct fault *fault,
                             struct range vma)
{
    struct range piece = lookup_page(fault);

    piece.end = piece.start + fault->piece * page_size();
    if (piece.end > vma.end || piece.end < piece.start)
        piece.end = vma.end;
    return resident_hole(&space->resident, fault->addr, piece);
}

/* Is it noted what is touched, so that nothing may come along? */
static bool sees_each_page(const struct uf_space *space)
{
    return space->recording || (space->ahead && ahead_measures(space->ahead));
}

static void choose_window(struct uf_space *space, const struct fault *fault,
                          const struct vma *vma, struct found *ret)
{
    struct window_policy policy = {.pages = space->config.window_pages,
                                   .origin = space->resident.range.start};
    struct window_touch touch = {.addr = fault->addr,
                                 .origin = space->resident.range.start,
                                 .tid = fault->tid,
                                 .pages_new = pages_of_new(vma, fault),
                                 .guards =
                                     space->has_guards ? &space->guards : NULL};
    struct window window;

    ret->vma = vma_range(vma);
    ret->count = 1;
    ret->has_policy = huge_has_policy(space, vma);
    ret->huge = false;
    if (!fault->piece && sees_each_page(space)) {
        ret->window = lookup_page(fault);
        return;
    }
    ret->huge = ret->has_policy && fault->attempts == 0 &&
                huge_block_locked(space, vma, fault->addr, &ret->window);
    if (ret->huge)
        return;
    if (fault->piece) {
        ret->window = piece_of(space, fault, ret->vma);
        return;
    }
    if (!range_is_empty(fault->window)) {
        ret->window = resident_hole(&space->resident, fault->addr,
                                    range_clip(fault->window, ret->vma));
        return;
    }
    if (policy.pages == 0) {
        window =
            window_adapt(&space->streams, &touch, ret->vma, &space->resident);
        ret->window = window.range;
        ret->stride = window.stride;
        ret->count = window.count;
        return;
    }
    ret->window =
        window_choose(&policy, fault->addr, ret->vma, &space->resident);
}

/* Looks the touch up. False if nothing is mapped there. */
static bool look_up_locked(struct uf_space *space, const struct fault *fault,
                           struct found *ret)
{
    struct vma *vma;

    if (atomic_load(&space->dying))
        return false;
    vma = vma_set_lookup(&space->vmas, fault->addr);
    if (!vma || vma_flags_by_kernel(vma->flags))
        return false;
    if (space->has_guards && resident_test(&space->guards, fault->addr))
        return false;
    choose_window(space, fault, vma, ret);
    if (space->ahead && !fault->piece && !ret->huge) {
        ret->window = ahead_clip(space->ahead, fault->addr, ret->window);
        ret->count = 1;
    }
    if (space->has_guards) /* a copy would silently replace the guard */
        ret->window = resident_hole(&space->guards, fault->addr, ret->window);
    ret->is_shared = (vma->flags & VMA_CACHE) != 0;
    if (ret->is_shared)
        ret->cuts = cache_cuts(cache_of(vma->pager));
    ret->is_exact = ret->is_shared && shared_is_exact(space, vma->pager);
    ret->is_there =
        ret->is_shared && !shared_clip(vma, lookup_page(fault), &ret->window);
    ret->pager = vma->pager;
    ret->offset = vma_offset_at(vma, ret->window.start);
    ret->generation = vma->generation;
    return true;
}

bool lookup_begin(struct uf_space *space, const struct fault *fault,
                  struct found *ret)
{
    bool tried = fault->piece != 0;

    for (;;) {
        rwlock_take_read(&space->map_lock);
        if (look_up_locked(space, fault, ret))
            return true;
        if (tried || space->region.kind != REGION_RESERVED ||
            atomic_load(&space->dying))
            return false;
        rwlock_release(&space->map_lock);
        tried = true;
        stack_grow(space, fault->addr);
    }
}

bool lookup_still_locked(struct uf_space *space, const struct fault *fault,
                         const struct found *found, struct range *filled)
{
    struct vma *vma;

    if (atomic_load(&space->dying))
        return false;
    vma = vma_set_lookup(&space->vmas, fault->addr);
    if (!vma || vma->generation != found->generation ||
        vma->pager != found->pager)
        return false;
    *filled = range_clip(*filled, vma_range(vma));
    return range_contains(*filled, fault->addr);
}
