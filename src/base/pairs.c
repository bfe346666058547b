/* SPDX-License-Identifier: MIT */
/* See pairs.h: runs are merged, from pairs of one to all of them. */
#include "base/pairs.h"

#include <string.h>

/* [first, middle) and [middle, end) of `from`, each sorted, as one. */
static void merge(const struct pair *from, size_t first, size_t middle,
                  size_t end, struct pair *to)
{
    size_t a = first, b = middle;

    for (size_t i = first; i < end; i++) {
        if (b == end || (a < middle && from[a].key <= from[b].key))
            to[i] = from[a++];
        else
            to[i] = from[b++];
    }
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

void pairs_sort(struct pair *pairs, size_t npairs, struct pair *scratch)
{
    struct pair *from = pairs, *to = scratch;

    for (size_t len = 1; len < npairs; len *= 2) {
        struct pair *was = from;

        for (size_t i = 0; i < npairs; i += 2 * len)
            merge(from, i, at_most(i + len, npairs),
                  at_most(i + 2 * len, npairs), to);
        from = to;
        to = was;
    }
    if (from != pairs)
        memcpy(pairs, from, npairs * sizeof(*pairs));
}

const struct pair *pairs_find(const struct pair *pairs, size_t npairs,
                              uint64_t key)
{
    size_t low = 0, high = npairs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pairs[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < npairs && pairs[low].key == key ? &pairs[low] : NULL;
}
