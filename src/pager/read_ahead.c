/* SPDX-License-Identifier: MIT */
/* See read_ahead.h. */
#include "pager/read_ahead.h"

#include <time.h>

#include "base/range.h"
#include "pager/parts.h"
#include "store/channel.h"

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_old(const struct read_ahead *ahead,
                   const struct read_ahead_stream *stream, uint64_t now)
{
    return now - atomic_load(&stream->used_ms) > ahead->age_ms;
}

/* The stream that goes on at the offset, or NULL. */
static struct read_ahead_stream *find(struct read_ahead *ahead, uint64_t offset)
{
    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++)
        if (offset != 0 && atomic_load(&ahead->streams[i].next) == offset)
            return &ahead->streams[i];
    return NULL;
}

static void drop(struct read_ahead_stream *stream)
{
    parts_end(atomic_exchange(&stream->waiting, NULL));
}

/* A place for a new stream: the longest unused, but of none that is under way. */
static struct read_ahead_stream *find_room(struct read_ahead *ahead,
                                           uint64_t now)
{
    struct read_ahead_stream *room = NULL;

    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++) {
        struct read_ahead_stream *stream = &ahead->streams[i];

        if (atomic_load(&stream->waiting) && !is_old(ahead, stream, now))
            continue;
        if (!room ||
            atomic_load(&stream->used_ms) < atomic_load(&room->used_ms))
            room = stream;
    }
    return room;
}

struct fill_parts *read_ahead_take(struct read_ahead *ahead, uint64_t offset,
                                   const struct uf_fill *want)
{
    struct read_ahead_stream *stream = find(ahead, offset);
    struct fill_parts *parts;

    if (!stream)
        return NULL;
    parts = atomic_exchange(&stream->waiting, NULL);
    if (parts && (is_old(ahead, stream, now_ms()) || !parts_are_ours(parts) ||
                  parts_offset(parts) != offset ||
                  parts->want.len_bytes < want->len_bytes)) {
        parts_end(parts);
        parts = NULL;
    }
    if (parts)
        parts_adopt(parts, want);
    return parts;
}

/* Windows of a stream grow until they are as long as they may be. */
static size_t next_len(size_t last, size_t len)
{
    if (len > last && len <= PARTS_MAX_BYTES / 2)
        return len * 2;
    return len;
}

static struct fill_parts *begin(struct uf_store *store, uint64_t offset,
                                size_t len_bytes)
{
    struct uf_fill want = {.size = sizeof(want),
                           .offset = offset,
                           .len_bytes = len_bytes,
                           .page_bytes = page_size(),
                           .flags = UF_FILL_AHEAD};

    return parts_begin(store, offset, &want, 0, true);
}

void read_ahead_go_on(struct read_ahead *ahead, struct uf_store *store,
                      uint64_t offset, size_t len_bytes)
{
    struct read_ahead_stream *stream = find(ahead, offset);
    uint64_t now = now_ms(), end = offset + len_bytes;
    bool goes_on = stream && !is_old(ahead, stream, now);
    struct fill_parts *parts = NULL;
    size_t last = 0;

    if (!stream)
        stream = find_room(ahead, now);
    if (!stream)
        return;
    drop(stream);
    last = atomic_load(&stream->len_bytes);
    atomic_store(&stream->used_ms, now);
    atomic_store(&stream->len_bytes, len_bytes);
    atomic_store(&stream->next, end);
    if (goes_on && store_spares_channels(store))
        parts = begin(store, end, next_len(last, len_bytes));
    /* Another thread may be here for another window: either is right. */
    parts_end(atomic_exchange(&stream->waiting, parts));
}

void read_ahead_destroy(struct read_ahead *ahead)
{
    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++)
        drop(&ahead->streams[i]);
}
