/* SPDX-License-Identifier: MIT */
/*
 * spares: slab objects set aside, so that a later step cannot run out of them.
 *
 *     prepare:  spares_top_up    the only call that asks for memory: may fail
 *     commit:   spares_take, spares_give
 *     settle:   spares_trim      what is not worth keeping goes to the slab
 *
 * Serves invariant 6 (prepare, host call, commit). No lock: the owner's guards.
 */
#ifndef UF_MM_SPARES_H
#define UF_MM_SPARES_H

#include <stddef.h>

#include "base/slab.h"

struct spare;

struct spares {
    struct slab_cache *cache;
    struct spare *first; /* linked through the unused objects themselves */
    size_t count;
};

/* Makes count at least `want`. Returns 0 or -ENOMEM (nothing changed). */
int spares_top_up(struct spares *spares, size_t want);

/* One object, contents undefined. Requires: count > 0. */
void *spares_take(struct spares *spares);

/* Takes an object in if fewer than `keep` are here, else frees it. */
void spares_give(struct spares *spares, void *object, size_t keep);

/* Frees all but `keep`. */
void spares_trim(struct spares *spares, size_t keep);

#endif
