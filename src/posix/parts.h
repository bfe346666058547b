/* SPDX-License-Identifier: MIT */
/*
 * parts: a call's range, cut at the ends of a space.
 *
 *              base                      end
 *     ──────────┬─────────────────────────┬─────────
 *       below   │          inside         │  above        any may be empty
 *       kernel  │          uf_*           │  kernel
 *
 * Pure: numbers in, numbers out.
 */
#ifndef UF_POSIX_PARTS_H
#define UF_POSIX_PARTS_H

#include "base/range.h"

struct parts {
    struct range below;
    struct range inside;
    struct range above;
};

/* A call that cuts nothing is handed on as it came, so that who answers it
 * also judges its arguments. */
enum parts_kind {
    PARTS_OUTSIDE, /* for the kernel alone: outside, or not a range at all */
    PARTS_INSIDE,  /* for the space alone */
    PARTS_BOTH     /* *ret_parts */
};

/*
 * What a call on `len` bytes at `addr`, which rounds up to whole pages, has to
 * do with `space`. An address that is not a page's, a range that is empty or
 * wraps: no call of the family changes anything by these, so who answers does
 * not matter, and it is the kernel.
 */
static inline enum parts_kind parts_of(uintptr_t addr, size_t len,
                                       struct range space,
                                       struct parts *ret_parts)
{
    const struct range all = {0, UINTPTR_MAX};
    size_t whole = align_up(len, page_size());
    struct range range;

    if (!is_aligned(addr, page_size()) || whole < len ||
        !range_make(addr, whole, &range) || range_is_empty(range) ||
        !range_overlaps(range, space))
        return PARTS_OUTSIDE;
    if (range_covers(space, range))
        return PARTS_INSIDE;
    ret_parts->below =
        range_clip(range, (struct range){all.start, space.start});
    ret_parts->inside = range_clip(range, space);
    ret_parts->above = range_clip(range, (struct range){space.end, all.end});
    return PARTS_BOTH;
}

#endif
