/* SPDX-License-Identifier: MIT */
/*
 * vma_tree: VMAs by start address, with the size of the gap before each.
 *
 * Order and gaps only: what a gap is worth, merging, splitting and ownership
 * of the VMAs belong to vma_set. The caller keeps the starts apart and says
 * how large each gap is; the tree keeps them findable. Shape and reasons are
 * in vma_tree.c.
 */
#ifndef UF_MM_VMA_TREE_H
#define UF_MM_VMA_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/spares.h"
#include "mm/vma.h"

/* Growing past level h takes 15 * 6^h VMAs: 16 levels are never reached. */
#define VMA_TREE_HEIGHT_MAX 16

struct vma_node; /* private to vma_tree.c */

struct vma_tree {
    struct vma_node *root; /* NULL if empty */
    unsigned height;       /* levels; 0 if empty, 1 if the root is a leaf */
    size_t nnodes;         /* in the tree, spares not included */
    struct spares spares;  /* nodes set aside */
};

/* Where nodes come from; for tests that count what is live. */
extern struct slab_cache vma_node_cache;

/* An empty tree. Takes no memory. */
void vma_tree_init(struct vma_tree *tree);

/* Hands every VMA to `drop`, in order, and frees all nodes and spares. */
void vma_tree_destroy(struct vma_tree *tree, void (*drop)(struct vma *vma));

/*
 * Sets aside the nodes that `ninserts` inserts may need, whatever removals
 * come between. Returns 0 or -ENOMEM (nothing changed).
 */
int vma_tree_reserve(struct vma_tree *tree, unsigned ninserts);

/* Gives back nodes that are set aside beyond those for `ninserts`; a few stay
 * for the next change unless the tree is empty. */
void vma_tree_trim(struct vma_tree *tree, unsigned ninserts);

/* The last VMA that starts at or below addr, or NULL. */
struct vma *vma_tree_floor(const struct vma_tree *tree, uintptr_t addr);

/*
 * The first VMA that starts above addr (gap_above), or the last one that starts
 * at or below it (gap_below), with a gap of at least min_gap bytes before it;
 * or NULL. *ret_gap (may be NULL) is that gap.
 */
struct vma *vma_tree_gap_above(const struct vma_tree *tree, uintptr_t addr,
                               size_t min_gap, size_t *ret_gap);
struct vma *vma_tree_gap_below(const struct vma_tree *tree, uintptr_t addr,
                               size_t min_gap, size_t *ret_gap);

/* Adds a VMA. Requires: no VMA with this start; nodes set aside. */
void vma_tree_insert(struct vma_tree *tree, struct vma *vma, size_t gap);

/* Takes out the VMA that starts at `start`. Requires: there is one. */
void vma_tree_remove(struct vma_tree *tree, uintptr_t start);

/*
 * The VMA filed under `start` has moved its start (order unchanged), or the
 * gap before it is another: files it under vma->start with `gap`.
 */
void vma_tree_update(struct vma_tree *tree, uintptr_t start, struct vma *vma,
                     size_t gap);

/* True if the nodes are well-formed and every gap is that between a VMA's start
 * and the end of the one before it, or `floor` before the first. */
bool vma_tree_is_valid(const struct vma_tree *tree, uintptr_t floor);

/* Bytes in nodes, those set aside included. */
size_t vma_tree_memory(const struct vma_tree *tree);

#endif
