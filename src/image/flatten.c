/* SPDX-License-Identifier: MIT */
/* See save.h: a chain of images as one. */
#include <errno.h>

#include "base/range.h"
#include "image/codec.h"
#include "image/reader.h"
#include "image/replace.h"
#include "image/save.h"

/* The stored pages of one mapping; zeros are left out again. */
static int put_pages(struct image_writer *w, struct uf_image *image,
                     const struct image_mapping *m, char *bytes)
{
    uint64_t page = m->start / page_size();
    uint64_t end = page + m->len_bytes / page_size();
    uint64_t done;
    int err = 0;

    while (!err && page < end) {
        struct image_run run = image_run_at(image, page, end - page);

        for (uint64_t i = 0; run.image && !err && i < run.npages; i++) {
            err = image_read(image, IMAGE_ASKED, page + i, 1, bytes, &done);
            if (!err)
                err = image_writer_page(w, page + i, bytes);
        }
        page += run.npages;
    }
    return err;
}

static int write_flat(struct image_writer *w, int fd, struct uf_image *image,
                      char *bytes)
{
    const struct image_header *h = &image->header;
    struct image_params params = {
        .codec = h->codec,
        .level = CODEC_LEVEL,
        .chunk_bytes = h->chunk_bytes,
        .base = h->base,
        .len_bytes = h->len_bytes,
        .brk = h->brk,
    };
    int err = image_writer_begin(w, fd, &params);

    memcpy(w->header.id, h->id, sizeof(h->id));
    for (size_t i = 0; !err && i < h->nmappings; i++) {
        const struct image_mapping *m = &image->index.mappings[i];

        err = image_writer_mapping(w, m);
        if (!err)
            err = put_pages(w, image, m, bytes);
    }
    if (!err)
        err = image_writer_finish(w, image->index.working, h->nworking);
    image_writer_end(w);
    return err;
}

int image_flatten(struct uf_image *image, const char *path)
{
    struct image_writer writer;
    struct replace file;
    char *bytes = slab_pages(page_size());
    int err = bytes ? replace_begin(&file, path) : -ENOMEM;

    if (!err) {
        err = write_flat(&writer, file.fd, image, bytes);
        if (err)
            replace_abandon(&file);
        else
            err = replace_commit(&file);
    }
    if (bytes)
        slab_pages_free(bytes, page_size());
    return err;
}
