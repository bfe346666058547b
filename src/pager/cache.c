/* SPDX-License-Identifier: MIT */
/* See cache.h. */
#include "pager/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slab.h"
#include "pager/cache_inside.h"
#include "pager/pager.h"
#include "store/store.h"

static struct slab_cache caches =
    SLAB_CACHE("pager cache", sizeof(struct pager_cache));

/* All caches, and which pager has which. */
static struct lock all_lock = LOCK_INIT(LOCK_RANK_PAGER);
static struct pager_cache *all;

int cache_may_map(const struct uf_pager *pager, int prot)
{
    const struct file_pager *file = pager_file_of(pager);

    if (!file)
        return -EINVAL;
    return (prot & PROT_WRITE) && !file->store->writable ? -EACCES : 0;
}

struct pager_cache *cache_of(const struct uf_pager *pager)
{
    const struct file_pager *file = pager_file_of(pager);

    return file ? atomic_load(&file->cache) : NULL;
}

int cache_fd(const struct pager_cache *cache)
{
    return cache->fd;
}

bool cache_is_writable(const struct pager_cache *cache)
{
    return cache->store->writable;
}

struct uf_pager *cache_pager(const struct pager_cache *cache)
{
    return cache->pager;
}

/* ---- Its life ---------------------------------------------------------- */

/* The file system would raise SIGXFSZ. */
static bool is_too_long(uint64_t end)
{
    struct rlimit limit;

    return end > INT64_MAX ||
           (getrlimit(RLIMIT_FSIZE, &limit) == 0 && end > limit.rlim_cur);
}

/* A child may have made it longer; it is sealed, and does not become shorter. */
static int lengthen_memfd(int fd, uint64_t end)
{
    return ftruncate(fd, (off_t)end) == 0 || errno == EPERM ? 0 : -ENOMEM;
}

/* The same bits, to `end`. 0 or -ENOMEM, nothing has changed. */
static int lengthen_bits(struct resident *bits, uint64_t end)
{
    struct resident longer, old = *bits;
    struct range run, left = old.range;
    int err = resident_init(&longer, (struct range){0, end});

    if (err)
        return err;
    while (old.words && !range_is_empty(run = resident_run(&old, left))) {
        resident_set(&longer, run);
        left.start = run.end;
    }
    *bits = longer;
    if (old.words)
        resident_destroy(&old);
    return 0;
}

/* Makes the memfd and the bits end at `end`; on failure the memfd may be longer,
 * and some bits. */
static int lengthen_locked(struct pager_cache *cache, uint64_t end)
{
    if (end <= cache->dirty.range.end && cache->dirty.words)
        return 0;
    if (is_too_long(end) || lengthen_memfd(cache->fd, end) != 0 ||
        lengthen_bits(&cache->unsafe, end) != 0 ||
        lengthen_bits(&cache->dirty, end) != 0)
        return -ENOMEM;
    return 0;
}

static void drop(struct pager_cache *cache)
{
    if (cache->dirty.words)
        resident_destroy(&cache->dirty);
    if (cache->unsafe.words)
        resident_destroy(&cache->unsafe);
    if (cache->fd >= 0)
        close(cache->fd);
    lock_destroy(&cache->lock);
    slab_free(&caches, cache);
}

/* A cache without a length. 0 or -errno. */
static int make(struct uf_pager *pager, const struct file_pager *file,
                struct pager_cache **ret)
{
    struct pager_cache *cache = slab_alloc(&caches);
    int err;

