/* SPDX-License-Identifier: MIT */
/*
 * mprotect, one VMA after the other as do_mprotect_pkey (mm/mprotect.c): what
 * comes before the VMA that stops it has changed when it returns an error.
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#include "mm/shared.h"
#include "pager/cache.h"

#ifndef PROT_SEM
#define PROT_SEM 0x8
#endif

/* More data pages than allowed, by turning [run), which begins in *v, writable?
 * Not if the limit was exceeded before. */
static bool data_limit_forbids(const struct uf_space *space,
                               const struct vma *v, struct range run,
                               uint32_t prot)
{
    uint32_t old = v->flags, flags = (old & ~VMA_PROT) | prot;
    size_t npages = range_len(run) / page_size();

    return (flags & VMA_WRITE) &&
           !limits_allow_pages_locked(space, npages, flags) &&
           limits_allow_pages_locked(space, npages, old);
}

/* mprotect_fixup. 0 or -errno. */
static int protect_part(struct uf_space *space, const struct vma *v,
                        struct range part, uint32_t prot)
{
    uint32_t flags = (v->flags & ~VMA_PROT) | prot;
    int err;
    if (!map_may_split(space, v, part))
        return -ENOMEM;
    err = vma_set_reserve(&space->vmas, 2);
    if (err)
        return err;
    err = region_protect(&space->region, part, (int)prot);
    if (err) {
        map_restore_protection(space, part);
        return err == -EACCES ? err : -ENOMEM;
    }
    /* What was written is not told any more by what may be written. */
    if ((v->flags & VMA_CACHE) && (v->flags & ~flags & VMA_WRITE))
        shared_collect_locked(space, v, part);
    map_reflag_locked(space, v, part, flags);
    return 0;
}

static bool populates(const struct vma *v, uint32_t prot)
{
    return (v->flags & (VMA_WRITE | VMA_SHARED | VMA_LOCKED)) == VMA_LOCKED &&
           (prot & VMA_WRITE);
}

/* The last one takes what there is no place for, and what lies between. */
static void note_made(struct map_made *made, struct range part)
{
    if (made->n == MAP_MADE_MAX)
        made->parts[made->n - 1].end = part.end;
    else
        made->parts[made->n++] = part;
}

static int protect_range(struct uf_space *space, struct range range,
                         uint32_t prot, struct map_made *ret_made)
{
    struct range run = {range.start, range.start};
    uintptr_t at = range.start;

    while (at < range.end) {
        const struct vma *v = vma_set_lookup(&space->vmas, at);
        struct range part;
        int err;

        if (!v)
            return -ENOMEM;
        part = range_clip(range, (struct range){at, v->end});
        if ((v->flags & VMA_CACHE) && cache_may_map(v->pager, (int)prot) != 0)
            return -EACCES;
        if ((v->flags & VMA_PROT) != prot) {
            /* The limit is compared with a mapping's whole part at once. */
            if (at >= run.end) {
                run = (struct range){at, map_run_end(space, v)};
                run = range_clip(range, run);
                if (data_limit_forbids(space, v, run, prot))
                    return -ENOMEM;
            }
            bool made = populates(v, prot);

            err = protect_part(space, v, part, prot);
            if (err)
                return err;
            if (made)
                note_made(ret_made, part);
        }
        at = part.end;
    }
    return 0;
}

/* From where, for PROT_GROWSDOWN: the start of the stack that is met. */
static int find_start(const struct uf_space *space, struct range *range,
                      int grows)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, *range);

    if (!v)
        return -ENOMEM;
    if (grows & PROT_GROWSDOWN) {
        range->start = map_run_start(space, v)->start;
        return (v->flags & VMA_GROWSDOWN) ? 0 : -EINVAL;
    }
    if (v->start > range->start)
        return -ENOMEM;
    return (grows & PROT_GROWSUP) ? -EINVAL : 0;
}

int space_mprotect(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                   int prot, struct map_made *ret_made)
{
    int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    struct range range = {addr, addr + align_up(len_bytes, page_size())};
    int err;

    ret_made->n = 0;
    prot &= ~grows;
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) ||
        !is_aligned(addr, page_size()))
        return -EINVAL;
    if (len_bytes == 0)
        return 0;
    if (range.end <= range.start)
        return -ENOMEM;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
        return -EINVAL;
    map_lock(space);
    err = find_start(space, &range, grows);
    if (!err)
        err = protect_range(space, range, (uint32_t)prot & VMA_PROT, ret_made);
    map_unlock(space);
    if (!err)
        COUNT(space->counters, mprotects);
    return err;
}
