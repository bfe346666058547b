/* SPDX-License-Identifier: MIT */
/* See streams.h. */
#include "fault/streams.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/slab.h"

/*
 * A stream is one word, so that it is read and replaced whole:
 *
 *     63    62..60  59..48   47..44  43..40  39..0
 *     used  -       span     kind    log     first
 *
 *     NEW       its window is [first, first + span); may go on at either side
 *     UP, DOWN  the same, and goes on above it, or below it
 *     STRIDED   expects the page `first`, `span` pages from the last one
 *
 * A window is what was brought in, not what was wished. So a page of it that is
 * absent has been dropped since, and a touch there begins a NEW stream, which may
 * turn out to go the other way. It has the size of the old one, though, from its
 * second touch on: memory that was walked once is walked again.
 */
enum kind { NEW, UP, DOWN, STRIDED };

struct stream {
    uint64_t first;
    unsigned log; /* of the pages of the last wish; the next is twice that */
    enum kind kind;
    int span;
};

#define USED      ((uint64_t)1 << 63)
#define PAGE_MASK (((uint64_t)1 << 40) - 1)
#define LOG_MAX   9
#define BIAS      2048 /* makes a span positive */

static uint64_t pack(const struct stream *s)
{
    return USED | (uint64_t)(s->span + BIAS) << 48 | (uint64_t)s->kind << 44 |
           (uint64_t)s->log << 40 | (s->first & PAGE_MASK);
}

static bool unpack(uint64_t word, struct stream *ret)
{
    *ret = (struct stream){
        .first = word & PAGE_MASK,
        .log = (unsigned)(word >> 40) & 15,
        .kind = (enum kind)((word >> 44) & 15),
        .span = (int)((word >> 48) & 4095) - BIAS,
    };
    return (word & USED) != 0;
}

static uint64_t end_of(const struct stream *s)
{
    return s->first + (uint64_t)s->span;
}

static bool is_lone(const struct stream *s)
{
    return s->kind == NEW && s->span == 1;
}

#define FAR   UINT64_MAX
#define AGAIN (FAR - 1)

/*
 * How far a touch is from the page that the stream expects; FAR: it does not
 * continue it. What lies between may have been there already, so it may be half
 * a window off; a lone page expects its neighbours exactly. AGAIN: the last touch
 * once more, since its fault came to nothing or its page was dropped.
 */
static uint64_t distance(const struct stream *s, uint64_t page)
{
    uint64_t end = end_of(s), away;
    uint64_t slack =
        (s->kind == NEW ? (uint64_t)s->span : (uint64_t)1 << s->log) / 2;

    if (s->kind == STRIDED)
        return page == s->first ? 0 : FAR;
    if (page >= end)
        away = s->kind == DOWN ? FAR : page - end;
    else if (page < s->first)
        away = s->kind == UP ? FAR : s->first - 1 - page;
    else
        return s->kind == NEW || page == (s->kind == UP ? s->first : end - 1)
                   ? AGAIN
                   : FAR;
    return away <= slack ? away : FAR;
}

/* A touch of what the stream's last windows brought in. */
static bool has_been_at(const struct stream *s, uint64_t page)
{
    uint64_t reach = (uint64_t)1 << s->log, end = end_of(s);

    switch (s->kind) {
    case NEW:
        return page >= s->first && page < end;
    case UP:
        return page < end && page + reach >= end;
    case DOWN:
        return page >= s->first && page < s->first + reach;
    case STRIDED:
        break;
    }
    return false;
}

/* How far a touch is from a lone one, if it may be the second of many at equal
 * distances; the third will tell. */
static uint64_t stride_of(const struct stream *s, uint64_t page)
{
    uint64_t apart = page > s->first ? page - s->first : s->first - page;

    return is_lone(s) && apart <= STREAM_STRIDE_MAX ? apart : FAR;
}

static void begin_stride(struct stream *s, uint64_t page)
{
    s->kind = STRIDED;
    s->log = 0;
    s->span = (int)((int64_t)page - (int64_t)s->first);
    s->first = page + (uint64_t)(int64_t)s->span;
}

static unsigned log_of(uint32_t pages)
{
    unsigned log = 0;

    while (log < LOG_MAX && (2u << log) <= pages)
        log++;
    return log;
}

static struct stream_wish go_on_strided(struct stream *s)
{
    uint32_t count = (uint32_t)1 << s->log;
    struct stream_wish wish = {
        .first = s->first,
        .end = s->first + 1,
        .stride = s->span,
        .count = count < STREAM_COUNT_MAX ? count : STREAM_COUNT_MAX,
    };

    s->first += (uint64_t)((int64_t)s->span * wish.count);
    return wish;
}

static struct stream_wish block_of(uint64_t page, unsigned log)
{
    uint64_t mask = ((uint64_t)1 << log) - 1;

    return (struct stream_wish){
        .first = page & ~mask, .end = (page | mask) + 1, .count = 1};
}

/* The window of a stream that goes on: to the end of a block twice as long as
 * the last, so that large windows are whole huge pages. It begins where the last
 * one ended: pages that the touch has skipped may be touched yet. */
static struct stream_wish go_on(struct stream *s, uint64_t page,
                                unsigned log_max)
{
    uint64_t first = s->first, end = end_of(s), size;
    struct stream_wish wish;

    if (s->log < log_max)
        s->log++;
    if (s->kind == STRIDED)
        return go_on_strided(s);
    if (s->kind == NEW)
        s->kind = page >= end ? UP : DOWN;
    size = (uint64_t)1 << s->log;
    wish = block_of(page, s->log);
    if (s->kind == UP) {
        wish.first = end;
        if (wish.end - end > size)
            wish.end = end + size;
    } else {
        wish.end = first;
        if (first - wish.first > size)
            wish.first = first - size;
    }
    s->first = wish.first;
    s->span = (int)(wish.end - wish.first);
    return wish;
}

