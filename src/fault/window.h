/* SPDX-License-Identifier: MIT */
/*
 * window: how many pages one fault brings in, and which.
 *
 *     VMA      |--------------------------------------------------|
 *     aligned block of N pages       [ . . . . . . . . ]
 *     resident                             # #
 *     touched                                  x
 *     window                                  [x . . . ]
 *
 * The policy in force is fixed: the block of N pages, counted from the space's
 * base, that holds the touched page; so streams in either direction find their
 * next pages there, wherever the kernel has put the space. It is clipped to the VMA (hence to the
 * break) and to the hole between resident pages, so that nothing is brought in
 * twice. A policy that adapts would keep its state in struct window_policy.
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

/* The block before clipping to residents. Pure. Requires: addr in vma. */
struct range window_block(const struct window_policy *policy, uintptr_t addr,
                          struct range vma);

/* The window of a touch of addr. Requires: addr in vma. Ensures: it holds the
 * page of addr, lies in vma, is at most policy->pages long. */
struct range window_choose(const struct window_policy *policy, uintptr_t addr,
                           struct range vma, const struct resident *resident);

#endif
