/* SPDX-License-Identifier: MIT */
/*
 * Writing back: dirty pages of a cache into its store.
 *
 *     dirty bits ─► cleared ─► bytes read from the memfd ─► store_io ─► the store
 *         ▲                                                    │
 *         └─────────────────── failed ─────────────────────────┘
 *
 * A bit is cleared before its bytes are read. A write that comes meanwhile finds
 * its page protected again (mm/shared.h collected it before), is seen by the next
 * collection, and so written next time.
 *
 * The file does not grow: of its last page what lies inside is written, and what
 * lies beyond is dropped, so that a touch of it is SIGBUS as after a truncation.
 *
 * No lock is held: the store may be functions of the user's. They find the cache
 * taken by their own thread (cache_is_mine), and must not wait for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "base/thread_id.h"
#include "pager/cache_inside.h"
#include "pager/pager.h"
#include "store/channel.h"
#include "store/store.h"

#define PIECE_BYTES  ((size_t)128 << 10)
#define BATCH_PIECES 16

/* Pieces on their way, and the buffer that they are in. */
struct batch {
    struct pager_cache *cache;
    struct store_channel *channel; /* NULL: one after the other */
    uint64_t end;                  /* of the store, as an offset of the pager */
    char *buffer;
    size_t used; /* bytes of it */
    unsigned n;
    struct store_io pieces[BATCH_PIECES];
};

/* ---- Whose turn it is -------------------------------------------------- */

bool cache_is_mine(const struct pager_cache *cache)
{
    return atomic_load(&cache->writer) == (uint32_t)thread_id();
}

static void give_turn(struct pager_cache *cache)
{
    atomic_store(&cache->writer, 0);
    syscall(SYS_futex, &cache->writer, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
            0);
}

/* Between processes: forked children have the memfd, too, and each its own dirty
 * bits. False: another one's turn, and `wait` is not set. */
static bool lock_memfd(const struct pager_cache *cache, bool wait)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int err;

    do
        err =
            fcntl(cache->fd, wait ? F_SETLKW : F_SETLK, &lock) < 0 ? errno : 0;
    while (err == EINTR);
    return wait || (err != EAGAIN && err != EACCES);
}

static void unlock_memfd(const struct pager_cache *cache)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    fcntl(cache->fd, F_SETLK, &lock);
}

bool cache_begin(struct pager_cache *cache, bool wait)
{
    uint32_t me = (uint32_t)thread_id(), other = 0;

    CHECK(lock_none_held());
    while (!atomic_compare_exchange_strong(&cache->writer, &other, me)) {
        if (!wait || other == me)
            return false;
        syscall(SYS_futex, &cache->writer, FUTEX_WAIT_PRIVATE, other, NULL,
                NULL, 0);
        other = 0;
    }
    if (lock_memfd(cache, wait))
        return true;
    give_turn(cache);
    return false;
}

void cache_end(struct pager_cache *cache)
{
    unlock_memfd(cache);
    give_turn(cache);
}

/* ---- Failures ---------------------------------------------------------- */

/* As mapping_set_error: no space, or anything else. */
static void note_error(struct pager_cache *cache, int err)
{
    lock_take(&cache->lock);
    cache->err = err == -ENOSPC ? err : -EIO;
    lock_release(&cache->lock);
    atomic_fetch_add(&cache->write_errors, 1);
}

int cache_take_error(struct pager_cache *cache)
{
    int err;

    lock_take(&cache->lock);
    err = cache->err;
    cache->err = 0;
    lock_release(&cache->lock);
    return err;
}

/* ---- Batches ----------------------------------------------------------- */

/* The store's end as an offset of the pager. 0 or -errno. */
static int find_end(struct pager_cache *cache, uint64_t *ret)
{
    uint64_t size = 0;
    int err = cache->store->ops->size(cache->store, &size);

    *ret = size > cache->offset ? size - cache->offset : 0;
    return err;
}

/* Written, but what the store has of it is lost if its next flush fails. */
static void note_unsafe(struct pager_cache *cache, struct range part)
{
    lock_take(&cache->lock);
    part = range_clip(part, cache->unsafe.range);
    if (!range_is_empty(part))
        resident_set(&cache->unsafe, part);
    lock_release(&cache->lock);
}

