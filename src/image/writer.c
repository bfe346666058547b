/* SPDX-License-Identifier: MIT */
/* See writer.h. */
#include "image/writer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/range.h"
#include "image/calls.h"
#include "image/codec.h"

int image_writer_begin(struct image_writer *w, int fd,
                       const struct image_params *params)
{
    size_t chunk = params->chunk_bytes;
    struct image_header *h = &w->header;

    *w = (struct image_writer){.fd = fd, .level = params->level};
    w->at = sizeof(*h);
    *h = (struct image_header){
        .version = IMAGE_VERSION,
        .byte_order = IMAGE_BYTE_ORDER,
        .page_bytes = (uint32_t)page_size(),
        .chunk_bytes = params->chunk_bytes,
        .codec = params->codec,
        .base = params->base,
        .len_bytes = params->len_bytes,
        .brk = params->brk,
    };
    memcpy(h->magic, IMAGE_MAGIC, sizeof(h->magic));
    if (params->fixed)
        h->flags |= IMAGE_FIXED;
    if (params->parent) {
        h->flags |= IMAGE_INCREMENTAL;
        memcpy(h->parent, params->parent, sizeof(h->parent));
        snprintf(h->parent_name, sizeof(h->parent_name), "%s",
                 params->parent_name);
    }
    if (getrandom(h->id, sizeof(h->id), 0) != sizeof(h->id))
        return -EIO;
    w->work_bytes = codec_packer_bytes(params->codec, params->level);
    w->memory_bytes = align_up(2 * chunk + w->work_bytes, page_size());
    w->memory = slab_pages(w->memory_bytes);
    if (!w->memory)
        return -ENOMEM;
    w->chunk = w->memory;
    w->packed = w->chunk + chunk;
    w->work = w->packed + chunk;
    return image_aside_init(&w->aside, params->working, params->nworking);
}

int image_writer_mapping(struct image_writer *w,
                         const struct image_mapping *mapping)
{
    w->apart = true;
    w->header.nmappings++;
    return image_list_add(&w->mappings, mapping, sizeof(*mapping));
}

static struct image_extent *last_extent(struct image_writer *w)
{
    struct image_extent *extents = (void *)w->extents.bytes;

    return w->header.nextents ? &extents[w->header.nextents - 1] : NULL;
}

/* Do pages numbered from `first` on go on where those of `e` end? */
static bool goes_on(const struct image_extent *e, uint64_t page, uint64_t first)
{
    if (e->page + e->npages != page)
        return false;
    if (first == IMAGE_ZEROS || e->first == IMAGE_ZEROS)
        return e->first == first;
    return e->first + e->npages == first;
}

/* Pages [page, page + npages) are stored from `first` on, or zeros. */
static int note(struct image_writer *w, uint64_t page, uint64_t npages,
                uint64_t first)
{
    struct image_extent *last = last_extent(w);
    struct image_extent extent = {page, npages, first};

    if (!w->apart && last && goes_on(last, page, first)) {
        last->npages += npages;
        return 0;
    }
    w->apart = false;
    w->header.nextents++;
    return image_list_add(&w->extents, &extent, sizeof(extent));
}

static int flush(struct image_writer *w)
{
    struct image_chunk record = {.offset = w->at, .codec = w->header.codec};
    const char *bytes = w->packed;
    size_t n;
    int err;

    if (w->filled == 0)
        return 0;
    n = codec_pack(w->header.codec, w->level, w->work, w->work_bytes, w->packed,
                   w->chunk, w->filled);
    if (n == 0) {
        record.codec = UF_IMAGE_NONE;
        bytes = w->chunk;
        n = w->filled;
    }
    record.stored_bytes = (uint32_t)n;
    record.checksum = image_checksum(bytes, n);
    err = image_write_all(w->fd, bytes, n, w->at);
    if (err)
        return err;
    w->at += n;
    w->filled = 0;
    w->header.nchunks++;
    return image_list_add(&w->chunks, &record, sizeof(record));
}

/* Into the chunk that is being filled. */
static int add(struct image_writer *w, const void *bytes)
{
    memcpy(w->chunk + w->filled, bytes, w->header.page_bytes);
    w->filled += w->header.page_bytes;
    w->header.npages++;
    return w->filled == w->header.chunk_bytes ? flush(w) : 0;
}

int image_writer_page(struct image_writer *w, uint64_t page, const void *bytes)
{
    uint64_t place;
    int err;

    if (image_aside_put(&w->aside, page, bytes, &place))
        return note(w, page, 1, IMAGE_ASIDE + place);
    err = note(w, page, 1, w->header.npages);
    return err ? err : add(w, bytes);
}

int image_writer_zeros(struct image_writer *w, uint64_t page, uint64_t npages)
{
    return note(w, page, npages, IMAGE_ZEROS);
}

/* What was put aside, in chunks of its own; its extents get their numbers. */
static int write_aside(struct image_writer *w)
{
    struct image_extent *extents = (void *)w->extents.bytes;
    struct image_aside *aside = &w->aside;
    uint64_t first = image_first_ahead(&w->header); /* behind what there is */
    int err = 0;

    image_aside_number(aside);
    for (size_t i = 0; i < w->header.nextents; i++)
        if (extents[i].first != IMAGE_ZEROS && extents[i].first >= IMAGE_ASIDE)
            extents[i].first =
                first +
                image_aside_number_of(aside, extents[i].first - IMAGE_ASIDE);
    for (size_t i = 0; !err && i < aside->nworking; i++) {
        const void *bytes = image_aside_bytes(aside, i);

        if (bytes)
            err = add(w, bytes);
    }
    w->header.nahead = aside->nstored;
    return err ? err : flush(w);
}

static int write_index(struct image_writer *w)
{
    const uint64_t *working = w->aside.working;
    size_t nworking = w->aside.nworking;
    size_t len = w->mappings.used + w->extents.used + w->chunks.used +
                 nworking * sizeof(*working);
    size_t room = align_up(len, page_size());
    char *bytes, *at;
    int err;

    w->header.index_offset = w->at;
    w->header.file_bytes = w->at + len;
    w->header.nworking = nworking;
    w->header.index_checksum = image_checksum("", 0);
    if (len == 0)
        return 0;
    bytes = at = slab_pages(room);
    if (!bytes)
        return -ENOMEM;
    if (w->mappings.used > 0)
        at = (char *)memcpy(at, w->mappings.bytes, w->mappings.used) +
             w->mappings.used;
    if (w->extents.used > 0)
        at = (char *)memcpy(at, w->extents.bytes, w->extents.used) +
             w->extents.used;
    if (w->chunks.used > 0)
        at = (char *)memcpy(at, w->chunks.bytes, w->chunks.used) +
             w->chunks.used;
    if (nworking > 0)
        memcpy(at, working, nworking * sizeof(*working));
    w->header.index_checksum = image_checksum(bytes, len);
    err = image_write_all(w->fd, bytes, len, w->at);
    slab_pages_free(bytes, room);
    return err;
}

int image_writer_finish(struct image_writer *w)
{
    int err = flush(w);

    if (!err)
        err = write_aside(w);
    if (!err)
        err = write_index(w);
    if (err)
        return err;
    image_header_seal(&w->header);
    return image_write_all(w->fd, &w->header, sizeof(w->header), 0);
}

void image_writer_end(struct image_writer *w)
{
    if (w->memory)
        slab_pages_free(w->memory, w->memory_bytes);
    w->memory = NULL;
    image_aside_destroy(&w->aside);
    image_list_free(&w->mappings);
    image_list_free(&w->extents);
    image_list_free(&w->chunks);
}
