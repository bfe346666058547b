/* SPDX-License-Identifier: MIT */
/*
 * vma_set: the ordered set of a space's VMAs and of the gaps between them.
 *
 * Pure: no system call, no thread, no lock of its own (the space's map lock
 * guards it); memory comes from base/slab. Everything is O(log n) in the
 * number of VMAs unless it says otherwise. A struct vma stays where it is until
 * its VMA is removed or merged into the one on its left.
 */
#ifndef UF_MM_VMA_SET_H
#define UF_MM_VMA_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/range.h"
#include "mm/spares.h"
#include "mm/vma.h"
#include "mm/vma_tree.h"

struct vma_set {
    struct range bounds; /* every VMA lies inside; gaps are searched inside */
    size_t count;        /* VMAs now */
    /* Private from here. */
    struct vma_tree tree;
    struct spares records; /* struct vma set aside */
    unsigned promised;     /* changes that cannot fail, left to use */
    struct vma *graves;    /* dropped, with the last reference on a pager */
};

/* Where records come from; for tests that count what is live. */
extern struct slab_cache vma_record_cache;

/* An empty set over `bounds` (page-aligned). Takes no memory. */
void vma_set_init(struct vma_set *set, struct range bounds);

/* Frees every record, node and pager reference. The set is empty after. */
void vma_set_destroy(struct vma_set *set);

/*
 * What was dropped since the last call and holds the last reference on a pager:
 * its release is the user's code, so it must wait until no lock is held. NULL
 * if there is none, as nearly always.
 */
struct vma *vma_set_take_graves(struct vma_set *set);

/* Drops these references. Requires: no lock held. */
void vma_free_graves(struct vma *graves);

/*
 * Sets aside what the next `ninserts` changes may need, so that they cannot
 * fail ("prepare" of invariant 6). One vma_set_insert uses one, one
 * vma_set_remove uses one (it may split), whether or not it turns out to need
 * it. Calls do not add up: the latest says how many changes are to come, and
 * what earlier ones set aside beyond that is given back. What is not used
 * stays set aside until then. Returns 0 or -ENOMEM (nothing changed).
 */
int vma_set_reserve(struct vma_set *set, unsigned ninserts);

/* The VMA with addr inside, or NULL. */
struct vma *vma_set_lookup(const struct vma_set *set, uintptr_t addr);

/* The first VMA whose end is above addr, or NULL: the kernel's find_vma. */
struct vma *vma_set_find(const struct vma_set *set, uintptr_t addr);

/* The first VMA that overlaps `range`, or NULL. An empty range overlaps
 * nothing. */
struct vma *vma_set_find_intersection(const struct vma_set *set,
                                      struct range range);

/* The last VMA whose end is <= addr, or NULL. */
struct vma *vma_set_find_prev(const struct vma_set *set, uintptr_t addr);

/* The neighbours of a VMA that is in the set, or NULL. */
struct vma *vma_set_next(const struct vma_set *set, const struct vma *vma);
struct vma *vma_set_prev(const struct vma_set *set, const struct vma *vma);

/*
 * Puts a copy of *what into the set, joined with its neighbours where
 * vma_can_merge allows (previous, next or both). A merged VMA keeps the left
 * record, and the newest (largest) generation of the parts. Takes a pager
 * reference for a VMA that is not merged. Returns the record that now covers
 * what->start.
 * Requires: nothing overlaps, inside bounds, not empty; one reserved insert.
 */
struct vma *vma_set_insert(struct vma_set *set, const struct vma *what);

/*
 * Takes [range) out: VMAs inside go, VMAs that reach in are trimmed, a VMA
 * that reaches over both ends is split. Whatever is left of a VMA that lost
 * something gets `generation`. Ranges without a VMA are fine. Returns the
 * number of bytes that were mapped there. O(log n) for each VMA that goes.
 * Requires: page-aligned, inside bounds; one reserved insert.
 */
size_t vma_set_remove(struct vma_set *set, struct range range,
                      uint64_t generation);

/*
 * Searches `within` for a gap of at least len_bytes whose start is a multiple
 * of `align` (a power of two, >= page size): the lowest such address, or with
 * top_down the highest. Below a VMA that grows down, guard_bytes do not count
 * as gap (stack_guard_gap). True and *ret_start, or false. The answer is exact;
 * an align above the page size costs another O(log n) for each gap passed that
 * is long enough but lies badly. Requires: len_bytes > 0.
 */
bool vma_set_find_gap(const struct vma_set *set, struct range within,
                      size_t len_bytes, size_t align, size_t guard_bytes,
                      bool top_down, uintptr_t *ret_start);

/* True if every invariant of the structure holds; walks it all. */
bool vma_set_is_valid(const struct vma_set *set);

/* Bytes of metadata now, over all VMAs: records, nodes and reserve. */
size_t vma_set_memory(const struct vma_set *set);

#endif
