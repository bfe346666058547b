/* SPDX-License-Identifier: MIT */
/* See reader.h: opening an image and letting go of it. */
#include "image/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/range.h"
#include "base/slab.h"
#include "image/calls.h"
#include "image/codec.h"
#include "image/replace.h"
#include "ufault/ufault.h"

static struct slab_cache images = SLAB_CACHE("image", sizeof(struct uf_image));

static int read_header(struct uf_image *image)
{
    struct stat st = {0}; /* touched by us: the stack may be a space's */
    int err;

    if (fstat(image->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(image->header))
        return -EBADMSG;
    err = image_read_all(image->fd, &image->header, sizeof(image->header), 0);
    if (err)
        return err;
    return image_header_check(&image->header, (uint64_t)st.st_size,
                              page_size());
}

static size_t index_room(const struct uf_image *image)
{
    return align_up(image->index.len_bytes, page_size());
}

/* Its length is that of a part of the file, so no more is asked for than is
 * there. */
static int read_index(struct uf_image *image)
{
    const struct image_header *h = &image->header;
    struct image_index *index = &image->index;
    int err;

    index->len_bytes = h->file_bytes - h->index_offset;
    index->bytes = slab_pages(index_room(image) + page_size());
    if (!index->bytes)
        return -ENOMEM;
    err = image_read_all(image->fd, index->bytes, index->len_bytes,
                         h->index_offset);
    if (err)
        return err;
    image_index_lay_out(h, index);
    return image_index_check(h, index);
}

static int make_decoders(struct uf_image *image)
{
    size_t chunk = image->header.chunk_bytes;
    size_t work = align_up(codec_unpacker_bytes(), page_size());
    size_t each = 2 * chunk + work;

    image->work_bytes = work;
    image->memory_bytes = IMAGE_DECODERS * each;
    image->memory = slab_pages(image->memory_bytes);
    if (!image->memory)
        return -ENOMEM;
    for (unsigned i = 0; i < IMAGE_DECODERS; i++) {
        struct decoder *d = &image->decoders[i];

        d->plain = image->memory + i * each;
        d->stored = d->plain + chunk;
        d->work = d->stored + chunk;
    }
    return 0;
}

/* All but fd and parent. */
static void dissolve(struct uf_image *image)
{
    if (image->memory)
        slab_pages_free(image->memory, image->memory_bytes);
    if (image->index.bytes)
        slab_pages_free(image->index.bytes, index_room(image) + page_size());
    slab_free(&images, image);
}

int image_open_fd(int fd, struct uf_image **ret_image)
{
    struct uf_image *image = slab_alloc(&images);
    int err;

    if (!image)
        return -ENOMEM;
    atomic_init(&image->refs, 1);
    image->fd = fd;
    err = read_header(image);
    if (!err)
        err = read_index(image);
    if (!err)
        err = make_decoders(image);
    if (err) {
        dissolve(image);
        return err == -ENODATA ? -EBADMSG : err;
    }
    *ret_image = image;
    return 0;
}

/* The image of that name in a directory, without its parent. */
static int open_in(int dir, const char *name, struct uf_image **ret_image)
{
    struct stat st = {0}; /* touched by us: the stack may be a space's */
    int fd = image_sys->openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    int err;

    if (fd < 0)
        return -errno;
    err = fstat(dir, &st) < 0 ? -errno : image_open_fd(fd, ret_image);
    if (err) {
        close(fd);
        return err;
    }
    (*ret_image)->dir_device = st.st_dev;
    (*ret_image)->dir_inode = st.st_ino;
    strncpy((*ret_image)->name, name, IMAGE_PARENT_MAX - 1);
    return 0;
}

/* Opens the parent of each, up to the one that has none. */
static int open_parents(int dir, struct uf_image *image)
{
    uint32_t n = 0;
    int err = 0;

    for (struct uf_image *child = image;
         !err && (child->header.flags & IMAGE_INCREMENTAL);
         child = child->parent) {
        if (n++ == IMAGE_PARENTS_MAX)
            return -ELOOP;
        err = open_in(dir, child->header.parent_name, &child->parent);
        if (!err && memcmp(child->parent->header.id, child->header.parent,
                           sizeof(child->header.parent)) != 0)
            err = -ESTALE;
    }
    for (struct uf_image *child = image; !err && child; child = child->parent)
        child->nparents = n--;
    return err;
}

int image_open(const char *path, struct uf_image **ret_image)
{
    char name[REPLACE_NAME_MAX];
    struct uf_image *image;
    int dir, err;

    err = replace_open_dir(path, name, &dir);
    if (err == -EINVAL)
        return -EBADMSG; /* a directory is no image */
    if (err)
        return err;
    err = open_in(dir, name, &image);
    if (!err) {
        err = open_parents(dir, image);
        if (err)
            image_unref(image);
    }
    close(dir);
    if (!err)
        *ret_image = image;
    return err;
}

struct uf_image *image_ref(struct uf_image *image)
{
    atomic_fetch_add_explicit(&image->refs, 1, memory_order_relaxed);
    return image;
}

void image_unref(struct uf_image *image)
{
    while (image && atomic_fetch_sub_explicit(&image->refs, 1,
                                              memory_order_acq_rel) == 1) {
        struct uf_image *parent = image->parent;

        close(image->fd);
        dissolve(image);
        image = parent;
    }
}

int image_walk(const struct uf_image *image,
               int (*visit)(void *data, const struct uf_vma_info *vma),
               void *data)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < image->header.nmappings; i++) {
        const struct image_mapping *m = &image->index.mappings[i];
        const struct uf_vma_info info = {
            .size = sizeof(info),
            .start = image->header.base + m->start,
            .end = image->header.base + m->start + m->len_bytes,
            .prot = (int)m->prot,
            .flags =
                m->flags | (m->start < image->header.brk ? UF_VMA_HEAP : 0),
            .offset = m->start,
            .pager = "image",
        };

        rc = visit(data, &info);
    }
    return rc;
}

void image_info(const struct uf_image *image, struct uf_image_info *info)
{
    const struct image_header *h = &image->header;

    *info = (struct uf_image_info){
        .size = sizeof(*info),
        .version = h->version,
        .codec = h->codec,
        .chunk_bytes = h->chunk_bytes,
        .nparents = image->nparents,
        .base = h->base,
        .len_bytes = h->len_bytes,
        .brk = h->brk,
        .nmappings = h->nmappings,
        .stored_pages = h->npages,
        .data_bytes = h->index_offset - sizeof(*h),
        .file_bytes = h->file_bytes,
        .nworking = h->nworking,
        .nahead = h->nahead,
        .flags = h->flags & IMAGE_FIXED ? UF_IMAGE_FIXED : 0,
    };
    memcpy(info->id, h->id, sizeof(info->id));
    memcpy(info->parent, h->parent, sizeof(info->parent));
    for (size_t i = 0; i < h->nmappings; i++)
        info->mapped_pages +=
            image->index.mappings[i].len_bytes / h->page_bytes;
}

size_t image_working_set(const struct uf_image *image, uint64_t *pages,
                         size_t max)
{
    size_t n = image->header.nworking;

    if (max > 0 && n > 0)
        memcpy(pages, image->index.working,
               (n < max ? n : max) * sizeof(*pages));
    return n;
}
