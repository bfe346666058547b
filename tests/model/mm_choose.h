/* SPDX-License-Identifier: MIT */
/*
 * What the generator of operations (mm_ops.c) chooses places and lengths by.
 */
#ifndef TESTS_MODEL_MM_CHOOSE_H
#define TESTS_MODEL_MM_CHOOSE_H

#include "model/mm_twin.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* What a run's operations have in common. */
struct maker {
    struct mm_source *source;
    const struct mm_config *config;
    uint64_t without;
    uint64_t page;
};

bool one_in(struct mm_source *source, uint64_t n);
int64_t choose_extreme(struct mm_source *source);
uint64_t choose_bytes(const struct maker *maker);
struct mm_place choose_place(const struct maker *maker);
/* at, and len or upto. */
void choose_range(const struct maker *maker, struct mm_op *op);

#endif
