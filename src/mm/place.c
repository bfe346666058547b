/* SPDX-License-Identifier: MIT */
/*
 * Where a mapping goes: get_unmapped_area (mm/mmap.c), with the search of
 * arch/x86/kernel/sys_x86_64.c (arch_get_unmapped_area_topdown), and the
 * alignment of mm/huge_memory.c (thp_get_unmapped_area).
 *
 *     fixed          there, if inside the space
 *     a hint         there, if free, guard gap of a stack above included
 *     else           the highest gap that is long enough (UF_SPACE_BOTTOM_UP:
 *                    the lowest); whole huge pages without a hint are aligned,
 *                    by searching for one huge page more than they need
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_32BIT
#define MAP_32BIT 0x40
#endif

/* A huge page of the middle level: as many pages as a page holds entries. */
static size_t huge_bytes(void)
{
    return page_size() / 8 * page_size();
}

static intptr_t search(const struct uf_space *space, size_t len_bytes)
{
    bool down = !(space->config.flags & UF_SPACE_BOTTOM_UP);
    uintptr_t start;

    if (!vma_set_find_gap(&space->vmas, space->region.range, len_bytes,
                          page_size(), stack_guard_bytes(), down, &start))
        return -ENOMEM;
    return (intptr_t)start;
}

/* __thp_get_unmapped_area, for offset 0: the aligned place in a gap that is one
 * huge page longer, or -ENOMEM. */
static intptr_t search_aligned(const struct uf_space *space, size_t len_bytes)
{
    size_t huge = huge_bytes();
    bool down = !(space->config.flags & UF_SPACE_BOTTOM_UP);
    intptr_t found;
    size_t skip;

    if (len_bytes + huge < len_bytes)
        return -ENOMEM;
    found = search(space, len_bytes + huge);
    if (found < 0)
        return found;
    skip = (0 - (uintptr_t)found) & (huge - 1);
    if (down && skip == 0)
        skip = huge;
    return found + (intptr_t)skip;
}

static bool hint_is_free(const struct uf_space *space, struct range want)
{
    const struct vma *next;
    size_t guard;

    if (!range_covers(space->region.range, want))
        return false;
    next = vma_set_find(&space->vmas, want.start);
    if (!next)
        return true;
    guard = (next->flags & VMA_GROWSDOWN) ? stack_guard_bytes() : 0;
    return next->start >= guard && want.end <= next->start - guard;
}

intptr_t map_place_locked(const struct uf_space *space, uintptr_t addr,
                          size_t len_bytes, int flags, bool plain)
{
    struct range all = space->region.range, want;
    intptr_t found = -ENOMEM;

    if (len_bytes > range_len(all))
        return -ENOMEM;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (addr < align_down(all.start, page_size()) ||
            addr > all.end - len_bytes)
            return -ENOMEM;
        return is_aligned(addr, page_size()) ? (intptr_t)addr : -EINVAL;
    }
    if (flags & MAP_32BIT)
        return -ENOMEM; /* the space has one place */
    want.start = align_down(addr, page_size());
    want.end = want.start + len_bytes;
    if (want.start != 0 && want.end > want.start && hint_is_free(space, want))
        return (intptr_t)want.start;
    if (plain && addr == 0 && is_aligned(len_bytes, huge_bytes()))
        found = search_aligned(space, len_bytes);
    return found > 0 ? found : search(space, len_bytes);
}
