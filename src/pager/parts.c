/* SPDX-License-Identifier: MIT */
/* See parts.h. */
#include "pager/parts.h"

#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "store/channel.h"

#define PIECE_BYTES  ((size_t)128 << 10)
#define BUFFER_BYTES ((size_t)2 << 20)

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

bool parts_begin(struct fill_parts *parts, struct uf_store *store,
                 uint64_t offset, const struct uf_fill *want, size_t wanted,
                 bool anywhere)
{
    void *buffer = NULL;
    unsigned first;

    if (want->len_bytes <= PIECE_BYTES)
        return false;
    parts->channel = store_channel_take(store);
    if (!parts->channel)
        return false;
    parts->want = *want;
    if (anywhere)
        buffer = store_channel_buffer(parts->channel, BUFFER_BYTES);
    if (buffer && want->len_bytes <= BUFFER_BYTES)
        parts->want.buffer = buffer;
    parts->count = parts->reaped = 0;
    cut(parts, offset);
    first = (unsigned)(wanted / parts->pieces[0].len_bytes);
    store_submit(parts->channel, &parts->pieces[first], parts->count - first);
    if (first > 0)
        store_submit(parts->channel, parts->pieces, first);
    return true;
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

bool parts_next(struct fill_parts *parts, struct fill_part *ret)
{
    struct store_io *io;

    if (parts->reaped == parts->count ||
        store_reap(parts->channel, &io, 1, 1) == 0)
        return false;
    parts->reaped++;
    *ret = (struct fill_part){
        .piece = (unsigned)(io - parts->pieces),
        .at = (size_t)((char *)io->buffer - (char *)parts->want.buffer),
        .len = io->len_bytes};
    round_up(parts, io, ret);
    return true;
}

size_t parts_all(struct fill_parts *parts, int *ret_err)
{
    struct fill_part part;
    size_t good = 0;

    while (parts_next(parts, &part))
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

void parts_end(struct fill_parts *parts)
{
    struct fill_part part;

    while (parts_next(parts, &part))
        ;
    if (parts->channel)
        store_channel_give_back(parts->channel);
    parts->channel = NULL;
}
