/* SPDX-License-Identifier: MIT */
/*
 * vma_node: one node of vma_tree, and what can be done to it alone.
 *
 *     start  | 10 | 40 | 90 | - | - ...   2 cache lines: searched
 *     slot   |  * |  * |  * |   |   ...   2 cache lines: one is followed
 *     gap    | 10 | 25 |  4 | 0 | 0 ...   2 cache lines: gap search only
 *
 * An entry is a start, what is under it and the largest gap under it. There is
 * no count of entries: an unused start is NO_START, larger than any address, so
 * that the search needs no other bound. It counts, without a branch that could
 * be mispredicted. Only vma_tree.c includes this.
 */
#ifndef UF_MM_VMA_NODE_H
#define UF_MM_VMA_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mm/vma.h"

#define NODE_SLOTS 16
/* With 6 of 16 in use a VMA still costs no more than 128 bytes. */
#define NODE_MIN 6
#define NO_START UINTPTR_MAX

struct vma_node {
    uintptr_t start[NODE_SLOTS]; /* ascending; NO_START if unused */
    union vma_slot {
        struct vma_node *node; /* level > 0 */
        struct vma *vma;       /* level 0 */
    } slot[NODE_SLOTS];
    size_t gap[NODE_SLOTS]; /* 0 if unused */
};

_Static_assert(sizeof(struct vma_node) == 6 * 64, "six whole cache lines");

struct vma_entry {
    uintptr_t start;
    union vma_slot slot;
    size_t gap;
};

/*
 * How many starts are <= addr. Requires: addr < NO_START. First which four,
 * then how many of them: seven compares, two of them in a row.
 */
static inline int vma_node_rank(const struct vma_node *node, uintptr_t addr)
{
    const uintptr_t *start = node->start;
    int four =
        4 * ((start[3] <= addr) + (start[7] <= addr) + (start[11] <= addr));

    start += four;
    return four + (start[0] <= addr) + (start[1] <= addr) + (start[2] <= addr) +
           (start[3] <= addr);
}

static inline int vma_node_fill(const struct vma_node *node)
{
    return vma_node_rank(node, NO_START - 1);
}

static inline void vma_node_move(struct vma_node *to, int at,
                                 struct vma_node *from, int first, int n)
{
    size_t count = (size_t)n;

    memmove(&to->start[at], &from->start[first], count * sizeof(to->start[0]));
    memmove(&to->slot[at], &from->slot[first], count * sizeof(to->slot[0]));
    memmove(&to->gap[at], &from->gap[first], count * sizeof(to->gap[0]));
}

static inline void vma_node_put(struct vma_node *node, int at,
                                struct vma_entry entry)
{
    node->start[at] = entry.start;
    node->slot[at] = entry.slot;
    node->gap[at] = entry.gap;
}

static inline void vma_node_clear(struct vma_node *node, int first, int n)
{
    for (int i = first; i < first + n; i++)
        vma_node_put(node, i, (struct vma_entry){.start = NO_START});
}

/* Requires: the node is not full. */
static inline void vma_node_insert(struct vma_node *node, int at,
                                   struct vma_entry entry)
{
    vma_node_move(node, at + 1, node, at, vma_node_fill(node) - at);
    vma_node_put(node, at, entry);
}

static inline void vma_node_delete(struct vma_node *node, int at)
{
    int last = vma_node_fill(node) - 1;

    vma_node_move(node, at, node, at + 1, last - at);
    vma_node_clear(node, last, 1);
}

/* What a node's parent says about it. */
static inline struct vma_entry vma_node_summary(struct vma_node *node)
{
    struct vma_entry sum = {.start = node->start[0], .slot.node = node};

    for (int i = 0; i < NODE_SLOTS; i++)
        sum.gap = node->gap[i] > sum.gap ? node->gap[i] : sum.gap;
    return sum;
}

static inline bool vma_node_has(const struct vma_node *parent, int at,
                                struct vma_entry sum)
{
    return parent->start[at] == sum.start && parent->gap[at] == sum.gap;
}

/* For validators: entries from `n` on are as vma_node_clear leaves them. */
static inline bool vma_node_is_clear_from(const struct vma_node *node, int n)
{
    for (int i = n; i < NODE_SLOTS; i++)
        if (node->start[i] != NO_START || node->gap[i] || node->slot[i].node)
            return false;
    return true;
}

#endif
