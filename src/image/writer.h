/* SPDX-License-Identifier: MIT */
/*
 * writer: an image into an open file, from the front to the back, and the header
 * last, so that what is not finished is no image.
 *
 *     image_writer_begin          says which pages are of the working set
 *     image_writer_mapping        each mapping, ascending, and after it
 *       image_writer_page           its pages, ascending; zeros are left out
 *       image_writer_zeros          only with a parent: zeros that it has not
 *     image_writer_finish
 *     image_writer_end            always, in any state
 *
 * It knows neither spaces nor names of files. Not thread-safe.
 */
#ifndef UF_IMAGE_WRITER_H
#define UF_IMAGE_WRITER_H

#include "image/aside.h"
#include "image/format.h"
#include "image/list.h"
#include "ufault/image.h"

struct image_params {
    enum uf_image_codec codec;
    int level;            /* of zstd */
    uint32_t chunk_bytes; /* valid */
    uint64_t base;
    uint64_t len_bytes;
    uint64_t brk;            /* from the base */
    bool fixed;              /* IMAGE_FIXED */
    const uint8_t *parent;   /* its id, 16 bytes; NULL: none */
    const char *parent_name; /* in the same directory */
    /* The working set, in its order; kept until image_writer_end. */
    const uint64_t *working;
    size_t nworking;
};

struct image_writer {
    int fd;
    int level;
    struct image_header header;
    uint64_t at; /* where the next chunk goes */
    /* One allocation: a chunk being filled, what it becomes, work space. */
    char *memory;
    size_t memory_bytes;
    char *chunk;
    size_t filled; /* bytes of the chunk */
    char *packed;
    char *work;
    size_t work_bytes;
    bool apart; /* a mapping began: the next page begins an extent */
    struct image_aside aside;
    struct image_list mappings;
    struct image_list extents;
    struct image_list chunks;
};

/* Each returns 0 or -errno: -ENOMEM, or what writing said. */
int image_writer_begin(struct image_writer *w, int fd,
                       const struct image_params *params);
int image_writer_mapping(struct image_writer *w,
                         const struct image_mapping *mapping);
int image_writer_page(struct image_writer *w, uint64_t page, const void *bytes);
int image_writer_zeros(struct image_writer *w, uint64_t page, uint64_t npages);
int image_writer_finish(struct image_writer *w);
void image_writer_end(struct image_writer *w);

#endif
