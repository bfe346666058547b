/* SPDX-License-Identifier: MIT */
/*
 * ring: a queue of ranges of spaces, of a fixed size. Entries of a space that
 * goes are made empty in place, so what is at the front may be looked at while
 * others are put in. Whoever uses it has a lock around each call.
 */
#ifndef UF_FAULT_RING_H
#define UF_FAULT_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct uf_space;

struct entry {
    struct uf_space *space; /* NULL: forgotten */
    struct range range;
    unsigned tries; /* blocks: that have failed */
    uint64_t due_ns;
};

/* Entries [first, first + count), round. The thread alone takes out. */
struct ring {
    struct entry *entries;
    unsigned size;
    unsigned first;
    unsigned count;
};

/* False if there is no memory; ring_destroy takes it all the same. */
bool ring_init(struct ring *ring, unsigned size);
void ring_destroy(struct ring *ring);

/* At the end. False: it is full. */
bool ring_put(struct ring *ring, struct entry entry);

/* The first entry that counts, which lies at ring->first; NULL if there is
 * none. */
struct entry *ring_first(struct ring *ring);

/* What is of this space does not count any more. */
void ring_forget(struct ring *ring, const struct uf_space *space);

void ring_empty(struct ring *ring);

#endif
