/* SPDX-License-Identifier: MIT */
/* See slab.h. */
#include "base/slab.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/sys.h"

#define CHUNK_BYTES ((size_t)64 << 10)

struct slab_chunk {
    struct slab_chunk *next;
};

struct slab_free {
    struct slab_free *next;
};

static struct lock all_caches_lock = LOCK_INIT(LOCK_RANK_SLAB);
static struct slab_cache *all_caches;

static _Atomic unsigned long allocations;
static _Atomic unsigned long fail_from, fail_until;

/* True if the failure that a test asked for is due now. */
static bool failure_is_due(void)
{
    unsigned long n =
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;

    return n >= atomic_load_explicit(&fail_from, memory_order_relaxed) &&
           n < atomic_load_explicit(&fail_until, memory_order_relaxed);
}

void slab_inject_failure(unsigned long n, unsigned long count)
{
    atomic_store(&fail_until, 0);
    atomic_store(&allocations, 0);
    atomic_store(&fail_from, n);
    atomic_store(&fail_until, n > 0 ? n + count : 0);
}

unsigned long slab_allocations(void)
{
    return atomic_load(&allocations);
}

static void *map_pages(size_t len_bytes)
{
    void *p = sys->mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void *slab_pages(size_t len_bytes)
{
    if (failure_is_due())
        return NULL;
    return map_pages(align_up(len_bytes, page_size()));
}

void slab_pages_free(void *pages, size_t len_bytes)
{
    if (pages)
        sys->munmap(pages, align_up(len_bytes, page_size()));
}

/* The distance between objects: whole cache lines for large objects. */
static size_t object_stride(size_t object_size)
{
    size_t unit = object_size >= 64 ? 64 : sizeof(void *);

    return align_up(object_size, unit);
}

/* Before its lock is first taken: fork handlers take the locks of what is
 * listed, and a fork may come at any time. */
static void list_cache(struct slab_cache *cache)
{
    if (__atomic_load_n(&cache->listed, __ATOMIC_ACQUIRE))
        return;
    lock_take(&all_caches_lock);
    if (!cache->listed) {
        cache->next = all_caches;
        all_caches = cache;
        __atomic_store_n(&cache->listed, 1, __ATOMIC_RELEASE);
    }
    lock_release(&all_caches_lock);
}

/* Makes cache->fresh hold at least one object. */
static bool grow_locked(struct slab_cache *cache)
{
    size_t first = align_up(sizeof(struct slab_chunk), 64);
    size_t len = align_up(first + cache->stride, page_size());
    struct slab_chunk *chunk;

    if (len < CHUNK_BYTES)
        len = CHUNK_BYTES;
    chunk = map_pages(len);
    if (!chunk)
        return false;
    chunk->next = cache->chunks;
    cache->chunks = chunk;
    cache->fresh = (char *)chunk + first;
    cache->fresh_end = (char *)chunk + len;
    return true;
}

void *slab_alloc(struct slab_cache *cache)
{
    struct slab_free *object = NULL;

    if (failure_is_due())
        return NULL;
    list_cache(cache);
    lock_take(&cache->lock);
    if (cache->stride == 0)
        cache->stride = object_stride(cache->object_size);
    if (cache->free) {
        object = cache->free;
        cache->free = object->next;
    } else if ((size_t)(cache->fresh_end - cache->fresh) >= cache->stride ||
               grow_locked(cache)) {
        object = (struct slab_free *)(void *)cache->fresh;
        cache->fresh += cache->stride;
    }
    if (object)
        cache->live++;
    lock_release(&cache->lock);
    if (object)
        memset(object, 0, cache->object_size);
    return object;
}

void slab_free(struct slab_cache *cache, void *object)
{
    struct slab_free *entry = object;

    if (!entry)
        return;
    lock_take(&cache->lock);
    entry->next = cache->free;
    cache->free = entry;
    cache->live--;
    lock_release(&cache->lock);
}

size_t slab_live(struct slab_cache *cache)
{
    size_t live;

    lock_take(&cache->lock);
    live = cache->live;
    lock_release(&cache->lock);
    return live;
}

size_t slab_live_everywhere(void)
{
    struct slab_cache *cache;
    size_t live = 0;

    lock_take(&all_caches_lock);
    cache = all_caches;
    lock_release(&all_caches_lock);
    /* Caches are listed for good, in front: what follows does not change. */
    for (; cache; cache = cache->next)
        live += slab_live(cache);
    return live;
}

/* Fork handlers hold several locks of one rank, so they go below the ranks. */
void slab_fork_prepare(void)
{
    lock_fork_take(&all_caches_lock);
    for (struct slab_cache *c = all_caches; c; c = c->next)
        lock_fork_take(&c->lock);
}

void slab_fork_parent(void)
{
    for (struct slab_cache *c = all_caches; c; c = c->next)
        lock_fork_release(&c->lock);
    lock_fork_release(&all_caches_lock);
}

void slab_fork_child(void)
{
    for (struct slab_cache *c = all_caches; c; c = c->next)
        lock_fork_child(&c->lock);
    lock_fork_child(&all_caches_lock);
}
