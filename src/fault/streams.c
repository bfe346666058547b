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
 *     used  -       stride   kind    log     page that is expected next
 */
enum kind { LONE, UP, DOWN, STRIDED };

struct stream {
    uint64_t next; /* LONE: the page itself */
    unsigned log;  /* of the pages of the last window */
    enum kind kind;
    int stride;
};

#define USED      ((uint64_t)1 << 63)
#define PAGE_MASK (((uint64_t)1 << 40) - 1)
#define LOG_MAX   9
#define BIAS      2048 /* makes a stride positive */

static uint64_t pack(const struct stream *s)
{
    return USED | (uint64_t)(s->stride + BIAS) << 48 | (uint64_t)s->kind << 44 |
           (uint64_t)s->log << 40 | (s->next & PAGE_MASK);
}

static bool unpack(uint64_t word, struct stream *ret)
{
    *ret = (struct stream){
        .next = word & PAGE_MASK,
        .log = (unsigned)(word >> 40) & 15,
        .kind = (enum kind)((word >> 44) & 15),
        .stride = (int)((word >> 48) & 4095) - BIAS,
    };
    return (word & USED) != 0;
}

/* How far from what is expected a touch may be, since what lies between was
 * there already. A lone page expects its neighbours exactly. */
static uint64_t slack(const struct stream *s)
{
    return s->log > 1 ? (uint64_t)1 << (s->log - 1) : 0;
}

/* The window may have been cut short, by a break that had not grown yet: then a
 * page of it is touched after all. */
static uint64_t last_window(const struct stream *s)
{
    return (uint64_t)1 << s->log;
}

/* Makes *s the stream that the touch of `page` continues. False: it does not
 * continue it. */
static bool continues(struct stream *s, uint64_t page)
{
    switch (s->kind) {
    case LONE:
        if (page == s->next + 1)
            s->kind = UP;
        else if (page + 1 == s->next)
            s->kind = DOWN;
        else
            return false;
        return true;
    case UP:
        return page + last_window(s) >= s->next && page <= s->next + slack(s);
    case DOWN:
        return page <= s->next + last_window(s) && page + slack(s) >= s->next;
    case STRIDED:
        return page == s->next;
    }
    return false;
}

/* A second touch not far from a lone one may be the second of many at equal
 * distances; the third will tell. */
static bool may_stride(struct stream *s, uint64_t page)
{
    int64_t stride = (int64_t)(page - s->next);

    if (s->kind != LONE || stride == 0 || stride > STREAM_STRIDE_MAX ||
        stride < -STREAM_STRIDE_MAX)
        return false;
    s->kind = STRIDED;
    s->stride = (int)stride;
    s->next = page + (uint64_t)stride;
    return true;
}

static unsigned log_of(uint32_t pages)
{
    unsigned log = 0;

    while (log < LOG_MAX && (2u << log) <= pages)
        log++;
    return log;
}

/* The next window of a stream that goes on: to the end of a block twice as long
 * as the last, so that large windows are whole huge pages. */
static struct stream_wish go_on(struct stream *s, uint64_t page,
                                uint32_t pages_max)
{
    struct stream_wish wish = {.first = page, .end = page + 1, .count = 1};
    uint64_t size;

    if (s->log < log_of(pages_max))
        s->log++;
    size = (uint64_t)1 << s->log;
    if (s->kind == UP) {
        wish.end = (page | (size - 1)) + 1;
        s->next = wish.end;
    } else if (s->kind == DOWN) {
        wish.first = page & ~(size - 1);
        s->next = wish.first - (wish.first > 0);
    } else {
        wish.count =
            size < STREAM_COUNT_MAX ? (uint32_t)size : STREAM_COUNT_MAX;
        wish.stride = s->stride;
        s->next = page + (uint64_t)((int64_t)s->stride * wish.count);
    }
    return wish;
}

/* A touch that continues nothing: its block of pages_new pages. */
static struct stream_wish begin(struct stream *ret,
                                const struct stream_touch *touch)
{
    uint64_t mask = (uint64_t)touch->pages_new - 1;

    *ret =
        (struct stream){.next = touch->page, .log = log_of(touch->pages_new)};
    if (mask != 0) {
        ret->kind = UP;
        ret->next = (touch->page | mask) + 1;
    }
    return (struct stream_wish){.first = touch->page & ~mask,
                                .end = (touch->page | mask) + 1,
                                .count = 1};
}

static void put(struct stream_slot *slot, size_t i, const struct stream *s)
{
    atomic_store_explicit(&slot->streams[i], pack(s), memory_order_relaxed);
}

static void replace_one(struct stream_slot *slot, const struct stream *s)
{
    uint32_t hand =
        atomic_fetch_add_explicit(&slot->hand, 1, memory_order_relaxed);

    put(slot, hand % STREAMS_PER_SLOT, s);
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

struct stream_wish streams_note(streams_t *streams,
                                const struct stream_touch *touch)
{
    struct stream_slot *slot = slot_of(streams, touch->tid);
    struct stream s, maybe;
    struct stream_wish wish;
    size_t strided = STREAMS_PER_SLOT;

    for (size_t i = 0; slot && i < STREAMS_PER_SLOT; i++) {
        if (!unpack(
                atomic_load_explicit(&slot->streams[i], memory_order_relaxed),
                &s))
            continue;
        if (continues(&s, touch->page)) {
            wish = go_on(&s, touch->page, touch->pages_max);
            put(slot, i, &s);
            return wish;
        }
        if (strided == STREAMS_PER_SLOT && may_stride(&s, touch->page)) {
            strided = i;
            maybe = s;
        }
    }
    wish = begin(&s, touch);
    if (slot && strided < STREAMS_PER_SLOT)
        put(slot, strided, &maybe);
    if (slot)
        replace_one(slot, &s);
    return wish;
}

void streams_destroy(streams_t *streams)
{
    struct stream_slot *slots = atomic_load(streams);

    if (slots)
        slab_pages_free(slots, STREAM_SLOTS * sizeof(*slots));
    atomic_store(streams, NULL);
}
