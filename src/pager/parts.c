/* SPDX-License-Identifier: MIT */
/* See parts.h. */
#include "pager/parts.h"

#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"
#include "store/channel.h"

#define PIECE_BYTES ((size_t)128 << 10)

static struct slab_cache windows =
    SLAB_CACHE("parts", sizeof(struct fill_parts));

static void cut(struct fill_parts *parts, uint64_t offset)
{
    const struct uf_fill *want = &parts->want;
    size_t piece = PIECE_BYTES;

    while (want->len_bytes > piece * PARTS_MAX)
        piece *= 2;
    for (size_t at = 0; at < want->len_bytes; at += piece) {
        size_t left = want->len_bytes - at;

        parts->pieces[parts->count++] =
            (struct store_io){.offset = offset + at,
                              .buffer = (char *)want->buffer + at,
                              .len_bytes = left < piece ? left : piece};
    }
}

/* Where the bytes are to be; NULL: nowhere. */
static void *choose_buffer(struct store_channel *channel,
                           const struct uf_fill *want, bool anywhere)
{
    void *own = anywhere && want->len_bytes <= PARTS_MAX_BYTES
                    ? store_channel_buffer(channel, PARTS_MAX_BYTES)
                    : NULL;

    return own ? own : want->buffer;
}

struct fill_parts *parts_begin(struct uf_store *store, uint64_t offset,
                               const struct uf_fill *want, size_t wanted,
                               bool anywhere)
{
    struct fill_parts *parts;
    unsigned first;

    if (want->len_bytes <= PIECE_BYTES)
        return NULL;
    parts = slab_alloc(&windows);
    if (!parts)
        return NULL;
    parts->channel = store_channel_take(store);
    parts->want = *want;
    if (parts->channel)
        parts->want.buffer = choose_buffer(parts->channel, want, anywhere);
    if (!parts->channel || !parts->want.buffer) {
        parts_end(parts);
        return NULL;
    }
    cut(parts, offset);
    first = (unsigned)(wanted / parts->pieces[0].len_bytes);
    store_submit(parts->channel, &parts->pieces[first], parts->count - first);
    if (first > 0)
        store_submit(parts->channel, parts->pieces, first);
    return parts;
}

/* The tail of the store is zeros to the end of its page. */
static void round_up(const struct fill_parts *parts, const struct store_io *io,
                     struct fill_part *part)
{
    size_t page = parts->want.page_bytes;

    part->good = align_down(io->done_bytes, page);
    part->err = io->err;
    if (io->err || io->done_bytes == io->len_bytes)
        return;
    part->good = align_up(io->done_bytes, page);
    part->err = part->good < part->len ? -ENXIO : 0;
    memset((char *)io->buffer + io->done_bytes, 0, part->good - io->done_bytes);
}

static size_t start_of(const struct fill_parts *parts,
                       const struct store_io *io)
{
    return (size_t)((char *)io->buffer - (char *)parts->want.buffer);
}

/* The next piece, whether or not anybody wants it. */
static struct store_io *reap(struct fill_parts *parts)
{
    struct store_io *io;

    if (parts->reaped == parts->count)
        return NULL;
    if (parts->settled)
        return &parts->pieces[parts->reaped++];
    if (store_reap(parts->channel, &io, 1, 1) == 0)
        return NULL;
    parts->reaped++;
    return io;
}

void parts_settle(struct fill_parts *parts)
{
    while (reap(parts))
        ;
    parts->reaped = 0;
    parts->settled = true;
}

bool parts_next(struct fill_parts *parts, struct fill_part *ret)
{
    struct store_io *io = reap(parts);

    while (io && start_of(parts, io) >= parts->want.len_bytes)
        io = reap(parts);
    if (!io)
        return false;
    *ret = (struct fill_part){.piece = (unsigned)(io - parts->pieces),
                              .at = start_of(parts, io),
                              .len = io->len_bytes};
    round_up(parts, io, ret);
    if (ret->len > parts->want.len_bytes - ret->at)
        ret->len = parts->want.len_bytes - ret->at;
    if (ret->good > ret->len)
        ret->good = ret->len;
    return true;
}

size_t parts_all(struct fill_parts *parts, int *ret_err)
{
    size_t good = 0;

    while (reap(parts))
        ;
    *ret_err = 0;
    for (unsigned i = 0; i < parts->count; i++) {
        const struct store_io *io = &parts->pieces[i];

        good += io->done_bytes;
        if (io->done_bytes < io->len_bytes) {
            *ret_err = io->err;
            break;
        }
    }
    return good;
}

uint64_t parts_offset(const struct fill_parts *parts)
{
    return parts->pieces[0].offset;
}

void parts_adopt(struct fill_parts *parts, const struct uf_fill *want)
{
    void *buffer = parts->want.buffer;

    parts->want = *want;
    parts->want.buffer = buffer;
}

bool parts_are_ours(const struct fill_parts *parts)
{
    return store_channel_is_ours(parts->channel);
}

void parts_end(struct fill_parts *parts)
{
    if (!parts)
        return;
    if (parts->channel && parts_are_ours(parts)) {
        while (reap(parts))
            ;
        store_channel_give_back(parts->channel);
    } else if (parts->channel) {
        store_channel_disown(parts->channel);
    }
    slab_free(&windows, parts);
}
