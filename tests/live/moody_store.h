/* SPDX-License-Identifier: MIT */
/*
 * moody_store: a store in memory that fails as it is told, and a space that maps
 * all of it shared. Each test program has its own of all of it.
 */
#ifndef TESTS_LIVE_MOODY_STORE_H
#define TESTS_LIVE_MOODY_STORE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/slab.h"
#include "lib/live.h"
#include "ufault/mman.h"

#define RW     (PROT_READ | PROT_WRITE)
#define NPAGES 64

/* A store in memory that does as it is told. */
struct moody {
    pthread_mutex_t lock; /* of the bytes */
    unsigned char *bytes;
    atomic_size_t len; /* bytes */
    atomic_int write_err, size_err, flush_err;
    atomic_size_t bad;  /* the page whose write fails */
    atomic_size_t most; /* bytes of one write; 0: all */
    atomic_uint writes;
    void (*also)(struct moody *m); /* in each write */
    /* With what has been read, [start, end) of the bytes. */
    void (*_Atomic has_read)(uint64_t start, uint64_t end);
    struct world *world;
};

struct world {
    struct moody m;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    uintptr_t at; /* all of it, mapped shared */
    size_t fds, records;
    int err; /* of what `also` did */
};

static inline ssize_t moody_read(void *context, void *buffer, size_t len,
                                 uint64_t offset)
{
    struct moody *m = context;
    void (*has_read)(uint64_t start, uint64_t end);
    size_t end = atomic_load(&m->len);

    if (offset >= end)
        return 0;
    len = len < end - offset ? len : end - offset;
    len = len < 3000 ? len : 3000;
    pthread_mutex_lock(&m->lock);
    memcpy(buffer, m->bytes + offset, len);
    pthread_mutex_unlock(&m->lock);
    has_read = atomic_load(&m->has_read);
    if (has_read)
        has_read(offset, offset + len);
    return (ssize_t)len;
}

static inline ssize_t moody_write(void *context, const void *buffer, size_t len,
                                  uint64_t offset)
{
    struct moody *m = context;
    uint64_t bad = atomic_load(&m->bad) * page_size();
    int err = atomic_load(&m->write_err);
    size_t most = atomic_load(&m->most);

    atomic_fetch_add(&m->writes, 1);
    if (m->also)
        m->also(m);
    if (err && offset + len > bad && offset < bad + page_size()) {
        if (offset >= bad)
            return err;
        len = bad - offset; /* short, and then the failure */
    }
    if (most && len > most)
        len = most;
    if (offset + len > atomic_load(&m->len))
        return -EFBIG; /* never: it does not grow */
    pthread_mutex_lock(&m->lock);
    memcpy(m->bytes + offset, buffer, len);
    pthread_mutex_unlock(&m->lock);
    return (ssize_t)len;
}

static inline int moody_size(void *context, uint64_t *ret_bytes)
{
    struct moody *m = context;

    *ret_bytes = atomic_load(&m->len);
    return atomic_load(&m->size_err);
}

static inline int moody_flush(void *context)
{
    struct moody *m = context;

    return atomic_load(&m->flush_err);
}

static inline void begin_with(struct world *w, bool writable)
{
    struct uf_store_ops ops = {.size = sizeof(ops),
                               .read = moody_read,
                               .write = writable ? moody_write : NULL,
                               .get_size = moody_size,
                               .flush = moody_flush};
    size_t len = NPAGES * page_size();

    memset(w, 0, sizeof(*w));
    w->fds = live_count_fds();
    w->records = slab_live_everywhere();
    w->m.bytes = malloc(len);
    w->m.world = w;
    pthread_mutex_init(&w->m.lock, NULL);
    for (size_t i = 0; i < len; i++)
        w->m.bytes[i] = live_pattern(i);
    w->m.len = len;
    assert_int_equal(uf_store_create(&ops, &w->m, &w->store), 0);
    assert_int_equal(uf_pager_store(w->store, 0, &w->pager), 0);
    assert_int_equal(uf_pager_set_writeback(w->pager, 0), 0);
    w->space = live_space(&(struct uf_space_opts){0}, 0);
    w->at = (uintptr_t)uf_mmap_pager(
        w->space, 0, len, writable ? RW : PROT_READ, MAP_SHARED, w->pager, 0);
    assert_true((intptr_t)w->at > 0);
}

static inline void begin(struct world *w)
{
    begin_with(w, true);
}

static inline void end(struct world *w)
{
    live_assert_law(w->space);
    assert_int_equal(uf_space_destroy(w->space), 0);
    uf_pager_unref(w->pager);
    uf_store_unref(w->store);
    free(w->m.bytes);
    assert_int_equal(live_count_fds(), w->fds);
    assert_int_equal(slab_live_everywhere(), w->records);
}

static inline volatile unsigned char *page_of(struct world *w, size_t n)
{
    return (volatile unsigned char *)(w->at + n * page_size());
}

static inline unsigned char stored(struct world *w, size_t n)
{
    unsigned char byte;

    pthread_mutex_lock(&w->m.lock);
    byte = w->m.bytes[n * page_size()];
    pthread_mutex_unlock(&w->m.lock);
    return byte;
}

static inline int sync_page(struct world *w, size_t n)
{
    return uf_msync(w->space, w->at + n * page_size(), page_size(), MS_SYNC);
}

static inline struct uf_writeback counts(struct world *w)
{
    struct uf_writeback counts = {.size = sizeof(counts)};

    assert_int_equal(uf_pager_writeback(w->pager, &counts), 0);
    return counts;
}

#endif
