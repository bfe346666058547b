/* SPDX-License-Identifier: MIT */
/*
 * mincore and msync: what is resident, and what a file should hold.
 *
 * Residency is asked of the host: it has the reservation mapped, so its answer
 * covers every page, also those that a program dropped behind our back.
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#include "pager/pager.h"

int map_range_check(uintptr_t addr, size_t len_bytes, struct range *ret_range)
{
    size_t len = align_up(len_bytes, page_size());

    if (!is_aligned(addr, page_size()) || (len_bytes && !len) ||
        addr + len < addr)
        return -EINVAL;
    *ret_range = (struct range){addr, addr + len};
    return 0;
}

/* The part of `range` that is mapped without a hole, from its start. */
static struct range mapped_head(struct uf_space *space, struct range range)
{
    uintptr_t end = range.start;
    const struct vma *v;

    rwlock_take_read(&space->map_lock);
    while (end < range.end && (v = vma_set_lookup(&space->vmas, end)))
        end = v->end;
    rwlock_release(&space->map_lock);
    return range_clip(range, (struct range){range.start, end});
}

int space_mincore(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                  unsigned char *ret_vec)
{
    size_t len = align_up(len_bytes, page_size());
    struct range range = {addr, addr + len}, head;
    int err = 0;

    if (!is_aligned(addr, page_size()))
        return -EINVAL;
    if (addr > space->region.range.end ||
        len_bytes > space->region.range.end - addr)
        return -ENOMEM; /* access_ok */
    head = mapped_head(space, range);
    /* Without the lock, as ret_vec may lie in a space and be touched here for
     * the first time (invariant 3). What is unmapped meanwhile is not resident,
     * which is true of it. */
    if (!range_is_empty(head))
        err = region_residency(head, ret_vec);
    if (err)
        return err == -EAGAIN ? -ENOMEM : err;
    return head.end < range.end ? -ENOMEM : 0;
}

/* One VMA of msync: 0 or -errno. */
static int sync_part(struct uf_space *space, const struct vma *v,
                     struct range part, int flags)
{
    if ((flags & MS_INVALIDATE) && (v->flags & VMA_LOCKED))
        return -EBUSY;
    if (!vma_flags_by_kernel(v->flags) || !(flags & MS_SYNC))
        return 0;
    return region_sync(&space->region, part, flags & ~MS_INVALIDATE);
}

/* A part of a pager's cache: written back without the lock, which is taken again
 * then. 0 or -errno. */
static int sync_cache(struct uf_space *space, const struct vma *v,
                      struct range part, sync_pager sync)
{
    struct uf_pager *pager = pager_ref(v->pager);
    uint64_t offset = vma_offset_at(v, part.start);
    int err;

    rwlock_release(&space->map_lock);
    err = sync(pager, (struct range){offset, offset + range_len(part)});
    pager_unref(pager);
    rwlock_take_read(&space->map_lock);
    return err;
}

int space_msync(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                int flags, sync_pager sync)
{
    size_t len = align_up(len_bytes, page_size());
    struct range range = {addr, addr + len}, part;
    const struct vma *v;
    int err = 0, unmapped = 0;

    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) ||
        !is_aligned(addr, page_size()) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC)))
        return -EINVAL;
    if (range.end < range.start)
        return -ENOMEM;
    /* The lock is shared while the kernel writes a file of its own: faults go
     * on, changes of the map wait. A pager's is written without it. */
    rwlock_take_read(&space->map_lock);
    while (!err && addr < range.end) {
        v = vma_set_find(&space->vmas, addr);
        if (!v || v->start > addr)
            unmapped = -ENOMEM;
        if (!v || v->start >= range.end)
            break;
        part = range_clip(range, vma_range(v));
        part.start = part.start < addr ? addr : part.start;
        err = sync_part(space, v, part, flags);
        if (!err && (v->flags & VMA_CACHE) && (flags & MS_SYNC))
            err = sync_cache(space, v, part, sync);
        addr = part.end;
    }
    rwlock_release(&space->map_lock);
    return err ? err : unmapped;
}
