/* SPDX-License-Identifier: MIT */
/*
 * slab: where ufault keeps its own records.
 *
 *     cache ──> chunk (one mmap, 64 KiB) ─┬─ object ─ object ─ object ...
 *           └─> chunk                     └─ free objects form one list
 *
 * The program's malloc may itself live on uf_sbrk, so nothing under a lock or
 * on the fault path may call malloc (invariant 4), and our records may not lie
 * in managed memory (invariant 3). A cache hands out objects of one size from
 * mappings of its own. Memory is type-stable: a chunk is never unmapped, so a
 * stale handle reads a dead record, not a SIGSEGV.
 *
 * Rules: slab_alloc returns zeroed memory or NULL; any thread may call; the
 * lock is the lowest in the order. Objects are aligned to 64 bytes if they are
 * that large, so that two threads' records do not share a cache line.
 */
#ifndef UF_BASE_SLAB_H
#define UF_BASE_SLAB_H

#include <stddef.h>

#include "base/lock.h"

struct slab_chunk;
struct slab_free;

struct slab_cache {
    const char *name;
    size_t object_size; /* bytes asked for */
    struct lock lock;   /* guards what follows */
    size_t stride;      /* bytes between objects; 0 until first use */
    struct slab_chunk *chunks;
    struct slab_free *free;
    char *fresh; /* never-used part of the newest chunk */
    char *fresh_end;
    size_t live;             /* objects handed out and not freed */
    struct slab_cache *next; /* all caches, for fork */
    int listed;
};

#define SLAB_CACHE(type_name, size)                                            \
    {                                                                          \
        .name = (type_name), .object_size = (size),                            \
        .lock = LOCK_INIT(LOCK_RANK_SLAB)                                      \
    }

/* A zeroed object, or NULL when the kernel gives no more memory. */
void *slab_alloc(struct slab_cache *cache);

/* Takes an object back; NULL is allowed. */
void slab_free(struct slab_cache *cache, void *object);

/* Objects in use now. */
size_t slab_live(struct slab_cache *cache);

/* Whole pages of zeroed memory of our own, never in a space; NULL if none.
 * For what is too large or too rare for a cache: buffers, bitmaps, stacks. */
void *slab_pages(size_t len_bytes);
void slab_pages_free(void *pages, size_t len_bytes);

/*
 * Testing: the n-th allocation from now (1 = the next), by slab_alloc or
 * slab_pages in any thread, and `count` from there, return NULL. n = 0 ends it.
 */
void slab_inject_failure(unsigned long n, unsigned long count);
/* How many allocations were asked for since the last slab_inject_failure. */
unsigned long slab_allocations(void);
/* Testing: slab_live of all caches together. */
size_t slab_live_everywhere(void);

/* Around fork: take and release every cache's lock. */
void slab_fork_prepare(void);
void slab_fork_parent(void);
void slab_fork_child(void);

#endif
