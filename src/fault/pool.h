/* SPDX-License-Identifier: MIT */
/*
 * pool: zeroed huge pages, ready to be moved into a space.
 *
 *     slots   | ready | ready | empty | ready | taken | spoilt |  2 MiB each
 *
 *     empty ─► filling ─► ready ─► taken ─┬─ moved away ────────► empty
 *       ▲                                 ├─ not ───────────────► ready
 *       │                                 └─ in part ───────────► spoilt
 *       └────────── mapped anew, by the background thread ──────────┘
 *
 * A slot changes hands by one compare-and-swap, so a fault takes no lock here
 * and waits for nobody. Moving a huge page away leaves its slot as if never
 * touched. What goes another way leaves pages or a page table behind, from
 * which no huge page would come again, so that slot is mapped anew.
 *
 * For a read the kernel has one huge page of zeros that all share. It is mapped
 * by reading, and moved as the others are; a later write gets a huge page of
 * its own from the kernel. A few slots beside the rest are for that.
 *
 * The memory is not for forked children (MADV_DONTFORK): a page that a child
 * might share cannot be moved.
 *
 * The kernel may have no huge page to give. The pool is smaller then, and does
 * not ask again for a while (pool_starves_ns).
 */
#ifndef UF_FAULT_POOL_H
#define UF_FAULT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"

struct huge_pool;

/* The size of a huge page: what one table of pages maps. */
static inline size_t huge_bytes(void)
{
    return page_size() / sizeof(uint64_t) * page_size();
}

/* True if the kernel gives huge pages to who asks for them (MADV_HUGEPAGE), by
 * its settings and this process's (PR_SET_THP_DISABLE). */
bool pool_is_of_use(void);

/* A pool of at most limit_bytes; nothing is filled yet. 0 or -errno; -ENOMEM
 * also if the limit is less than a huge page. */
int pool_create(uint64_t limit_bytes, struct huge_pool **ret_pool);
void pool_destroy(struct huge_pool *pool); /* NULL is allowed */

/* Forked child: its memory is not there. */
void pool_forget(struct huge_pool *pool);

/* A ready huge page, or else one that is zeroed now; NULL if there is none. */
void *pool_take(struct huge_pool *pool);

/* The kernel's shared huge page of zeros, as far as it gives it; else NULL. */
void *pool_take_zeros(struct huge_pool *pool);

/* What became of what was taken. */
enum pool_fate {
    POOL_MOVED,     /* moved away as one huge page */
    POOL_UNTOUCHED, /* nothing of it */
    POOL_IN_PART
};

void pool_give_back(struct huge_pool *pool, void *page, enum pool_fate fate);

/* Makes one more ready. False if nothing is to be done, or can be. For the
 * background thread alone. */
bool pool_fill_one(struct huge_pool *pool);

/* True if huge pages were taken since this was asked last, and there are more:
 * who takes them wants the CPU and the kernel's memory lock. For the background
 * thread alone. */
bool pool_is_in_use(struct huge_pool *pool);

/* How many are ready. */
size_t pool_ready(const struct huge_pool *pool);

bool pool_is_full(const struct huge_pool *pool);

/* How long the kernel is not asked for more, since it had none; 0: it is. */
uint64_t pool_starves_ns(const struct huge_pool *pool);

/* True if [block), a huge page's worth anywhere in this process, is mapped by a
 * huge page, or if that cannot be found out. */
bool pool_is_huge(const struct huge_pool *pool, struct range block);

#endif
