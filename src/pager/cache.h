/* SPDX-License-Identifier: MIT */
/*
 * cache: the pages of a store that is mapped shared; its page cache.
 *
 *     mapping A ──┐                                fill: the store's bytes, once
 *     mapping B ──┼─► memfd of the pager  ◄─────── a page that is not there
 *     a child's ──┘   # # . # . . # #              is a fault of ours
 *                       │
 *                       └ dirty: one bit a page ── writeback.c ──► the store
 *
 * The kernel shares the bytes: all mappings map one memfd, made for the first of
 * them. What is in it is mapped without us, what is not is a fault, which the
 * pager fills. Which pages were written is known to the page tables of each
 * mapping, and collected from there (mm/shared.h); what was collected, and not
 * written back yet, has its bit here.
 *
 * Offsets are the pager's, in bytes; ranges of them are struct range.
 */
#ifndef UF_PAGER_CACHE_H
#define UF_PAGER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct pager_cache;
struct uf_pager;

/* Dirty pages are written back after so long, if nobody asks for it before. */
#define CACHE_AGE_MS 5000u

/* 0, -EINVAL: a pager that cannot be mapped shared, -EACCES: only to read
 * (prot has PROT_WRITE). */
int cache_may_map(const struct uf_pager *pager, int prot);

/* Makes the cache, unless it is there, and makes it end at `end` or later. 0,
 * -ENOMEM, or the -errno of memfd_create(2). Requires: cache_may_map. */
int cache_ready(struct uf_pager *pager, uint64_t end);

/* NULL if there is none. */
struct pager_cache *cache_of(const struct uf_pager *pager);

/* With the last reference to its pager: writes back what is dirty. NULL is
 * allowed. Requires: nothing maps it; no lock held. */
void cache_destroy(struct pager_cache *cache);

/* The memfd; the cache's own. */
int cache_fd(const struct pager_cache *cache);

/* The store can be written. */
bool cache_is_writable(const struct pager_cache *cache);

/* The first page of `within` that is there; its end, if there is none. Where the
 * next is not is not asked of the kernel: it would look at all that are there. */
uint64_t cache_next(const struct pager_cache *cache, struct range within);

/*
 * A fill of before the store was cut off is not to go in after what lies past its
 * end has gone. cache_cuts, then the fill, then cache_begin_install: false if the
 * end has moved since; else it is not dealt with before cache_end_install. Any
 * lock up to the map lock may be held; nothing between the two waits for a fault.
 */
uint64_t cache_cuts(const struct pager_cache *cache);
bool cache_begin_install(struct pager_cache *cache, uint64_t cuts);
void cache_end_install(struct pager_cache *cache);

/* Pages of `part` were written. Any lock up to the map lock may be held. */
void cache_note_dirty(struct pager_cache *cache, struct range part);

bool cache_any_dirty(struct pager_cache *cache, struct range part);

/* The same, or some pages may be on their way into the store. */
bool cache_is_busy(struct pager_cache *cache, struct range part);

/* ------------------------------------------------------- writeback.c -- */

/*
 * One thread at a time writes back. False: another does, and `wait` is not set;
 * or the caller itself does already. Requires: no lock held.
 */
bool cache_begin(struct pager_cache *cache, bool wait);
void cache_end(struct pager_cache *cache);

/* The calling thread is between the two: it runs a function of the store. */
bool cache_is_mine(const struct pager_cache *cache);

/*
 * Writes the dirty pages of `part` into the store, as far as that goes now. What
 * fails stays dirty and is noted. Pages past the end of the store go.
 * Requires: begun; no lock held.
 */
void cache_write(struct pager_cache *cache, struct range part);

/* What was written is safe after; a failure is noted. Requires: as cache_write. */
void cache_flush(struct pager_cache *cache);

/* -EIO or -ENOSPC, of what failed last and nobody was told; 0: nothing did. */
int cache_take_error(struct pager_cache *cache);

/* The three of them, for pages that a mapping had that is gone. */
void cache_write_closed(struct uf_pager *pager, struct range part);

/* ----------------------------------------------------- in background -- */

/* A cache whose dirty pages are due, and has a reference to its pager; its next
 * time is set. NULL: none is due at now_ns. */
struct pager_cache *cache_take_due(uint64_t now_ns);
struct uf_pager *cache_pager(const struct pager_cache *cache);

/* When the next one will be; 0: never. */
uint64_t cache_next_due(void);

/* How long pages of the pager stay dirty; 0: until somebody asks. Requires:
 * cache_may_map; before or after there is a cache. */
void cache_set_age(struct uf_pager *pager, uint32_t age_ms);

struct cache_stats {
    uint64_t pages_dirty; /* collected */
    uint64_t pages_written;
    uint64_t write_errors;
};
void cache_get_stats(struct pager_cache *cache, struct cache_stats *ret);

/* Around fork. In the child nothing is dirty: the parent writes that. */
void caches_fork_prepare(void);
void caches_fork_parent(void);
void caches_fork_child(void);

#endif