/* What came of a piece. */
static void settle(struct batch *b, const struct store_io *io)
{
    struct pager_cache *cache = b->cache;
    size_t done = align_down(io->done_bytes, page_size());
    uintptr_t start = io->offset - cache->offset;
    struct range failed = {start + done,
                           align_up(start + io->len_bytes, page_size())};

    if (io->done_bytes == io->len_bytes) {
        failed.start = failed.end;
    } else {
        cache_note_dirty(cache, failed);
        note_error(cache, io->err);
    }
    note_unsafe(cache, (struct range){start, failed.start});
    atomic_fetch_add(&cache->pages_written,
                     (failed.start - start) / page_size());
}

/* The store may have shrunk since: what is past its end now is not written. What
 * shrinks it from here on is too late. */
static void look_again(struct batch *b)
{
    uint64_t end, offset = b->cache->offset;

    if (find_end(b->cache, &end) != 0 || end >= b->end)
        return;
    b->end = end;
    for (unsigned i = 0; i < b->n; i++) {
        struct store_io *io = &b->pieces[i];

        if (io->offset >= offset + end)
            io->len_bytes = 0;
        else if (io->len_bytes > offset + end - io->offset)
            io->len_bytes = offset + end - io->offset;
    }
}

static void send(struct batch *b)
{
    struct store_io *done[BATCH_PIECES];

    if (b->n == 0)
        return;
    look_again(b);
    if (b->channel) {
        store_submit(b->channel, b->pieces, b->n);
        for (unsigned reaped = 0; reaped < b->n;)
            reaped += store_reap(b->channel, done, BATCH_PIECES, b->n - reaped);
    }
    for (unsigned i = 0; i < b->n; i++) {
        if (!b->channel)
            store_run(b->cache->store, &b->pieces[i]);
        settle(b, &b->pieces[i]);
    }
    b->n = 0;
    b->used = 0;
}

/* One piece of pages that are there. */
static void add(struct batch *b, struct range part)
{
    struct pager_cache *cache = b->cache;
    char *buffer = b->buffer + b->used;
    size_t len = range_len(part);
    ssize_t got = pread(cache->fd, buffer, len, (off_t)part.start);

    if (got != (ssize_t)len) {
        cache_note_dirty(cache, part);
        note_error(cache, -EIO);
        return;
    }
    if (part.end > b->end)
        len = b->end - part.start;
    b->used += range_len(part);
    b->pieces[b->n++] = (struct store_io){.offset = cache->offset + part.start,
                                          .buffer = buffer,
                                          .len_bytes = len,
                                          .write = true};
    if (b->n == BATCH_PIECES)
        send(b);
}

/* The next dirty pages of *left, at most a piece, not dirty any more. */
static struct range take_dirty(struct pager_cache *cache, struct range *left)
{
    struct range run = {0, 0};

    lock_take(&cache->lock);
    *left = range_clip(*left, cache->dirty.range);
    if (!range_is_empty(*left)) {
        run = resident_run(&cache->dirty, *left);
        if (range_len(run) > PIECE_BYTES)
            run.end = run.start + PIECE_BYTES;
        if (!range_is_empty(run))
            resident_clear(&cache->dirty, run);
        left->start = run.end;
    }
    lock_release(&cache->lock);
    return run;
}

/* The pages at the start of *run that are there, taken from it; empty: none of it
 * is. */
static struct range take_there(const struct pager_cache *cache,
                               struct range *run)
{
    struct range there;

    there.start = there.end = cache_next(cache, *run);
    while (there.end < run->end &&
           cache_next(cache, (struct range){there.end, run->end}) == there.end)
        there.end += page_size();
    run->start = there.end;
    return there;
}

static void write_all(struct batch *b, struct range part)
{
    struct range run, there;

    while (!range_is_empty(run = take_dirty(b->cache, &part))) {
        if (run.end > b->end)
            run.end = align_up(b->end, page_size());
        while (!range_is_empty(there = take_there(b->cache, &run)))
            add(b, there);
    }
    send(b);
}

/* ---- The end of the store ---------------------------------------------- */

/* A page that holds the end has zeros behind it, as a truncated file's. */
static void zero_tail(struct pager_cache *cache, uint64_t end)
{
    static const char zeros[256];
    struct file_pager *file = pager_file_of(cache->pager);
    uint64_t last = align_down(end, page_size());
    struct range page = {last, last + page_size()};

    if (end < atomic_load(&file->tail))
        atomic_store(&file->tail, FILE_NO_TAIL);
    if (last == end || cache_next(cache, page) != last)
        return;
    for (uint64_t at = end; at < page.end;) {
        size_t left = page.end - at;
        ssize_t n =
            pwrite(cache->fd, zeros,
                   left < sizeof(zeros) ? left : sizeof(zeros), (off_t)at);

        if (n <= 0)
            return;
        at += (uint64_t)n;
    }
    atomic_store(&file->tail, end);
}

