/* SPDX-License-Identifier: MIT */
/*
 * window: how many pages one fault brings in, and which.
 *
 *     VMA      |--------------------------------------------------|
 *     resident   # # # # # #                      x touched
 *
 *     alone:  the aligned block around it     [ . . x . . . . . ]
 *     the page below is resident: a stream going up     # [x . . . . . . . ]
 *     the page above is resident: one going down    [. . . . . . . x] #
 *
 * The number of pages is fixed; residency says where they lie. Blocks are
 * counted from the space's base, so that where the kernel has put it does not
 * matter. A window is clipped to the VMA (hence to the break) and to the hole
 * between resident pages: nothing is brought in twice. A policy that adapts
 * would keep its state in struct window_policy.
 */
#ifndef UF_FAULT_WINDOW_H
#define UF_FAULT_WINDOW_H

#include "base/range.h"
#include "mm/resident.h"

#define WINDOW_PAGES_MAX 512

struct window_policy {
    uint32_t pages;   /* 1 to WINDOW_PAGES_MAX */
    uintptr_t origin; /* blocks are counted from here: the space's base */
};

/* The window of a touch of addr. Requires: addr in vma. Ensures: it holds the
 * page of addr, lies in vma, is at most policy->pages long. */
struct range window_choose(const struct window_policy *policy, uintptr_t addr,
                           struct range vma, const struct resident *resident);

#endif
