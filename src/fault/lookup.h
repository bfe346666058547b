/* SPDX-License-Identifier: MIT */
/*
 * lookup: what a touch finds: its mapping, and how much of it to bring in.
 *
 * Look-ups have no side effects (invariant 9), but that a stack may grow down to
 * the touch. What is found is good without the lock as far as it says so; before
 * anything is installed that was filled meanwhile, it is compared.
 */
#ifndef UF_FAULT_LOOKUP_H
#define UF_FAULT_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "fault/fault.h"
#include "mm/space.h"

/* What look-up found, good without the lock. */
struct found {
    struct range window;
    int64_t stride; /* more pages are wanted, this far apart: */
    uint32_t count; /* with the touched one; 1: none */
    bool huge;      /* window is a block to be filled as a whole */
    bool has_policy;
    bool is_shared; /* of a pager's cache, and its pages go in protected, */
    bool is_exact;  /* or not (mm/shared.h) */
    uint64_t cuts;  /* of the cache, before the fill: see cache_begin_install */
    bool is_there;  /* the cache has the touched page: there is no need of us */
    struct range vma;
    struct uf_pager *pager; /* one reference if it is not the zero pager */
    uint64_t offset;        /* of window.start */
    uint64_t generation;
};

/* The page of the touch. */
static inline struct range lookup_page(const struct fault *fault)
{
    uintptr_t page = align_down(fault->addr, page_size());

    return (struct range){page, page + page_size()};
}

/*
 * Takes the map lock, shared, and looks the touch up; where nothing is mapped, a
 * stack may grow down to it. False if nothing is mapped there.
 * Ensures: the map lock is held, either way.
 */
bool lookup_begin(struct uf_space *space, const struct fault *fault,
                  struct found *ret);

/*
 * The window again after a fill: what of [filled) is still the same mapping.
 * False if the touched page is not. Requires: map lock.
 */
bool lookup_still_locked(struct uf_space *space, const struct fault *fault,
                         const struct found *found, struct range *filled);

#endif
