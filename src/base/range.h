/* SPDX-License-Identifier: MIT */
/*
 * range: a half-open interval of addresses, [start, end).
 *
 * Every interval in ufault is one of these or is documented as half-open, so
 * that `end - start` is a length, adjacent ranges share a number, and the
 * empty range needs no special case. Checks for overflow happen where a range
 * is made (range_make), never where it is used.
 */
#ifndef UF_BASE_RANGE_H
#define UF_BASE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

struct range {
    uintptr_t start;
    uintptr_t end;
};

/* The page size of this machine, in bytes; read once, at run time. */
static inline size_t page_size(void)
{
    static size_t cached;
    size_t n = __atomic_load_n(&cached, __ATOMIC_RELAXED);

    if (n == 0) {
        n = (size_t)sysconf(_SC_PAGESIZE);
        __atomic_store_n(&cached, n, __ATOMIC_RELAXED);
    }
    return n;
}

/* `value` rounded down / up to a multiple of `unit`, a power of two. Rounding
 * up wraps to 0 past the top of the address space, as PAGE_ALIGN does. */
static inline uintptr_t align_down(uintptr_t value, size_t unit)
{
    return value & ~((uintptr_t)unit - 1);
}

static inline uintptr_t align_up(uintptr_t value, size_t unit)
{
    return (value + unit - 1) & ~((uintptr_t)unit - 1);
}

static inline bool is_aligned(uintptr_t value, size_t unit)
{
    return (value & ((uintptr_t)unit - 1)) == 0;
}

/* Makes [start, start + len_bytes) in *ret; false if it would wrap. */
static inline bool range_make(uintptr_t start, size_t len_bytes,
                              struct range *ret)
{
    uintptr_t end;

    if (__builtin_add_overflow(start, len_bytes, &end))
        return false;
    *ret = (struct range){start, end};
    return true;
}

static inline size_t range_len(struct range r)
{
    return r.end - r.start;
}

static inline bool range_is_empty(struct range r)
{
    return r.start >= r.end;
}

static inline bool range_contains(struct range r, uintptr_t addr)
{
    return addr >= r.start && addr < r.end;
}

static inline bool range_covers(struct range outer, struct range inner)
{
    return inner.start >= outer.start && inner.end <= outer.end;
}

static inline bool range_overlaps(struct range a, struct range b)
{
    return a.start < b.end && b.start < a.end;
}

/* The part of `a` inside `b`; empty (start == end) if they are apart. */
static inline struct range range_clip(struct range a, struct range b)
{
    struct range r = {a.start > b.start ? a.start : b.start,
                      a.end < b.end ? a.end : b.end};

    if (r.end < r.start)
        r.end = r.start;
    return r;
}

/* From the lower start to the higher end; the other one if one is empty. */
static inline struct range range_hull(struct range a, struct range b)
{
    struct range r = {a.start < b.start ? a.start : b.start,
                      a.end > b.end ? a.end : b.end};

    if (range_is_empty(a))
        return b;
    return range_is_empty(b) ? a : r;
}

#endif
