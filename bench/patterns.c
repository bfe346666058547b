/* SPDX-License-Identifier: MIT */
/* See patterns.h. */
#include "patterns.h"

#include <stdlib.h>

#define STRIDE      8
#define SPARSE_PART 10

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Both sides of a row, and every run, get the same permutation. */
static void shuffle(uint32_t *pages, size_t n)
{
    uint64_t state = 88172645463325252u;

    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(next_random(&state) % i);
        uint32_t page = pages[i - 1];

        pages[i - 1] = pages[j];
        pages[j] = page;
    }
}

uint32_t *pattern_make(enum order order, size_t npages, size_t *ret_n)
{
    uint32_t *pages = malloc(npages * sizeof(pages[0]));
    size_t n = order == ORDER_STRIDED ? npages / STRIDE : npages;

    if (!pages)
        return NULL;
    for (size_t i = 0; i < n; i++)
        pages[i] = (uint32_t)(order == ORDER_REVERSE   ? n - 1 - i
                              : order == ORDER_STRIDED ? i * STRIDE
                                                       : i);
    if (order == ORDER_RANDOM || order == ORDER_SPARSE)
        shuffle(pages, n);
    *ret_n = order == ORDER_SPARSE ? n / SPARSE_PART : n;
    return pages;
}
