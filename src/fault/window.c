/* SPDX-License-Identifier: MIT */
/* See window.h. */
#include "fault/window.h"

#include "base/check.h"

struct range window_block(const struct window_policy *policy, uintptr_t addr,
                          struct range vma)
{
    size_t len = policy->pages * page_size();
    /* Any number of pages is allowed, so a remainder and not a mask. */
    uintptr_t start = addr - (addr - policy->origin) % len;
    struct range block = {start, start + len};

    if (block.end < block.start)
        block.end = vma.end;
    return range_clip(block, vma);
}

struct range window_choose(const struct window_policy *policy, uintptr_t addr,
                           struct range vma, const struct resident *resident)
{
    struct range block = window_block(policy, addr, vma);
    struct range window = resident_hole(resident, addr, block);

    CHECK(range_contains(window, addr) && range_covers(vma, window));
    return window;
}
