/* SPDX-License-Identifier: MIT */
/*
 * saving: an image on its way from a space to a file, whether the space is at
 * rest (save.c) or runs (checkpoint.c).
 *
 *     saving_write     a file under another name, the writer, `put`, the name
 *       put              the mappings, each with saving_mapping
 *         saving_zeros     pages of it that are zeros
 *         saving_bytes     pages of it that are read
 *
 * With a parent, a page is compared with what the parent has: equal, and it is
 * left out; zeros where the parent has something is an extent of its own. Where
 * it is known what was written since the parent was saved (`changed`), nothing
 * else is looked at, and nothing compared.
 */
#ifndef UF_IMAGE_SAVING_H
#define UF_IMAGE_SAVING_H

#include "image/reader.h"
#include "image/writer.h"
#include "mm/space.h"
#include "mm/vma.h"

/* Read at once. */
#define SAVING_BLOCK_BYTES ((size_t)256 << 10)

struct saving {
    struct uf_space *space;
    const struct uf_image_opts *opts;
    /* Sets the break in writer.header, and puts the mappings. 0 or -errno. */
    int (*put)(struct saving *s);
    /* The bytes of [addr, addr + len) of the space. 0 or -errno. */
    int (*read)(struct saving *s, uintptr_t addr, void *to, size_t len);
    /* Pages [part) of a mapping, inside it, to the file. */
    int (*put_part)(struct saving *s, const struct vma *v, struct range part);
    const struct resident *changed; /* NULL: not known */

    struct image_writer writer;
    bool compare; /* the mapping at hand with the parent's bytes */
    char *block;  /* SAVING_BLOCK_BYTES, and behind it a page */
    char *theirs; /* that page: the parent's */
};

/* Makes the file. 0 or -errno; after 0 writer.header is the image's. */
int saving_write(struct saving *s, const char *path);

/* 0 or -EOPNOTSUPP: an image cannot hold it. Requires: the map lock, or nobody
 * else about. */
int saving_may_hold(const struct uf_space *space, const struct vma *v);

/* A mapping with its pages, by put_part. */
int saving_mapping(struct saving *s, const struct vma *v);

/* [part) is all zeros; reads and puts [part); puts [part), whose bytes are here. */
int saving_zeros(struct saving *s, struct range part);
int saving_bytes(struct saving *s, struct range part);
int saving_block(struct saving *s, struct range part, const char *bytes);

/* The number of the page at `addr`, from the base. */
uint64_t saving_page_at(const struct saving *s, uintptr_t addr);

#endif
