/* SPDX-License-Identifier: MIT */
/*
 * ufault/image.h: a space as a file, and back again.
 *
 *     space ── uf_image_save ──► file ── uf_image_open ──► image
 *                                                            │
 *              touched pages, one by one ◄── uf_space_from_image, at the same
 *                                            address or another
 *
 * An image holds the break, the mappings with protection and advice, and what
 * is in their pages; zeros take no room. A space made from it is there at once:
 * a page is read, checked and decompressed when it is first touched, a chunk of
 * 64 KiB at a time. One image may serve any number of spaces. A page whose
 * bytes in the file are not what they were is never served: its toucher gets
 * SIGBUS and on_error is told. What a run is known to touch can be brought in
 * before it is: ufault/working_set.h.
 *
 * An image may be incremental: only what differs from a parent, which is looked
 * for beside it. The format: docs/image-format.md.
 *
 * What a space made from an image is not:
 *   - Its pages are those of a pager. As with a private mapping of a file, what
 *     is dropped (MADV_DONTNEED) reads as in the image again, and so does what
 *     mremap cuts off a mapping and adds again. What the break leaves and
 *     comes back to is zeros. A mapping that holds zeros alone is anonymous.
 *   - Nothing in it is locked, and a private mapping of a file is memory with
 *     its contents. A child of fork has it as enum uf_fork says of pagers.
 *   - Stacks (MAP_GROWSDOWN) are brought back whole and at once.
 *
 * Any thread may call these, not from a signal handler. A library that was
 * built without images answers -ENOSYS.
 */
#ifndef UFAULT_IMAGE_H
#define UFAULT_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_image;
struct uf_space;
struct uf_space_opts;
struct uf_vma_info;
struct uf_working_set;

/* How chunks are compressed; one that does not get smaller is not. */
enum uf_image_codec {
    UF_IMAGE_ZSTD,
    UF_IMAGE_LZ4,
    UF_IMAGE_NONE,
    UF_IMAGE_CODECS /* how many there are */
};

/* What the space holds points into it: a space made from the image is where the
 * saved one was, or not at all. */
#define UF_IMAGE_FIXED 0x1u

struct uf_image_opts {
    size_t size;
    uint32_t codec; /* enum uf_image_codec */
    /* Of UF_IMAGE_ZSTD, 1 to 19; 0 means 1. The others have none. */
    uint32_t level;
    /* What is compressed, checked and read as one: a power of two, one page to
     * 1 MiB; 0 means 64 KiB. */
    uint32_t chunk_bytes;
    uint32_t flags; /* UF_IMAGE_* */
    /* Save only what differs from this image, which lies in the directory of
     * the new one and is needed as long as that is; NULL: save all. */
    struct uf_image *parent;
    /* Pages in the order in which they were first touched, by number from the
     * base of the space, each of them mapped (ufault/working_set.h). They are
     * stored together in this order, to be brought in ahead. */
    const uint64_t *working;
    size_t nworking;
};

/*
 * uf_image_save: writes the space to a file called `path`. `opts` may be NULL:
 * all defaults. The file has mode 0600 and is whole when it gets its name: it is
 * written under another one in the same directory, synced and renamed, and the
 * directory synced. After an error, a crash included, `path` is what it was (if
 * the very last step fails, or is the new image). A crash may leave a
 * file ".ufault-image.*" behind.
 *
 * Requires: nobody writes to the space or changes its mappings meanwhile. Pages
 * of zeros that were never touched stay absent; those that a pager supplies are
 * brought in. A mapping without PROT_READ has it while it is read.
 *
 * Returns 0 or
 *   -EINVAL      no live space; path is NULL or names no file, or the parent;
 *                opts->size or opts->flags is unknown; no such codec, level or
 *                chunk_bytes; working is NULL and nworking is not 0, or one of its pages is
 *                not mapped
 *   -EOPNOTSUPP  the space has what an image cannot hold: shared memory
 *                (MAP_SHARED), pages under MADV_GUARD_INSTALL
 *   -EFAULT      a page cannot be had: its pager failed, its file ends before
 *   -EXDEV       the parent lies in another directory
 *   -EBADMSG     the parent is damaged
 *   -EDEADLK     called from a handler thread
 *   -ENOMEM      no memory
 *   -ENOENT, -ENOTDIR, -EACCES, -EISDIR, -ENAMETOOLONG  as open(2), rename(2)
 *   -EMFILE      no descriptor left
 *   -ENOSPC, -EFBIG  the file system is full; a limit on the file's size
 *   -EIO         the file cannot be written, for any other reason
 *   -ENOSYS      built without images
 */
int uf_image_save(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts);

/*
 * uf_image_open: opens an image, and the parents that it needs. Header and index
 * are read and checked, pages are not. The file may be renamed or deleted
 * meanwhile, but must not be written to.
 *
 * Returns 0 or
 *   -EINVAL      path or ret_image is NULL
 *   -EBADMSG     the file is not an image, or damaged
 *   -EOPNOTSUPP  an image of another version, byte order or page size
 *   -ENOENT, -ENOTDIR, -EACCES, -ENAMETOOLONG  as open(2), for the file or a
 *                parent of it
 *   -ESTALE      the parent is another image than the one it was saved with
 *   -ELOOP       more than 64 parents
 *   -EMFILE      no descriptor left
 *   -ENOMEM      no memory for the index
 *   -EIO         the file cannot be read
 *   -ENOSYS      built without images
 */
int uf_image_open(const char *path, struct uf_image **ret_image);

/* Gives the image back; NULL does nothing. Spaces that were made from it, and
 * images opened with it as their parent, keep what they need. */
void uf_image_close(struct uf_image *image);