/* Where the store ended inside a page that was filled, and has grown since, its
 * bytes are to be had instead of zeros. */
static void take_appended(struct pager_cache *cache, uint64_t end)
{
    struct file_pager *file = pager_file_of(cache->pager);
    uint64_t tail = atomic_load(&file->tail),
             last = align_down(tail, page_size());
    struct range page = {last, last + page_size()};
    char bytes[256];

    if (tail == FILE_NO_TAIL || end <= tail)
        return;
    if (end > page.end)
        end = page.end;
    while (tail < end && cache_next(cache, page) == last) {
        struct store_io io = {.offset = cache->offset + tail,
                              .buffer = bytes,
                              .len_bytes = end - tail < sizeof(bytes)
                                               ? end - tail
                                               : sizeof(bytes)};

        store_run(cache->store, &io);
        if (io.done_bytes == 0 || pwrite(cache->fd, bytes, io.done_bytes,
                                         (off_t)tail) != (ssize_t)io.done_bytes)
            break;
        tail += io.done_bytes;
    }
    atomic_store(&file->tail, tail % page_size() == 0 ? FILE_NO_TAIL : tail);
}

/* What lies past the end of the store goes, in all mappings. */
static void drop_beyond(struct pager_cache *cache, uint64_t end)
{
    struct range beyond = {align_up(end, page_size()), 0};

    lock_take(&cache->lock);
    beyond.end = cache->dirty.range.end;
    if (beyond.start < beyond.end)
        resident_clear(&cache->dirty, beyond);
    if (end != cache->end_seen)
        atomic_fetch_add(&cache->cuts, 1);
    lock_release(&cache->lock);
    if (end < cache->end_seen &&
        end < atomic_load(&pager_file_of(cache->pager)->tail))
        zero_tail(cache, end);
    cache->end_seen = end;
    if (beyond.start < beyond.end && cache_next(cache, beyond) < beyond.end)
        fallocate(cache->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)beyond.start, (off_t)range_len(beyond));
}

/* ---- The calls --------------------------------------------------------- */

void cache_write(struct pager_cache *cache, struct range part)
{
    size_t len = BATCH_PIECES * PIECE_BYTES;
    struct batch batch = {.cache = cache};
    int err = find_end(cache, &batch.end);

    CHECK(cache_is_mine(cache) && lock_none_held());
    if (err) {
        note_error(cache, err);
        return;
    }
    drop_beyond(cache, batch.end);
    take_appended(cache, batch.end);
    if (!cache->store->writable || !cache_any_dirty(cache, part))
        return;
    batch.buffer = slab_pages(len);
    if (!batch.buffer) {
        note_error(cache, -ENOMEM);
        return;
    }
    batch.channel = store_channel_take(cache->store);
    write_all(&batch, part);
    if (batch.channel)
        store_channel_give_back(batch.channel);
    slab_pages_free(batch.buffer, len);
}

/* After a flush: what was written before is safe, or as if it never was. */
static void settle_unsafe(struct pager_cache *cache, bool safe)
{
    struct range run, left;

    lock_take(&cache->lock);
    left = cache->unsafe.range;
    while (!safe && !range_is_empty(run = resident_run(&cache->unsafe, left))) {
        resident_set(&cache->dirty, run);
        left.start = run.end;
    }
    if (!range_is_empty(cache->unsafe.range))
        resident_clear(&cache->unsafe, cache->unsafe.range);
    lock_release(&cache->lock);
}

void cache_flush(struct pager_cache *cache)
{
    int err = cache->store->ops->flush(cache->store);

    CHECK(cache_is_mine(cache)); /* so that nothing is written meanwhile */
    if (err)
        note_error(cache, err);
    settle_unsafe(cache, err == 0);
}

void cache_write_closed(struct uf_pager *pager, struct range part)
{
    struct pager_cache *cache = cache_of(pager);

    if (!cache_begin(cache, true))
        return; /* from a function of the store's: who runs that goes on */
    cache_write(cache, part);
    cache_end(cache);
}
