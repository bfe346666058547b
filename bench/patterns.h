/* SPDX-License-Identifier: MIT */
/* patterns: the orders in which a program touches the pages of a region. */
#ifndef BENCH_PATTERNS_H
#define BENCH_PATTERNS_H

#include <stddef.h>
#include <stdint.h>

enum order {
    ORDER_SEQUENTIAL,
    ORDER_REVERSE,
    ORDER_STRIDED, /* every 8th page, upwards; the others are not touched */
    ORDER_RANDOM,  /* every page once */
    ORDER_SPARSE   /* one page in ten, at random */
};

/*
 * The page numbers in their order, made before the clock starts; to be freed.
 * The same for every call with the same arguments. NULL: no memory.
 */
uint32_t *pattern_make(enum order order, size_t npages, size_t *ret_n);

#endif