struct uf_image_info {
    size_t size;
    uint32_t version;     /* of the format */
    uint32_t codec;       /* enum uf_image_codec */
    uint32_t chunk_bytes; /* before compression */
    uint32_t nparents;    /* how many images it stands on */
    uint8_t id[16];       /* random, made when it was saved */
    uint8_t parent[16];   /* of the nearest one; 0 if there is none */
    uintptr_t base;       /* where the space was */
    size_t len_bytes;     /* how long it was */
    size_t brk;           /* the break, in bytes from the base */
    uint64_t nmappings;
    uint64_t mapped_pages;
    uint64_t stored_pages; /* in this file: neither zeros nor the parents' */
    uint64_t data_bytes;   /* what they take in the file */
    uint64_t file_bytes;   /* all of it */
    uint64_t nworking;     /* pages of the working set; 0: none was saved */
    uint64_t nahead;       /* of these, stored here: no zeros, no parents' */
    uint64_t flags;        /* UF_IMAGE_*, as it was saved */
};

/*
 * uf_image_info: what the image says of itself. info->size must be set.
 *
 * Returns 0 or
 *   -EINVAL  image or info is NULL; info->size is unknown
 *   -ENOSYS  built without images
 */
int uf_image_info(struct uf_image *image, struct uf_image_info *info);

/*
 * uf_image_working_set: copies the page numbers, at most `max` of them. Returns
 * how many there are, or
 *   -EINVAL  image is NULL; pages is NULL and max is not 0
 *   -ENOSYS  built without images
 */
ssize_t uf_image_working_set(struct uf_image *image, uint64_t *pages,
                             size_t max);

/*
 * uf_image_verify: reads all of the image and of its parents and compares
 * every checksum. *ret_page, if not NULL, is set with -EBADMSG and -EIO: the
 * number of the first page, from the base, that cannot be had.
 *
 * Returns 0 or
 *   -EINVAL   image is NULL
 *   -EBADMSG  it is damaged
 *   -EIO      the file cannot be read
 *   -ENOSYS   built without images
 */
int uf_image_verify(struct uf_image *image, uint64_t *ret_page);

/*
 * uf_image_walk: as uf_space_walk, over the mappings of the image, at the
 * addresses that they had. `pager` is "image", `offset` what lies between the
 * base and the mapping.
 *
 * Returns 0, what visit returned, or
 *   -EINVAL  image or visit is NULL
 *   -ENOSYS  built without images
 */
int uf_image_walk(struct uf_image *image,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data);

/*
 * uf_image_read: the bytes of pages [page, page + npages), by number from the
 * base; zeros where nothing is mapped. After an error the buffer holds anything.
 *
 * Returns 0 or
 *   -EINVAL   image or buffer is NULL; the range is not inside the space
 *   -EBADMSG  a page is damaged
 *   -EIO      the file cannot be read
 *   -ENOSYS   built without images
 */
int uf_image_read(struct uf_image *image, uint64_t page, uint64_t npages,
                  void *buffer);

/*
 * uf_image_flatten: writes an image and its parents as one image that stands
 * alone, to a file called `path`, as uf_image_save does. It has the same id: what
 * was saved with the image as parent can go on with this one in its place.
 *
 * Returns 0 or
 *   -EINVAL   image or path is NULL; path names no file
 *   -EBADMSG  a page is damaged
 *   -ENOMEM   no memory
 *   -ENOENT, -ENOTDIR, -EACCES, -EISDIR, -ENAMETOOLONG  as open(2), rename(2)
 *   -EMFILE   no descriptor left
 *   -ENOSPC, -EFBIG  the file system is full; a limit on the file's size
 *   -EIO      a file cannot be read or written, for any other reason
 *   -ENOSYS   built without images
 */
int uf_image_flatten(struct uf_image *image, const char *path);

/*
 * uf_image_set_working_set: writes the image anew, with this working set in the
 * place of its own, to a file called `path`, as uf_image_save does; the image's own
 * path will do, and the image that is open stays what it is. It has the same id
 * and parent. Pages of the set that the image does not map are left out (the
 * recorded run mapped them later); NULL is the set of no pages.
 *
 * Returns 0 or
 *   -EINVAL   image or path is NULL; path names no file, or the parent
 *   -EXDEV    the parent lies in another directory
 *   and else what uf_image_flatten returns
 */
int uf_image_set_working_set(struct uf_image *image, const char *path,
                             const struct uf_working_set *set);

/*
 * uf_space_from_image: a new space that is as the saved one was, and can be that
 * again (uf_space_reset). `opts` is
 * uf_space_create's, or NULL: all defaults; len_bytes 0 means as long as it
 * was, address 0 the kernel's choice, or, of a UF_IMAGE_FIXED one, where it was. What
 * the heap grows into is opts->heap_pager's, or zeros. The image may be closed
 * then. If it has a working set, that begins to come in ahead
 * (uf_working_set_ahead) unless opts->flags has UF_SPACE_NO_AHEAD; it is no
 * error if that cannot be.
 *
 * Returns 0 or
 *   -EINVAL   image or ret_space is NULL; opts->len_bytes is too small for its
 *             mappings; opts->address is not where a UF_IMAGE_FIXED one was;
 *             UF_FORK_ZERO; opts are wrong otherwise
 *   -EEXIST   something is mapped in the range asked for
 *   -ENOMEM   no address space; a limit of opts; no memory
 *   -EBADMSG  the image is damaged (where a stack is saved)
 *   -EIO      it cannot be read (the same)
 *   -EDEADLK  called from a handler thread
 *   -ENOSYS   built without images
 * and whatever else keeps uf_space_create from making a space.
 */
int uf_space_from_image(struct uf_image *image,
                        const struct uf_space_opts *opts,
                        struct uf_space **ret_space);

#ifdef __cplusplus
}
#endif

#endif
