/* SPDX-License-Identifier: MIT */
/*
 * format: an image file, byte by byte. docs/image-format.md explains it.
 *
 *     0         512                              index_offset        file_bytes
 *     | header  | chunk | chunk | ... | chunk    | index             |
 *                 stored pages, compressed:        mappings
 *                 in order of address, then        extents   which pages
 *                 those of the working set,        chunks    where they lie
 *                 in its order                     working   pages in order of
 *                                                            first touch
 *
 *     page ──extents──► its number among the stored ──chunks──► one read
 *
 * Every byte of the file lies in exactly one of these parts, and every part has
 * a checksum: the header its own, the index one in the header, a chunk one in
 * the index. So a byte that changed is always found.
 *
 * Plain data and pure functions. What is read is not trusted: a count is
 * compared with the length of the file before anything is made of it.
 *
 * Stored pages have numbers, as many to a chunk as go into it. Those of the
 * working set begin with a chunk of their own, so that their numbers begin at
 * image_first_ahead and who reads them reads nothing else.
 */
#ifndef UF_IMAGE_FORMAT_H
#define UF_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAGIC      "\x89UFI\r\n\x1a\n"
#define IMAGE_VERSION    2u
#define IMAGE_BYTE_ORDER 0x01020304u

/* image_header.flags: the pages that no extent names are the parent's. */
#define IMAGE_INCREMENTAL 0x1u
/* It comes back at its own address only. */
#define IMAGE_FIXED 0x2u
#define IMAGE_FLAGS 0x3u

#define IMAGE_CHUNK_BYTES     (64u << 10)
#define IMAGE_CHUNK_BYTES_MAX (1u << 20)
#define IMAGE_PARENT_MAX      256

/* Numbers are in the byte order of the machine that wrote it. Everything that
 * is not used is 0. Addresses are bytes from the base of the space. */
struct image_header {
    char magic[8];
    uint32_t version;
    uint32_t byte_order;
    uint32_t page_bytes;
    uint32_t chunk_bytes; /* of a whole chunk, before it was compressed */
    uint32_t flags;       /* IMAGE_* */
    uint32_t codec;       /* enum uf_image_codec: what was asked for */
    uint8_t id[16];       /* random */
    uint8_t parent[16];   /* its id; 0 without IMAGE_INCREMENTAL */
    uint64_t base;        /* where the space was */
    uint64_t len_bytes;   /* of the space */
    uint64_t brk;
    uint64_t file_bytes;
    uint64_t index_offset;
    uint64_t index_checksum;
    uint64_t nmappings;
    uint64_t nextents;
    uint64_t nchunks;
    uint64_t nworking;
    uint64_t npages;                    /* stored, all of them */
    uint64_t nahead;                    /* of these, with the working set */
    char parent_name[IMAGE_PARENT_MAX]; /* a file beside this one */
    uint8_t unused[88];
    uint64_t checksum; /* of the 504 bytes before */
};

struct image_mapping {
    uint64_t start;
    uint64_t len_bytes;
    uint32_t prot;  /* PROT_* */
    uint32_t flags; /* UF_VMA_*, of IMAGE_MAPPING_FLAGS */
};

/* The first stored page of an extent that stores none: its pages are zero,
 * although the parent's may not be. */
#define IMAGE_ZEROS UINT64_MAX

struct image_extent {
    uint64_t page; /* number of the first, from the base */
    uint64_t npages;
    uint64_t first; /* its number among the stored pages, or IMAGE_ZEROS */
};

struct image_chunk {
    uint64_t offset;   /* in the file */
    uint64_t checksum; /* of the bytes there */
    uint32_t stored_bytes;
    uint32_t codec; /* enum uf_image_codec: what it came to */
};

/* What a mapping keeps. Locks are not kept, nor is what is shared. */
#define IMAGE_MAPPING_FLAGS 0x7fc8u

_Static_assert(sizeof(struct image_header) == 512, "image_header");
_Static_assert(sizeof(struct image_mapping) == 24, "image_mapping");
_Static_assert(sizeof(struct image_extent) == 24, "image_extent");
_Static_assert(sizeof(struct image_chunk) == 24, "image_chunk");

/* The index in memory: its bytes, and where each part begins. */
struct image_index {
    void *bytes;
    size_t len_bytes;
    const struct image_mapping *mappings;
    const struct image_extent *extents;
    const struct image_chunk *chunks;
    const uint64_t *working;
};

uint64_t image_checksum(const void *bytes, size_t len_bytes);

/* Sets header->checksum. */
void image_header_seal(struct image_header *header);

/*
 * Is it the header of a file of file_bytes? 0; -EBADMSG: not an image, or
 * damaged; -EOPNOTSUPP: whole, and of another version, byte order or page size,
 * or with a flag or codec that is not known. After 0 the counts are such that
 * the index has the length that it should, and fits in memory.
 */
int image_header_check(const struct image_header *header, uint64_t file_bytes,
                       size_t page_bytes);

/* The number of the first stored page of the working set. */
uint64_t image_first_ahead(const struct image_header *header);

/* How many pages chunk number `i` holds. Requires: i < nchunks. */
uint64_t image_chunk_pages(const struct image_header *header, uint64_t i);

/* Where the index's parts begin. Requires: a checked header. */
void image_index_lay_out(const struct image_header *header,
                         struct image_index *index);

/* The same three answers for the index. After 0: mappings and extents ascend
 * and do not overlap, an extent lies in one mapping, the chunks fill the file
 * from header to index, each page of the working set is mapped. */
int image_index_check(const struct image_header *header,
                      const struct image_index *index);

/* The mapping that holds `page`, or NULL. */
const struct image_mapping *image_find_mapping(const struct image_header *h,
                                               const struct image_index *index,
                                               uint64_t page);

/* The first extent that ends above `page`; header->nextents if there is none.
 * Requires: checked. */
size_t image_find_extent(const struct image_header *header,
                         const struct image_index *index, uint64_t page);

#endif
