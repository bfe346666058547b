/* SPDX-License-Identifier: MIT */
/*
 * The moves that changes of a map are made of; see map.h.
 *
 * Closing asks the host first: PROT_NONE on the whole range, the one step that
 * may fail. Once that is done no touch can bring back what is dropped, and the
 * rest only forgets: contents, and where a VMA had a state of its own in the
 * host (a file, a lock, advice, guards), the host's mapping altogether.
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"
#include "mm/advice.h"
#include "mm/shared.h"

void map_lock(struct uf_space *space)
{
    rwlock_take_write(&space->map_lock);
}

void map_unlock(struct uf_space *space)
{
    struct vma *graves = vma_set_take_graves(&space->vmas);
    struct shared_note *closed = shared_take_closed(space);

    GAUGE_SET(space->counters, map_count, space->vmas.count);
    gauge_peak(&space->counters->map_count_peak, space->vmas.count);
    CHECK_DEEP(space_is_valid(space));
    rwlock_release(&space->map_lock);
    shared_write_closed(closed);
    vma_free_graves(graves);
}

size_t map_count_pages(const struct uf_space *space, struct range range)
{
    size_t npages = 0;
    const struct vma *v = vma_set_find_intersection(&space->vmas, range);

    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v))
        npages += range_len(range_clip(vma_range(v), range)) / page_size();
    return npages;
}

uintptr_t map_run_end(const struct uf_space *space, const struct vma *v)
{
    const struct vma *next;

    while ((next = vma_set_next(&space->vmas, v)) != NULL &&
           next->start == v->end && vma_are_alike(v, next))
        v = next;
    return v->end;
}

const struct vma *map_run_start(const struct uf_space *space,
                                const struct vma *v)
{
    const struct vma *prev;

    while ((prev = vma_set_prev(&space->vmas, v)) != NULL &&
           prev->end == v->start && vma_are_alike(prev, v))
        v = prev;
    return v;
}

bool map_may_split(const struct uf_space *space, const struct vma *vma,
                   struct range part)
{
    size_t more =
        (size_t)(part.start > vma->start) + (size_t)(part.end < vma->end);

    return more == 0 || space->vmas.count + more <= space->limit_map_count;
}

void map_insert_locked(struct uf_space *space, const struct vma *what)
{
    struct range hull = stack_hull_locked(space, vma_range(what));
    size_t npages = range_len(vma_range(what)) / page_size();

    vma_set_insert(&space->vmas, what);
    limits_account_locked(space, (ssize_t)npages, what->flags);
    stack_open_reach_locked(space, hull, vma_range(what));
}

void map_restore_protection(struct uf_space *space, struct range range)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, range);

    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v))
        region_protect(&space->region, range_clip(vma_range(v), range),
                       vma_prot(v));
}

bool map_has_state(const struct uf_space *space, const struct vma *vma,
                   struct range part)
{
    return (vma->flags & VMA_ON_HOST) ||
           (space->has_guards && resident_any(&space->guards, part));
}

/* The host's state for a VMA flag, and what ends it (not those for good). */
static const struct {
    uint32_t flag;
    int give;
    int take;
} states[] = {
    {VMA_DONTCOPY, MADV_DONTFORK, MADV_DOFORK},
    {VMA_WIPEONFORK, MADV_WIPEONFORK, MADV_KEEPONFORK},
    {VMA_DONTDUMP, MADV_DONTDUMP, MADV_DODUMP},
    {VMA_MERGEABLE, MADV_MERGEABLE, MADV_UNMERGEABLE},
    {VMA_HUGEPAGE, MADV_HUGEPAGE, 0},
    {VMA_NOHUGEPAGE, MADV_NOHUGEPAGE, 0},
};

#define NSTATES (sizeof(states) / sizeof(states[0]))

int map_give_state(struct uf_space *space, struct range part, uint32_t flags)
{
    int err = 0;

    if (flags & VMA_LOCKED)
        err = region_lock(&space->region, part, true);
    for (size_t i = 0; !err && i < NSTATES; i++) {
        if (flags & states[i].flag)
            err = region_advise(&space->region, part, states[i].give);
        /* MAP_STACK, and a kernel without huge pages. */
        if (err == -EINVAL)
            err = 0;
    }
    return err;
}

