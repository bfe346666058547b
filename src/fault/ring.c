/* SPDX-License-Identifier: MIT */
/* See ring.h. */
#include "fault/ring.h"

#include <stddef.h>

#include "base/slab.h"

bool ring_init(struct ring *ring, unsigned size)
{
    ring->entries = slab_pages(size * sizeof(ring->entries[0]));
    ring->size = size;
    return ring->entries != NULL;
}

void ring_destroy(struct ring *ring)
{
    slab_pages_free(ring->entries, ring->size * sizeof(ring->entries[0]));
}

bool ring_put(struct ring *ring, struct entry entry)
{
    unsigned i = (ring->first + ring->count) % ring->size;

    if (ring->count == ring->size)
        return false;
    ring->entries[i] = entry;
    ring->count++;
    return true;
}

struct entry *ring_first(struct ring *ring)
{
    while (ring->count > 0) {
        struct entry *entry = &ring->entries[ring->first];

        if (entry->space)
            return entry;
        ring->first = (ring->first + 1) % ring->size;
        ring->count--;
    }
    return NULL;
}

void ring_forget(struct ring *ring, const struct uf_space *space)
{
    for (unsigned n = 0; n < ring->count; n++) {
        struct entry *entry = &ring->entries[(ring->first + n) % ring->size];

        if (entry->space == space)
            entry->space = NULL;
    }
}

void ring_empty(struct ring *ring)
{
    ring->first = ring->count = 0;
}
