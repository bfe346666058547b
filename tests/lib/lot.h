/* SPDX-License-Identifier: MIT */
/*
 * lot: spaces drawn by lot, and what there is in one: break, mappings with
 * protection and advice, bytes; some that compress and some that do not.
 */
#ifndef TESTS_LIB_LOT_H
#define TESTS_LIB_LOT_H

#include <stdbool.h>
#include <stdint.h>

#include "ufault/ufault.h"

#define LOT_PAGES 2048u /* of a space */

struct lot_look {
    uintptr_t base;
    size_t npages;
    size_t brk;
    int prot[LOT_PAGES];       /* -1: not mapped */
    uint32_t flags[LOT_PAGES]; /* UF_VMA_* */
    unsigned char *bytes;      /* of each page */
};

/* A space of LOT_PAGES pages with a heap and mappings, some of them filled. It
 * lies out of the way of what is mapped later, so that another can come to its
 * place. Asserts, as all of these. */
struct uf_space *lot_space(uint32_t seed);

/* One more mapping, over whatever is there. */
void lot_map(struct uf_space *space);

/* What is mapped in a space; and, with `bytes`, what it holds: all of it is
 * readable then. */
struct lot_look *lot_look(struct uf_space *space, bool bytes);
void lot_forget(struct lot_look *look);

/* The same but for what coming back changes: what a child inherits, locks. */
void lot_expect_same_maps(const struct lot_look *a, const struct lot_look *b);
/* And the bytes, if both have them. */
void lot_expect_same(const struct lot_look *a, const struct lot_look *b);

#endif