/* The window of the last touch. */
static struct stream_wish once_more(const struct stream *s)
{
    return (struct stream_wish){
        .first = s->first, .end = end_of(s), .count = 1};
}

/* A touch that continues nothing: its block of pages_new pages. `log` is that of
 * a stream that has been there, or 0. */
static struct stream_wish begin(struct stream *ret,
                                const struct stream_touch *touch, unsigned log)
{
    unsigned log_new = log_of(touch->pages_new);
    struct stream_wish wish = block_of(touch->page, log_new);

    *ret = (struct stream){
        .first = wish.first,
        .span = (int)(wish.end - wish.first),
        .kind = NEW,
        .log = log > log_new ? log : log_new,
    };
    return wish;
}

static struct stream_slot *slot_of(streams_t *streams, pid_t tid)
{
    struct stream_slot *slots = atomic_load(streams), *slot;
    size_t bytes = STREAM_SLOTS * sizeof(*slots);

    if (!slots) {
        struct stream_slot *fresh = slab_pages(bytes);

        if (!fresh)
            return NULL;
        if (atomic_compare_exchange_strong(streams, &slots, fresh))
            slots = fresh;
        else
            slab_pages_free(fresh, bytes);
    }
    slot = &slots[((uint32_t)tid * 2654435761u) >> 26];
    if (atomic_load_explicit(&slot->tid, memory_order_relaxed) !=
        (uint32_t)tid) {
        for (size_t i = 0; i < STREAMS_PER_SLOT; i++)
            atomic_store_explicit(&slot->streams[i], 0, memory_order_relaxed);
        atomic_store_explicit(&slot->tid, (uint32_t)tid, memory_order_relaxed);
    }
    return slot;
}

/* Which of a slot's streams a touch has to do with. */
struct nearest {
    size_t continued;     /* its index, or NONE */
    size_t strided;       /* of a lone one that may be strided, or NONE */
    struct stream stream; /* the continued one */
    struct stream lone;   /* the strided one */
    bool again;           /* continued as AGAIN */
    unsigned log;         /* of one that has been there before, or 0 */
};

#define NONE STREAMS_PER_SLOT

static struct nearest find_nearest(const struct stream_slot *slot,
                                   uint64_t page)
{
    struct nearest ret = {.continued = NONE, .strided = NONE};
    uint64_t least = FAR, least_apart = FAR, away;
    struct stream s;

    for (size_t i = 0; i < STREAMS_PER_SLOT; i++) {
        if (!unpack(
                atomic_load_explicit(&slot->streams[i], memory_order_relaxed),
                &s))
            continue;
        away = distance(&s, page);
        if (away < least) {
            least = away;
            ret.continued = i;
            ret.stream = s;
            ret.again = away == AGAIN;
        }
        if (has_been_at(&s, page) && s.log > ret.log)
            ret.log = s.log;
        away = stride_of(&s, page);
        if (away < least_apart) {
            least_apart = away;
            ret.strided = i;
            ret.lone = s;
        }
    }
    return ret;
}

/* The stream that makes room for a new one: each in turn, but for `keep`. */
static size_t next_victim(struct stream_slot *slot, size_t keep)
{
    size_t i;

    do {
        i = atomic_fetch_add_explicit(&slot->hand, 1, memory_order_relaxed) %
            STREAMS_PER_SLOT;
    } while (i == keep);
    return i;
}

static void put(struct stream_slot *slot, size_t i, const struct stream *s)
{
    atomic_store_explicit(&slot->streams[i], pack(s), memory_order_relaxed);
}

/* A new stream's place. A lone touch near it becomes a strided one. */
static size_t make_room(struct stream_slot *slot, const struct nearest *near,
                        uint64_t page)
{
    struct stream s = near->lone;

    if (near->strided != NONE) {
        begin_stride(&s, page);
        put(slot, near->strided, &s);
    }
    return next_victim(slot, near->strided);
}

struct stream_wish streams_note(streams_t *streams,
                                const struct stream_touch *touch)
{
    struct stream_slot *slot = slot_of(streams, touch->tid);
    struct nearest near = {.continued = NONE, .strided = NONE};
    struct stream_wish wish;
    size_t at;

    if (slot)
        near = find_nearest(slot, touch->page);
    at = near.continued;
    if (at == NONE || (near.again && near.stream.kind == NEW))
        wish = begin(&near.stream, touch, near.log);
    else if (near.again)
        wish = once_more(&near.stream);
    else
        wish = go_on(&near.stream, touch->page, log_of(touch->pages_max));
    if (slot) {
        if (at == NONE)
            at = make_room(slot, &near, touch->page);
        put(slot, at, &near.stream);
        wish.stream = &slot->streams[at];
        wish.word = pack(&near.stream);
    }
    return wish;
}

void streams_cut(const struct stream_wish *wish, uint64_t first, uint64_t end)
{
    uint64_t word = wish->word;
    struct stream s;

    if (!wish->stream || !unpack(word, &s) || s.kind == STRIDED)
        return;
    s.first = first;
    s.span = (int)(end - first);
    /* Unless the stream is another one by now. */
    atomic_compare_exchange_strong_explicit(wish->stream, &word, pack(&s),
                                            memory_order_relaxed,
                                            memory_order_relaxed);
}

void streams_destroy(streams_t *streams)
{
    struct stream_slot *slots = atomic_load(streams);

    if (slots)
        slab_pages_free(slots, STREAM_SLOTS * sizeof(*slots));
    atomic_store(streams, NULL);
}
