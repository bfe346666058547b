/* SPDX-License-Identifier: MIT */
/*
 * reader: an image in an open file, and any page of it.
 *
 *     image_open ──► struct uf_image ──► its parent ──► ...
 *                        │ index, checked, in memory of our own
 *     image_run_at       page -> whose it is: zeros, or stored here or above
 *     image_read         page -> bytes: at most one read a chunk
 *
 * After image_open nothing allocates, and no lock is taken: pages may be read by
 * any number of threads at once, and by a signal handler (UF_PAGER_SIGNAL_SAFE).
 * Each takes one of a few decoders by a compare-and-swap, for one chunk, and
 * waits for one if all are in use. That ends: half of them are for fills alone,
 * which hold one with all signals blocked and touch no memory of a space; so
 * nobody holds one of these and needs another. Who reads otherwise may be
 * interrupted while he holds one of the first half, by a handler whose touch
 * is such a fill. A decoder remembers its last chunk, for the neighbour's fault.
 */
#ifndef UF_IMAGE_READER_H
#define UF_IMAGE_READER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "image/format.h"
#include "ufault/image.h"

struct uf_vma_info;

#define IMAGE_DECODERS    8u /* even */
#define IMAGE_PARENTS_MAX 64u

/* Of the working set the file is read by the kernel so far ahead, by so much at
 * once. */
#define IMAGE_AHEAD_BYTES      (2u << 20)
#define IMAGE_AHEAD_READ_BYTES (1u << 20)

struct decoder {
    atomic_int owner; /* a process id: one from before a fork is nobody */
    uint64_t chunk;   /* 1 + the one that `plain` holds; 0: none */
    char *plain;
    char *stored;
    char *work;
};

struct uf_image {
    atomic_uint refs;
    int fd;
    dev_t dir_device; /* where it lies, for parents and children */
    ino_t dir_inode;
    char name[IMAGE_PARENT_MAX];
    struct image_header header;
    struct image_index index;
    struct uf_image *parent; /* one reference; NULL */
    uint32_t nparents;
    char *memory; /* of the decoders */
    size_t memory_bytes;
    size_t work_bytes;
    struct decoder decoders[IMAGE_DECODERS];
    /* What of the working set was asked for: from, to, in the file. */
    _Atomic uint64_t ahead_from, ahead_to;
};

/*
 * The image in fd, which it closes in the end (not if this fails), but for its
 * parent. 0, -EBADMSG, -EOPNOTSUPP, -ENOMEM, or what reading said.
 */
int image_open_fd(int fd, struct uf_image **ret_image);

/* The same by path, with parents; as uf_image_open. */
int image_open(const char *path, struct uf_image **ret_image);

struct uf_image *image_ref(struct uf_image *image);
/* Async-signal-safe but for the slab's lock. */
void image_unref(struct uf_image *image);

/* Consecutive pages that are all zeros (image is NULL), or all stored in one
 * image, consecutively. */
struct image_run {
    uint64_t npages;
    struct uf_image *image;
    uint64_t first; /* number of the first among its stored pages */
};

/* The run that begins at `page`, of at most npages > 0. */
struct image_run image_run_at(struct uf_image *image, uint64_t page,
                              uint64_t npages);

/* True if all of [page, page + npages) is zeros. */
bool image_is_zeros(struct uf_image *image, uint64_t page, uint64_t npages);

/* Why pages are read. */
enum image_use {
    IMAGE_FILL,  /* by a pager, into the library's buffer */
    IMAGE_AHEAD, /* the same, and nobody waits for it; signals are blocked */
    IMAGE_ASKED  /* by a call, into any memory */
};

/* The bytes of [page, page + npages). *ret_done: how many pages, from the
 * start, are good, whatever is returned: 0, -EBADMSG, or what reading said. */
int image_read(struct uf_image *image, enum image_use use, uint64_t page,
               uint64_t npages, void *buffer, uint64_t *ret_done);

/* Has the kernel begin to read the working set, where it begins in the file. */
void image_read_ahead(struct uf_image *image);

/* As uf_image_verify. */
int image_verify(struct uf_image *image, uint64_t *ret_page);

/* As uf_image_walk, uf_image_info and uf_image_working_set. */
int image_walk(const struct uf_image *image,
               int (*visit)(void *data, const struct uf_vma_info *vma),
               void *data);
void image_info(const struct uf_image *image, struct uf_image_info *info);
size_t image_working_set(const struct uf_image *image, uint64_t *pages,
                         size_t max);

/* Zeros in the pages of [page, page + npages) where nothing is mapped: a parent
 * may have bytes there. */
void image_clear_unmapped(const struct uf_image *image, uint64_t page,
                          uint64_t npages, void *buffer);

#endif
