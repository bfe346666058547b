/* SPDX-License-Identifier: MIT */
/* See read_ahead.h. */
#include "pager/read_ahead.h"

#include <string.h>

#include "base/clock.h"
#include "base/range.h"
#include "pager/parts.h"
#include "store/channel.h"

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
    parts_end(atomic_exchange(&stream->parked, NULL));
}

/* A place for a new stream: the longest unused, but of none that is under way. */
static struct read_ahead_stream *find_room(struct read_ahead *ahead,
                                           uint64_t now)
{
    struct read_ahead_stream *room = NULL;

    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++) {
        struct read_ahead_stream *stream = &ahead->streams[i];

        if (atomic_load(&stream->parked) && !is_old(ahead, stream, now))
            continue;
        if (!room ||
            atomic_load(&stream->used_ms) < atomic_load(&room->used_ms))
            room = stream;
    }
    return room;
}

/* What a touch would read now: nothing has been written since. */
static bool is_good(const struct fill_parts *parts, struct uf_store *store)
{
    struct store_stamp now = store_stamp(store);

    return memcmp(&now, &parts->stamp, sizeof(now)) == 0;
}

struct fill_parts *read_ahead_take(struct read_ahead *ahead,
                                   struct uf_store *store, uint64_t offset,
                                   const struct uf_fill *want)
{
    struct read_ahead_stream *stream = find(ahead, offset);
    struct fill_parts *parts =
        stream ? atomic_exchange(&stream->parked, NULL) : NULL;

    if (!parts)
        return NULL;
    if (is_old(ahead, stream, clock_ms()) || !parts_are_ours(parts) ||
        parts_offset(parts) != offset ||
        parts->want.len_bytes < want->len_bytes || !is_good(parts, store)) {
        parts_end(parts);
        return NULL;
    }
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

static struct fill_parts *begin(const struct read_ahead *ahead,
                                struct uf_store *store, uint64_t offset,
                                size_t len_bytes)
{
    struct uf_fill want = {.size = sizeof(want),
                           .offset = offset,
                           .len_bytes = len_bytes,
                           .page_bytes = page_size(),
                           .flags = UF_FILL_AHEAD};
    struct store_stamp stamp = store_stamp(store);
    struct fill_parts *parts = NULL;

    if (store_stamp_age_ms(&stamp) >= ahead->calm_ms &&
        store_has_no_read_ahead(store))
        parts = parts_begin(store, offset, &want, 0, true);
    if (parts)
        parts->stamp = stamp;
    return parts;
}

struct fill_parts *read_ahead_begin(struct read_ahead *ahead,
                                    struct uf_store *store, uint64_t offset,
                                    size_t len_bytes)
{
    struct read_ahead_stream *stream = find(ahead, offset);
    uint64_t now = clock_ms(), end = offset + len_bytes;
    bool goes_on = stream && !is_old(ahead, stream, now);
    size_t last;

    if (!stream)
        stream = find_room(ahead, now);
    if (!stream)
        return NULL;
    drop(stream);
    last = atomic_load(&stream->len_bytes);
    atomic_store(&stream->used_ms, now);
    atomic_store(&stream->len_bytes, len_bytes);
    atomic_store(&stream->next, end);
    return goes_on && store_spares_channels(store)
               ? begin(ahead, store, end, next_len(last, len_bytes))
               : NULL;
}

/* Somebody may have been writing there, and not come back yet. */
static bool met_a_writer(const struct fill_parts *parts)
{
    for (unsigned i = 0; i < parts->count; i++)
        if (parts->pieces[i].way == WAY_CACHED)
            return true;
    return false;
}

void read_ahead_park(struct read_ahead *ahead, struct fill_parts *next)
{
    struct read_ahead_stream *stream =
        met_a_writer(next) ? NULL : find(ahead, parts_offset(next));

    /* Another thread's window took the place; or it is somebody's already. */
    if (stream) {
        atomic_store(&stream->used_ms,
                     clock_ms()); /* however slow the disk is */
        next = atomic_exchange(&stream->parked, next);
    }
    parts_end(next);
}

void read_ahead_destroy(struct read_ahead *ahead)
{
    for (size_t i = 0; i < READ_AHEAD_STREAMS; i++)
        drop(&ahead->streams[i]);
}
