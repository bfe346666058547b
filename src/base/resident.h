/* SPDX-License-Identifier: MIT */
/*
 * resident: one bit a page: which pages of a space ufault has made resident, or
 * which of a pager are to be written back.
 *
 * The map is one NORESERVE mapping of len/8 pages/bytes, itself paged in on
 * demand: 512 MiB of addresses for a space of 16 TiB, and no memory at all
 * until a page is installed (one page of map for 128 MiB of space).
 *
 * It is what we did, not what the kernel has: a program that calls madvise
 * behind our back makes pages absent whose bit is set. So a bit is a hint for
 * the window (do not bring in what is there) and the base of a gauge; a fault
 * is always answered, whatever its bit says.
 *
 * Bits are set by faults under the shared map lock, hence atomics; cleared
 * under the exclusive one.
 */
#ifndef UF_BASE_RESIDENT_H
#define UF_BASE_RESIDENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct resident {
    struct range range;
    _Atomic uint64_t *words;
    size_t len_bytes;    /* of words */
    atomic_size_t pages; /* bits set */
};

/* 0 or -ENOMEM. */
int resident_init(struct resident *r, struct range range);
void resident_destroy(struct resident *r);

bool resident_test(const struct resident *r, uintptr_t addr);

/* Sets / clears the bits of [part); returns how many changed. */
size_t resident_set(struct resident *r, struct range part);
size_t resident_clear(struct resident *r, struct range part);

/* True if every bit of [part) is set. */
bool resident_all(const struct resident *r, struct range part);

/* True if any bit of [part) is set. */
bool resident_any(const struct resident *r, struct range part);

/* The first run of set bits in [within); empty if there is none. */
struct range resident_run(const struct resident *r, struct range within);

/* The widest range inside `within` that holds the page of addr and, apart from
 * it, only pages whose bit is clear. Requires: addr in within. */
struct range resident_hole(const struct resident *r, uintptr_t addr,
                           struct range within);

#endif