bool map_take_state(struct uf_space *space, struct range part, uint32_t flags)
{
    struct region *region = &space->region;

    if ((flags & VMA_STATE_FOR_GOOD) ||
        ((flags & VMA_LOCK_MASK) && region_lock(region, part, false) != 0))
        return false;
    for (size_t i = 0; i < NSTATES; i++) {
        if (!(flags & states[i].flag))
            continue;
        if (states[i].flag == VMA_DONTCOPY && region->dontfork)
            continue; /* as all of the reservation */
        if (region_advise(region, part, states[i].take) != 0)
            return false;
    }
    return true;
}

/*
 * Makes memory as reserved again by taking back what it was given. That leaves
 * it one with its neighbours in the host for good: a new mapping there might
 * get an anon_vma of its own. False: it takes a new mapping.
 */
static bool empty_out(struct uf_space *space, struct range part, uint32_t flags,
                      bool guards)
{
    struct region *region = &space->region;

    return map_take_state(space, part, flags) &&
           (!guards || region_advise(region, part, MADV_GUARD_REMOVE) == 0) &&
           region_drop(region, part) == 0;
}

void map_forget_residency(struct uf_space *space, struct range part)
{
    size_t dropped = resident_clear(&space->resident, part);

    GAUGE_SUB(space->counters, resident, dropped);
    COUNT_ADD(space->counters, pages_dropped, dropped);
}

bool map_forget_pages_locked(struct uf_space *space, struct range part,
                             uint32_t flags)
{
    /* With an engine every page that is there has its bit. */
    bool empty = space->region.uffd && !atomic_load(&space->has_refused) &&
                 !resident_any(&space->resident, part);
    bool guards = space->has_guards && resident_any(&space->guards, part);
    bool as_it_was = true;

    map_note_changed(space, part);
    if ((flags & VMA_ON_HOST) || guards) {
        as_it_was = empty_out(space, part, flags, guards);
        if (!as_it_was)
            region_renew(&space->region, part);
    } else if (!empty) {
        region_drop(&space->region, part);
    }
    if (guards)
        resident_clear(&space->guards, part);
    if (space->refused.words)
        resident_clear(&space->refused, part);
    if (empty)
        return as_it_was;
    map_forget_residency(space, part);
    return as_it_was;
}

void map_give_back(struct uf_space *space, struct range part)
{
    /* For who touches it in between; the second step is the one that counts. */
    region_protect(&space->region, part, PROT_NONE);
    region_renew(&space->region, part);
}

/* A NATIVE region has nothing but the heap, and no state of its own. */
static int close_native(struct uf_space *space, struct range range)
{
    int err = region_close(&space->region, range);

    if (!err)
        map_forget_residency(space, range);
    return err;
}

static int close_host(struct uf_space *space, struct range range)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, range);
    int err;

    if (space->region.kind == REGION_NATIVE)
        return close_native(space, range);
    err = region_protect(&space->region, range, PROT_NONE);
    if (err) {
        map_restore_protection(space, range);
        return err;
    }
    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), range);

        if (v->flags & VMA_CACHE)
            shared_close_locked(space, v, part);
        map_forget_pages_locked(space, part, v->flags);
    }
    return 0;
}

int map_close_locked(struct uf_space *space, struct range range)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, range);
    struct range hull;
    int err;

    if (!v)
        return 0;
    if (v->start < range.start && v->end > range.end &&
        space->vmas.count >= space->limit_map_count)
        return -ENOMEM;
    hull = stack_hull_locked(space, range);
    err = close_host(space, range);
    if (err)
        return err;
    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), range);

        limits_account_locked(space, -(ssize_t)(range_len(part) / page_size()),
                              v->flags);
    }
    vma_set_remove(&space->vmas, range, ++space->generation);
    stack_open_reach_locked(space, hull, range);
    stack_reconsider_locked(space);
    return 0;
}

void map_reflag_locked(struct uf_space *space, const struct vma *vma,
                       struct range part, uint32_t flags)
{
    struct range hull = stack_hull_locked(space, part);
    ssize_t npages = (ssize_t)(range_len(part) / page_size());
    struct vma what = *vma;

    what.offset = vma_offset_at(vma, part.start);
    what.start = part.start;
    what.end = part.end;
    what.flags = flags;
    limits_account_locked(space, -npages, vma->flags);
    /* No page goes: fills under way in what stays are as good as before. */
    vma_set_remove(&space->vmas, part, vma->generation);
    vma_set_insert(&space->vmas, &what);
    limits_account_locked(space, npages, flags);
    stack_open_reach_locked(space, hull, part);
    stack_reconsider_locked(space);
}
