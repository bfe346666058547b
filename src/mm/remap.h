/* SPDX-License-Identifier: MIT */
/*
 * remap: how a mapping moves or grows, in the host and in the set. Internal to
 * mremap: remap.c decides, this does.
 */
#ifndef UF_MM_REMAP_H
#define UF_MM_REMAP_H

#include "mm/map.h"

struct remap_move {
    struct range from; /* part of one mapping; empty: a second one of shared
                          memory */
    struct range to;   /* free, inside the space; not shorter */
    bool keep;         /* DONTUNMAP: `from` stays mapped, empty */
};

/* Moves; v is the first VMA of `from`. 0 or -errno, nothing changed. */
int remap_move_locked(struct uf_space *space, struct vma *v,
                      const struct remap_move *move);

/* Adds `more`, which is free, to the end of the mapping whose last VMA is v.
 * 0 or -errno, nothing changed. */
int remap_lengthen_locked(struct uf_space *space, const struct vma *v,
                          struct range more);

#endif
