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

/* vm_start_gap: where the gap that a mapping wants below it begins. */
static uintptr_t guard_start(const struct vma *v)
{
    size_t guard = stack_guard_bytes();

    if (!(v->flags & VMA_GROWSDOWN))
        return v->start;
    return v->start > guard ? v->start - guard : 0;
}

/* unmapped_area_topdown: a stack's guard gap in the way ends the search above
 * where it begins, also what lies free between other mappings in it. */
static intptr_t search_down(const struct uf_space *space, size_t len_bytes)
{
    struct range within = space->region.range;
    uintptr_t start;

    while (vma_set_find_gap(&space->vmas, within, len_bytes, page_size(), 0,
                            true, &start)) {
        const struct vma *next = vma_set_find(&space->vmas, start);

        if (!next || guard_start(next) >= start + len_bytes)
            return (intptr_t)start;
        within.end = guard_start(next);
        if (within.end <= within.start)
            break;
    }
    return -ENOMEM;
}

/* unmapped_area */
static intptr_t search_up(const struct uf_space *space, size_t len_bytes)
{
    struct range within = space->region.range;
    uintptr_t start;

    while (vma_set_find_gap(&space->vmas, within, len_bytes, page_size(), 0,
                            false, &start)) {
        const struct vma *next = vma_set_find(&space->vmas, start);

        if (!next || guard_start(next) >= start + len_bytes)
            return (intptr_t)start;
        within.start = next->end;
    }
    return -ENOMEM;
}

/* What finds nothing downwards looks upwards, as the kernel does. */
static intptr_t search(const struct uf_space *space, size_t len_bytes)
{
    intptr_t found = -ENOMEM;

    if (!(space->config.flags & UF_SPACE_BOTTOM_UP))
        found = search_down(space, len_bytes);
    return found > 0 ? found : search_up(space, len_bytes);
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

    if (!range_covers(space->region.range, want))
        return false;
    next = vma_set_find(&space->vmas, want.start);
    return !next || want.end <= guard_start(next);
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
    if (plain && want.start == 0 && is_aligned(len_bytes, huge_bytes()))
        found = search_aligned(space, len_bytes);
    return found > 0 ? found : search(space, len_bytes);
}
