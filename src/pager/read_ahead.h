/* SPDX-License-Identifier: MIT */
/*
 * read_ahead: the window that a stream will want next, read from the disk while
 * the one before is used.
 *
 *     touched        |---- window ----|                  go_on: the next is begun
 *     being read                      |---- window ----|
 *                                     ▲ touched: take, and go_on again
 *
 * A stream is a window that begins where the last one ended, not long after it.
 * What was read and not wanted in time is dropped, so that what a touch finds is
 * at most READ_AHEAD_MS older than what it would have read; and who is as slow as
 * that needs no help. A few streams are remembered; as in fault/streams.h, what
 * is remembered wrongly costs a read and nothing else.
 *
 * Only for files that are read past the page cache: for the others the kernel
 * does it. A stream that has stopped keeps one channel of its store until its
 * place or its pager is needed no more; of one store's, not more than half.
 *
 * The kernel ends a read in the thread that began it. If that is gone, the read
 * is done anew; it may not hang in the kernel for ever.
 */
#ifndef UF_PAGER_READ_AHEAD_H
#define UF_PAGER_READ_AHEAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define READ_AHEAD_STREAMS 2
#define READ_AHEAD_MS      100

struct fill_parts;
struct uf_fill;
struct uf_store;

struct read_ahead_stream {
    _Atomic uint64_t next; /* the offset where it goes on; 0: there is none */
    _Atomic uint64_t used_ms;
    atomic_size_t len_bytes;            /* of its last window */
    struct fill_parts *_Atomic waiting; /* reads that begin at next, or NULL */
};

/* Of a pager; all else zeros: nothing is known. */
struct read_ahead {
    uint32_t age_ms; /* what is older is dropped: READ_AHEAD_MS but in tests */
    struct read_ahead_stream streams[READ_AHEAD_STREAMS];
};

/*
 * The reads of the window at `offset` of the store, if they were begun ahead;
 * else NULL. The caller ends them. No lock; any thread that may sleep.
 */
struct fill_parts *read_ahead_take(struct read_ahead *ahead, uint64_t offset,
                                   const struct uf_fill *want);

/* The window [offset, offset + len) is being used: begins the next one's reads
 * if it is a stream's. As above. */
void read_ahead_go_on(struct read_ahead *ahead, struct uf_store *store,
                      uint64_t offset, size_t len_bytes);

/* Drops what is waiting. */
void read_ahead_destroy(struct read_ahead *ahead);

#endif
