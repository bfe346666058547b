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

void map_lock(struct uf_space *space)
{
    rwlock_take_write(&space->map_lock);
}

void map_unlock(struct uf_space *space)
{
    struct vma *graves = vma_set_take_graves(&space->vmas);

    GAUGE_SET(space->counters, map_count, space->vmas.count);
    gauge_peak(&space->counters->map_count_peak, space->vmas.count);
    CHECK_DEEP(space_is_valid(space));
    rwlock_release(&space->map_lock);
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

bool map_needs_renewal(const struct uf_space *space, const struct vma *vma,
                       struct range part)
{
    return (vma->flags & VMA_ON_HOST) ||
           (space->has_guards && resident_any(&space->guards, part));
}

void map_forget_pages_locked(struct uf_space *space, struct range part,
                             bool renew)
{
    /* With an engine every page that is there has its bit. */
    bool empty = space->region.uffd && !atomic_load(&space->has_refused) &&
                 !resident_any(&space->resident, part);
    size_t dropped;

    if (renew)
        region_renew(&space->region, part);
    else if (!empty)
        region_drop(&space->region, part);
    if (renew && space->has_guards)
        resident_clear(&space->guards, part);
    if (empty)
        return;
    dropped = resident_clear(&space->resident, part);
    GAUGE_SUB(space->counters, resident, dropped);
    COUNT_ADD(space->counters, pages_dropped, dropped);
}

/* A NATIVE region has nothing but the heap, and no state of its own. */
static int close_native(struct uf_space *space, struct range range)
{
    int err = region_close(&space->region, range);

    if (!err) {
        size_t dropped = resident_clear(&space->resident, range);

        GAUGE_SUB(space->counters, resident, dropped);
        COUNT_ADD(space->counters, pages_dropped, dropped);
    }
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

        map_forget_pages_locked(space, part, map_needs_renewal(space, v, part));
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
}
