/* SPDX-License-Identifier: MIT */
/*
 * mlock and its family, as mm/mlock.c: VMAs are flagged here, under the lock,
 * and pinned in the host as their pages come (MLOCK_ONFAULT); the caller
 * populates them afterwards, since that takes faults.
 */
#include "mm/map.h"

#include <errno.h>

#include "ufault/mman.h"

/* mlock_fixup: other lock flags for one VMA's part. 0 or -errno. */
static int relock_part(struct uf_space *space, const struct vma *v,
                       struct range part, uint32_t lock)
{
    uint32_t flags = (v->flags & ~VMA_LOCK_MASK) | lock;
    int err;

    if (flags == v->flags)
        return 0;
    if (!map_may_split(space, v, part))
        return -ENOMEM;
    err = vma_set_reserve(&space->vmas, 2);
    if (err)
        return err;
    if ((flags ^ v->flags) & VMA_LOCKED)
        err = region_lock(&space->region, part, (flags & VMA_LOCKED) != 0);
    if (err)
        return -ENOMEM;
    map_reflag_locked(space, v, part, flags);
    return 0;
}

/* apply_vma_lock_flags: stops at what is not mapped. */
static int relock(struct uf_space *space, struct range range, uint32_t lock)
{
    uintptr_t at = range.start;

    if (range.end < range.start)
        return -EINVAL;
    while (at < range.end) {
        const struct vma *v = vma_set_lookup(&space->vmas, at);
        struct range part;
        int err;

        if (!v)
            return -ENOMEM;
        part = range_clip(range, (struct range){at, v->end});
        err = relock_part(space, v, part, lock);
        if (err)
            return err;
        at = part.end;
    }
    return 0;
}

/* Its end, or that of all addresses if it wraps. */
static uintptr_t above(struct range range)
{
    return range.end < range.start ? UINTPTR_MAX : range.end;
}

/* Pages of [range) that are locked already. */
static size_t locked_pages(const struct uf_space *space, struct range range)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, range);
    size_t npages = 0;

    for (; v && v->start < range.end; v = vma_set_next(&space->vmas, v))
        if (v->flags & VMA_LOCKED)
            npages += range_len(range_clip(vma_range(v), range)) / page_size();
    return npages;
}

/* The pages that a call on bytes means. The end is before the start if they
 * wrap, which is looked at after the limit. */
static struct range lock_range(uintptr_t addr, size_t len_bytes)
{
    size_t skew = addr & (page_size() - 1);

    addr -= skew;
    return (struct range){addr, addr + align_up(len_bytes + skew, page_size())};
}
static int lock_locked(struct uf_space *space, struct range range,
                       uint32_t lock)
{
    size_t npages = (range.end - range.start) / page_size();
    size_t limit = space->limit_memlock / page_size();
    size_t sum = npages + space->pages.locked;

    if (sum > limit)
        sum -= locked_pages(space, (struct range){range.start, above(range)});
    if (sum > limit)
        return -ENOMEM;
    return relock(space, range, lock);
}

int space_mlock(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                uint32_t lock_flags, struct range *ret_populate)
{
    struct range range = lock_range(addr, len_bytes);
    int err;

    *ret_populate = (struct range){0, 0};
    if (!limits_can_lock_locked(space))
        return -EPERM;
    map_lock(space);
    err = lock_locked(space, range, lock_flags);
    map_unlock(space);
    if (!err)
        *ret_populate = range;
    return err;
}

int space_munlock(struct uf_space *space, uintptr_t addr, size_t len_bytes)
{
    struct range range = lock_range(addr, len_bytes);
    int err;

    map_lock(space);
    err = relock(space, range, 0);
    map_unlock(space);
    return err;
}

/* apply_mlockall_flags: a VMA that cannot be changed stays as it is. */
static void relock_all(struct uf_space *space, int flags)
{
    uint32_t lock = VMA_LOCKED;
    uintptr_t at = 0;
    const struct vma *v;

    if (flags & UF_MCL_ONFAULT)
        lock |= VMA_LOCKONFAULT;
    space->def_flags = (flags & UF_MCL_FUTURE) ? lock : 0;
    if ((flags & UF_MCL_FUTURE) && !(flags & UF_MCL_CURRENT))
        return;
    if (!(flags & UF_MCL_CURRENT))
        lock = 0;
    while ((v = vma_set_find(&space->vmas, at)) != NULL) {
        at = v->end;
        relock_part(space, v, vma_range(v), lock);
    }
}

int space_mlockall(struct uf_space *space, int flags,
                   struct range *ret_populate)
{
    size_t limit = space->limit_memlock / page_size();
    int err = 0;

    *ret_populate = (struct range){0, 0};
    /* Flags 0 is munlockall, which asks for no permission. */
    if (flags != 0 && !limits_can_lock_locked(space))
        return -EPERM;
    map_lock(space);
    if ((flags & UF_MCL_CURRENT) && space->pages.total > limit)
        err = -ENOMEM;
    else
        relock_all(space, flags);
    map_unlock(space);
    if (!err && (flags & UF_MCL_CURRENT))
        *ret_populate = space->region.range;
    return err;
}
