/* SPDX-License-Identifier: MIT */
/*
 * aside: what a writer keeps of the working set until the rest is written.
 *
 *     pages come in order of address ──► aside, at their place in the order of
 *                                        first touch ──► chunks of their own
 *
 * An extent of pages put aside begins at IMAGE_ASIDE + its place, until it is
 * known how many of the set are stored at all: those that are zeros, or the
 * parent's, take no room.
 */
#ifndef UF_IMAGE_ASIDE_H
#define UF_IMAGE_ASIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pairs.h"
#include "image/format.h"

#define IMAGE_ASIDE ((uint64_t)1 << 63)

struct image_aside {
    const uint64_t *working; /* the caller's */
    size_t nworking;
    /* One allocation; the bytes are touched where a page is put. */
    char *memory;
    size_t memory_bytes;
    struct pair *places; /* page -> place, by page */
    uint64_t *numbers; /* by place: 1 + its number among them; 0: not stored */
    char *bytes;       /* by place */
    size_t at;         /* places below are of pages that have been */
    uint64_t nstored;
};

/* 0 or -ENOMEM. The list stays the caller's, and as it is. */
int image_aside_init(struct image_aside *a, const uint64_t *working,
                     size_t nworking);
void image_aside_destroy(struct image_aside *a);

/* True if the page is of the set: it is kept, at *ret_place. Requires: pages
 * ascend. */
bool image_aside_put(struct image_aside *a, uint64_t page, const void *bytes,
                     uint64_t *ret_place);

/* All are there: numbers them in order of their places. */
void image_aside_number(struct image_aside *a);

/* The bytes of the page at a place; NULL: none was put there. */
const void *image_aside_bytes(const struct image_aside *a, size_t place);

/* The number, among those stored, of what was put at a place. */
uint64_t image_aside_number_of(const struct image_aside *a, uint64_t place);

#endif
