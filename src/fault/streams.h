/* SPDX-License-Identifier: MIT */
/*
 * streams: what a thread touched last, and so how much its next touch wants.
 *
 *     a touch that continues nothing         one page: it may be random
 *     the page after (or before) it          a stream: 2 pages, 4, ... 2 MiB
 *     the same distance once more            strided: as many pages, apart
 *
 * A stream goes on where its last window really ended, so who clips a wish says
 * so. A touch inside that window, of a page that was dropped since, is news: the
 * same pages may be walked the other way now.
 *
 * A thread has a few streams at once (two arrays copied into a third are
 * three). They are guesses in a small table: a hash of the thread's number
 * finds its slot, a newcomer takes it over, and all of it is relaxed atomics,
 * since a wrong guess costs a fault or a few pages and nothing else. The
 * alternative, a window of fixed size, is either slow on streams or wasteful on
 * sparse access.
 *
 * Reads of zeros may be generous from the start: a page of zeros that is mapped
 * takes no memory.
 */
#ifndef UF_FAULT_STREAMS_H
#define UF_FAULT_STREAMS_H

#include <stdint.h>
#include <sys/types.h>

#define STREAM_SLOTS      64
#define STREAMS_PER_SLOT  6
#define STREAM_COUNT_MAX  32 /* pages of one strided window */
#define STREAM_STRIDE_MAX 64 /* in pages, either way */

struct stream_slot {
    _Atomic uint32_t tid;
    _Atomic uint32_t hand; /* the stream to be replaced next */
    _Atomic uint64_t streams[STREAMS_PER_SLOT];
};

/* STREAM_SLOTS of them, made at the first touch; NULL until then. */
typedef struct stream_slot *_Atomic streams_t;

/* A touch, in page numbers from the space's base. */
struct stream_touch {
    pid_t tid;
    uint64_t page;
    uint32_t pages_max; /* of a window */
    uint32_t pages_new; /* of a touch that continues nothing: a power of two */
};

/* What to bring in: [first, end) around the touched page, or, if count is more
 * than 1, `count` pages from it on that lie `stride` apart. */
struct stream_wish {
    uint64_t first;
    uint64_t end;
    int64_t stride;
    uint32_t count;
    /* For streams_cut. */
    _Atomic uint64_t *stream;
    uint64_t word;
};

/* The wish of a touch; remembers it. Any thread, with no lock or any. */
struct stream_wish streams_note(streams_t *streams,
                                const struct stream_touch *touch);

/* The window was clipped to [first, end), which holds the touched page: the
 * stream goes on from there. Requires: the table of the wish still exists. */
void streams_cut(const struct stream_wish *wish, uint64_t first, uint64_t end);

void streams_destroy(streams_t *streams);

#endif
