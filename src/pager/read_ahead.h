/* SPDX-License-Identifier: MIT */
/*
 * read_ahead: the window that a stream will want next, read from the disk while
 * the one before is used.
 *
 *     touched        |---- window ----|                  begin: the next is read
 *     being read                      |---- window ----|
 *                                     ▲ park when it is complete; touched: take
 *
 * Who begins a read sees it to its end before it parks it (parts_settle): the
 * kernel ends a read in the thread that began it, so what is parked must not
 * need that thread any more, which may be asleep in a pager's fill for a lock
 * that the toucher holds.
 *
 * A stream is a window that begins where the last one ended, not long after it.
 * What was read and not wanted in time is dropped, and so is what was read before
 * a write to the store that has come back (store_stamp): a touch finds what it
 * would have read. A file's times tell only of writes that begin; so nothing is
 * read ahead until the last is some time ago, more than the tick of any file
 * system's times and than most writes take, nor kept where it met a writer's lock.
 *
 * A few streams are remembered; as in fault/streams.h, what is remembered wrongly
 * costs a read and nothing else.
 *
 * Only for files that are read past the page cache: for the others the kernel
 * does it. A stream that has stopped keeps one channel of its store until its
 * place or its pager is needed no more; of one store's, about half at most.
 */
#ifndef UF_PAGER_READ_AHEAD_H
#define UF_PAGER_READ_AHEAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define READ_AHEAD_STREAMS 2
#define READ_AHEAD_MS      100
#define READ_AHEAD_CALM_MS 2000

struct fill_parts;
struct uf_fill;
struct uf_store;

struct read_ahead_stream {
    _Atomic uint64_t next; /* the offset where it goes on; 0: there is none */
    _Atomic uint64_t used_ms;
    atomic_size_t len_bytes;           /* of its last window */
    struct fill_parts *_Atomic parked; /* of the window at next, or NULL */
};

/* Of a pager; all else zeros: nothing is known. */
struct read_ahead {
    uint32_t age_ms;  /* what is older is dropped: READ_AHEAD_MS but in tests */
    uint32_t calm_ms; /* READ_AHEAD_CALM_MS, too */
    struct read_ahead_stream streams[READ_AHEAD_STREAMS];
};

/*
 * The window of `want`, at `offset` of the store, if it was read ahead; else
 * NULL. The caller ends it. No lock, and no waiting; any thread.
 */
struct fill_parts *read_ahead_take(struct read_ahead *ahead,
                                   struct uf_store *store, uint64_t offset,
                                   const struct uf_fill *want);

/* The window [offset, offset + len) is being used: begins the reads of the next
 * one if it is a stream's; else NULL. The caller parks it, settled, or ends it. */
struct fill_parts *read_ahead_begin(struct read_ahead *ahead,
                                    struct uf_store *store, uint64_t offset,
                                    size_t len_bytes);
void read_ahead_park(struct read_ahead *ahead, struct fill_parts *next);

/* Drops what is parked. */
void read_ahead_destroy(struct read_ahead *ahead);

#endif
