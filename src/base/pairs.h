/* SPDX-License-Identifier: MIT */
/*
 * pairs: many numbers, each with another that goes with it, to be found by the
 * first. Whoever has pages in some order and is asked for one by its number
 * makes such an array once, and looks things up in it from anywhere, a signal
 * handler included.
 */
#ifndef UF_BASE_PAIRS_H
#define UF_BASE_PAIRS_H

#include <stddef.h>
#include <stdint.h>

struct pair {
    uint64_t key;
    uint64_t value;
};

/* Sorts by key; pairs of the same key stay in their order. Calls no malloc:
 * `scratch` has room for as many. */
void pairs_sort(struct pair *pairs, size_t npairs, struct pair *scratch);

/* The first pair of that key, or NULL. Requires: sorted. */
const struct pair *pairs_find(const struct pair *pairs, size_t npairs,
                              uint64_t key);

#endif
