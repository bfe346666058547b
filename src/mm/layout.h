/* SPDX-License-Identifier: MIT */
/*
 * layout: the mappings of a space as they were when it was made from something,
 * so that going back there may leave them alone.
 *
 * What may have changed them is told by counters (calls that map have been made,
 * or not) and by a comparison: a break that moved, a lock, an advice, a stack
 * that grew. The break alone is put back.
 */
#ifndef UF_MM_LAYOUT_H
#define UF_MM_LAYOUT_H

#include "mm/space.h"

/* Calls that may have changed the mappings, in a number. */
uint64_t layout_epoch(const struct uf_space *space);

/* No such calls since `epoch`, no guards, no locks to come; and the break, put
 * back, is `brk`. The mappings themselves are not compared. */
bool layout_is_near(struct uf_space *space, uint64_t epoch, uintptr_t brk);

/* One mapping of a layout; the pager is only compared. */
struct layout_map {
    struct range range;
    const struct uf_pager *pager;
    uint64_t offset;
    uint32_t flags;
};

struct layout {
    uint64_t epoch;
    uintptr_t brk;
    size_t nmaps;
    size_t room_bytes;
    struct layout_map *maps;
};

/* Notes the layout as it is. 0 or -ENOMEM: it is what it was before. Requires: nobody
 * else maps. */
int layout_note(struct layout *layout, struct uf_space *space);
void layout_destroy(struct layout *layout);

/* True if the mappings are as noted; the break is put back. */
bool layout_is_kept(const struct layout *layout, struct uf_space *space);

#endif
