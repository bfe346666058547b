/* SPDX-License-Identifier: MIT */
/* See save.h: images written anew: a chain of them as one, one with another
 * working set. */
#include <errno.h>

#include "base/range.h"
#include "image/codec.h"
#include "image/reader.h"
#include "image/replace.h"
#include "image/save.h"

struct rewriting {
    struct uf_image *image;
    bool keep_parent; /* only what is in this file, and it stays incremental */
    const uint64_t *working;
    size_t nworking;
    struct image_writer writer;
    char *bytes; /* a page */
};

/* [page, page + npages), all of them stored. */
static int put_run(struct rewriting *r, uint64_t page, uint64_t npages)
{
    uint64_t done;
    int err = 0;

    for (uint64_t i = 0; !err && i < npages; i++) {
        err = image_read(r->image, IMAGE_ASKED, page + i, 1, r->bytes, &done);
        if (!err)
            err = image_writer_page(&r->writer, page + i, r->bytes);
    }
    return err;
}

/* The stored pages of one mapping, here or above; zeros are left out again. */
static int put_pages(struct rewriting *r, const struct image_mapping *m)
{
    uint64_t page = m->start / page_size();
    uint64_t end = page + m->len_bytes / page_size();
    int err = 0;

    while (!err && page < end) {
        struct image_run run = image_run_at(r->image, page, end - page);

        if (run.image)
            err = put_run(r, page, run.npages);
        page += run.npages;
    }
    return err;
}

/* What this image says of one mapping. */
static int put_extents(struct rewriting *r, const struct image_mapping *m)
{
    const struct image_header *h = &r->image->header;
    uint64_t page = m->start / page_size();
    uint64_t end = page + m->len_bytes / page_size();
    const struct image_extent *e = r->image->index.extents;
    int err = 0;

    for (size_t i = image_find_extent(h, &r->image->index, page);
         !err && i < h->nextents && e[i].page < end; i++)
        err = e[i].first == IMAGE_ZEROS
                  ? image_writer_zeros(&r->writer, e[i].page, e[i].npages)
                  : put_run(r, e[i].page, e[i].npages);
    return err;
}

static struct image_params params_of(const struct rewriting *r)
{
    const struct image_header *h = &r->image->header;
    bool incremental = r->keep_parent && (h->flags & IMAGE_INCREMENTAL);

    return (struct image_params){
        .codec = h->codec,
        .level = CODEC_LEVEL,
        .chunk_bytes = h->chunk_bytes,
        .base = h->base,
        .len_bytes = h->len_bytes,
        .brk = h->brk,
        .fixed = (h->flags & IMAGE_FIXED) != 0,
        .parent = incremental ? h->parent : NULL,
        .parent_name = incremental ? h->parent_name : NULL,
        .working = r->working,
        .nworking = r->nworking,
    };
}

static int write_anew(struct rewriting *r, int fd)
{
    const struct image_header *h = &r->image->header;
    struct image_params params = params_of(r);
    int err = image_writer_begin(&r->writer, fd, &params);

    memcpy(r->writer.header.id, h->id, sizeof(h->id));
    for (size_t i = 0; !err && i < h->nmappings; i++) {
        const struct image_mapping *m = &r->image->index.mappings[i];

        err = image_writer_mapping(&r->writer, m);
        if (!err)
            err = r->keep_parent ? put_extents(r, m) : put_pages(r, m);
    }
    if (!err)
        err = image_writer_finish(&r->writer);
    image_writer_end(&r->writer);
    return err;
}

/* A parent is found beside its child. */
static int check_place(const struct rewriting *r, const struct replace *file)
{
    const struct uf_image *image = r->image;

    if (!r->keep_parent || !image->parent)
        return 0;
    return replace_may_have_parent(file, image->dir_device, image->dir_inode,
                                   image->parent->name);
}

static int rewrite(struct rewriting *r, const char *path)
{
    struct replace file;
    int err;

    r->bytes = slab_pages(page_size());
    if (!r->bytes)
        return -ENOMEM;
    err = replace_begin(&file, path);
    if (!err) {
        err = check_place(r, &file);
        if (!err)
            err = write_anew(r, file.fd);
        if (err)
            replace_abandon(&file);
        else
            err = replace_commit(&file);
    }
    slab_pages_free(r->bytes, page_size());
    return err;
}

int image_flatten(struct uf_image *image, const char *path)
{
    struct rewriting r = {.image = image,
                          .working = image->index.working,
                          .nworking = image->header.nworking};

    return rewrite(&r, path);
}

/* Pages that the image does not map are left out: what the recorded run mapped
 * later is none of its. */
static size_t keep_mapped(const struct uf_image *image, const uint64_t *pages,
                          size_t npages, uint64_t *to)
{
    size_t n = 0;

    for (size_t i = 0; i < npages; i++)
        if (image_find_mapping(&image->header, &image->index, pages[i]))
            to[n++] = pages[i];
    return n;
}

int image_rewrite_working(struct uf_image *image, const char *path,
                          const uint64_t *pages, size_t npages)
{
    struct rewriting r = {.image = image, .keep_parent = true};
    size_t room = align_up(npages * sizeof(*pages), page_size()) + page_size();
    uint64_t *kept = slab_pages(room);
    int err;

    if (!kept)
        return -ENOMEM;
    r.working = kept;
    r.nworking = keep_mapped(image, pages, npages, kept);
    err = rewrite(&r, path);
    slab_pages_free(kept, room);
    return err;
}