    if (!cache)
        return -ENOMEM;
    lock_init(&cache->lock, LOCK_RANK_STORE);
    cache->pager = pager;
    cache->store = file->store;
    cache->offset = file->offset;
    cache->end_seen = UINT64_MAX;
    cache->fd = memfd_create("ufault", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (cache->fd < 0 || fcntl(cache->fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
        err = -errno;
        drop(cache);
        return err;
    }
    *ret = cache;
    return 0;
}

static int make_and_list_locked(struct uf_pager *pager, struct file_pager *file,
                                uint64_t end)
{
    struct pager_cache *cache = NULL;
    int err = make(pager, file, &cache);

    if (err)
        return err;
    err = lengthen_locked(cache, end);
    if (err) {
        drop(cache);
        return err;
    }
    cache->due_ns = clock_ns() + file->age_ms * 1000000ull;
    cache->next = all;
    all = cache;
    atomic_store(&file->cache, cache);
    return 0;
}

int cache_ready(struct uf_pager *pager, uint64_t end)
{
    struct file_pager *file = pager_file_of(pager);
    struct pager_cache *cache;
    int err = 0;

    end = align_up(end, page_size());
    lock_take(&all_lock);
    cache = atomic_load(&file->cache);
    if (!cache)
        err = make_and_list_locked(pager, file, end);
    lock_release(&all_lock);
    if (!cache)
        return err;
    lock_take(&cache->lock);
    err = lengthen_locked(cache, end);
    lock_release(&cache->lock);
    return err;
}

/* What can be written back no more. */
static void count_lost(struct pager_cache *cache)
{
    uint64_t pages = atomic_load(&cache->dirty.pages);

    atomic_fetch_add(&cache->store->lost_bytes, pages * page_size());
}

void cache_destroy(struct pager_cache *cache)
{
    struct pager_cache **link = &all;

    if (!cache)
        return;
    lock_take(&all_lock);
    while (*link != cache)
        link = &(*link)->next;
    *link = cache->next;
    lock_release(&all_lock);
    if (atomic_load(&cache->dirty.pages) > 0 && cache_begin(cache, true)) {
        cache_write(cache, cache->dirty.range);
        cache_end(cache);
    }
    count_lost(cache);
    drop(cache);
}

/* ---- What is there, and what is dirty ---------------------------------- */

uint64_t cache_next(const struct pager_cache *cache, struct range within)
{
    off_t at = lseek(cache->fd, (off_t)within.start, SEEK_DATA);

    return at >= 0 && (uint64_t)at < within.end
               ? align_down((uintptr_t)at, page_size())
               : within.end;
}

uint64_t cache_cuts(const struct pager_cache *cache)
{
    return atomic_load(&cache->cuts);
}

bool cache_begin_install(struct pager_cache *cache, uint64_t cuts)
{
    lock_take(&cache->lock);
    if (atomic_load(&cache->cuts) == cuts)
        return true;
    lock_release(&cache->lock);
    return false;
}

void cache_end_install(struct pager_cache *cache)
{
    lock_release(&cache->lock);
}

void cache_note_dirty(struct pager_cache *cache, struct range part)
{
    lock_take(&cache->lock);
    resident_set(&cache->dirty, part);
    lock_release(&cache->lock);
}

bool cache_any_dirty(struct pager_cache *cache, struct range part)
{
    bool any;

    lock_take(&cache->lock);
    part = range_clip(part, cache->dirty.range);
    any = !range_is_empty(part) && resident_any(&cache->dirty, part);
    lock_release(&cache->lock);
    return any;
}

bool cache_is_busy(struct pager_cache *cache, struct range part)
{
    return atomic_load(&cache->writer) != 0 || cache_any_dirty(cache, part);
}

void cache_get_stats(struct pager_cache *cache, struct cache_stats *ret)
{
    lock_take(&cache->lock);
    ret->pages_dirty = atomic_load(&cache->dirty.pages);
    lock_release(&cache->lock);
    ret->pages_written = atomic_load(&cache->pages_written);
    ret->write_errors = atomic_load(&cache->write_errors);
}

/* ---- When it is written back ------------------------------------------- */

static uint64_t age_ns(const struct pager_cache *cache)
{
    return atomic_load(&pager_file_of(cache->pager)->age_ms) * 1000000ull;
}

struct pager_cache *cache_take_due(uint64_t now)
{
    struct pager_cache *cache;

    lock_take(&all_lock);
    for (cache = all; cache; cache = cache->next) {
        if (!cache->store->writable || age_ns(cache) == 0 ||
            cache->due_ns > now || !pager_ref_unless_gone(cache->pager))
            continue;
        cache->due_ns = now + age_ns(cache);
        break;
    }
    lock_release(&all_lock);
    return cache;
}

uint64_t cache_next_due(void)
{
    uint64_t due = 0;

    lock_take(&all_lock);
    for (const struct pager_cache *cache = all; cache; cache = cache->next)
        if (cache->store->writable && age_ns(cache) > 0 &&
            (due == 0 || cache->due_ns < due))
            due = cache->due_ns;
    lock_release(&all_lock);
    return due;
}

void cache_set_age(struct uf_pager *pager, uint32_t age_ms)
{
    struct file_pager *file = pager_file_of(pager);
    struct pager_cache *cache;

    lock_take(&all_lock);
    atomic_store(&file->age_ms, age_ms);
    cache = atomic_load(&file->cache);
    if (cache)
        cache->due_ns = clock_ns() + age_ms * 1000000ull;
    lock_release(&all_lock);
}

/* ---- Fork -------------------------------------------------------------- */

void caches_fork_prepare(void)
{
    lock_fork_take(&all_lock);
    for (struct pager_cache *cache = all; cache; cache = cache->next)
        lock_fork_take(&cache->lock);
}

void caches_fork_parent(void)
{
    for (struct pager_cache *cache = all; cache; cache = cache->next)
        lock_fork_release(&cache->lock);
    lock_fork_release(&all_lock);
}

void caches_fork_child(void)
{
    lock_fork_child(&all_lock);
    for (struct pager_cache *cache = all; cache; cache = cache->next) {
        lock_fork_child(&cache->lock);
        atomic_store(&cache->writer, 0);
        resident_clear(&cache->dirty, cache->dirty.range);
        resident_clear(&cache->unsafe, cache->unsafe.range);
        cache->err = 0;
    }
}
