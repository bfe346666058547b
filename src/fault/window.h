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
 * That is the window of fixed size, for those who ask for one: residency says
 * where it lies. Blocks are counted from the space's base, so that where the
 * kernel has put it does not matter.
 *
 * The window that adapts asks streams.h how much the touch wants: one page if
 * it continues nothing, up to 2 MiB if it continues a stream.
 *
 * Either is clipped to the VMA (hence to the break) and to the hole between
 * resident pages: nothing is brought in twice. Streams go on from what is left.
 */
#ifndef UF_FAULT_WINDOW_H
#define UF_FAULT_WINDOW_H

#include "base/range.h"
#include "base/resident.h"
#include "fault/streams.h"

#define WINDOW_PAGES_MAX 512

struct window_policy {
    uint32_t pages;   /* 1 to WINDOW_PAGES_MAX */
    uintptr_t origin; /* blocks are counted from here: the space's base */
};

/* The window of a touch of addr. Requires: addr in vma. Ensures: it holds the
 * page of addr, lies in vma, is at most policy->pages long. */
struct range window_choose(const struct window_policy *policy, uintptr_t addr,
                           struct range vma, const struct resident *resident);

/* What an adapted window depends on. */
struct window_touch {
    uintptr_t addr;
    uintptr_t origin;
    pid_t tid;
    uint32_t pages_new; /* of a touch that continues nothing; 0: always 1 */
    const struct resident *guards; /* not to be brought in; NULL: none */
};

struct window {
    struct range range;
    /* A strided stream: `count` pages from the touched one on, `stride` bytes
     * apart, are wanted as well. */
    int64_t stride;
    uint32_t count; /* 1: none */
};

/* As window_choose, as long as the touching thread's streams want. */
struct window window_adapt(streams_t *streams, const struct window_touch *touch,
                           struct range vma, const struct resident *resident);

#endif
