/* SPDX-License-Identifier: MIT */
/*
 * The functions of ufault/image.h and ufault/checkpoint.h. As api.c: validate, call down, let only
 * documented errors out. In a library without images: api_image_none.c.
 */
#include "ufault/image.h"

#include <errno.h>

#include "api.h"
#include "base/range.h"
#include "fault/working_set.h"
#include "image/checkpoint.h"
#include "image/codec.h"
#include "image/reader.h"
#include "image/restore.h"
#include "image/save.h"
#include "ufault/ufault.h"

static bool opts_are_sound(const struct uf_image_opts *opts)
{
    uint32_t chunk = opts->chunk_bytes;

    return opts->size == sizeof(*opts) && opts->codec < UF_IMAGE_CODECS &&
           opts->level <= CODEC_LEVEL_MAX &&
           (opts->level == 0 || opts->codec == UF_IMAGE_ZSTD) &&
           (chunk == 0 || (chunk >= page_size() && (chunk & (chunk - 1)) == 0 &&
                           chunk <= IMAGE_CHUNK_BYTES_MAX)) &&
           (opts->flags & ~UF_IMAGE_FIXED) == 0 &&
           (opts->nworking == 0 || opts->working);
}

static int documented_for_save(int err)
{
    switch (err) {
    case 0:
    case -EINVAL:
    case -EOPNOTSUPP:
    case -EFAULT:
    case -EXDEV:
    case -EBADMSG:
    case -EDEADLK:
    case -ENOMEM:
    case -ENOENT:
    case -ENOTDIR:
    case -EACCES:
    case -EISDIR:
    case -ENAMETOOLONG:
    case -EMFILE:
    case -ENOSPC:
    case -EFBIG:
        return err;
    default:
        return -EIO;
    }
}

int uf_image_save(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts)
{
    struct uf_image_opts defaults = {.size = sizeof(defaults)};
    int err = api_may_call(space);

    if (!err && (!path || (opts && !opts_are_sound(opts))))
        err = -EINVAL;
    return err ? err
               : documented_for_save(
                     image_save(space, path, opts ? opts : &defaults));
}

int uf_checkpoint(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts,
                  struct uf_checkpoint_result *result)
{
    struct uf_image_opts defaults = {.size = sizeof(defaults)};
    int err = api_may_call(space);

    if (!err && (!path || (opts && !opts_are_sound(opts)) ||
                 (result && result->size != sizeof(*result))))
        err = -EINVAL;
    if (!err)
        err = image_checkpoint(space, path, opts ? opts : &defaults, result);
    return err == -EBUSY || err == -EAGAIN ? err : documented_for_save(err);
}

static int documented_for_open(int err)
{
    switch (err) {
    case 0:
    case -EBADMSG:
    case -EOPNOTSUPP:
    case -ENOENT:
    case -ENOTDIR:
    case -EACCES:
    case -ENAMETOOLONG:
    case -ESTALE:
    case -ELOOP:
    case -EMFILE:
    case -ENOMEM:
        return err;
    default:
        return -EIO;
    }
}

int uf_image_open(const char *path, struct uf_image **ret_image)
{
    if (!path || !ret_image)
        return -EINVAL;
    return documented_for_open(image_open(path, ret_image));
}

void uf_image_close(struct uf_image *image)
{
    image_unref(image);
}

int uf_image_info(struct uf_image *image, struct uf_image_info *info)
{
    if (!image || !info || info->size != sizeof(*info))
        return -EINVAL;
    image_info(image, info);
    return 0;
}

ssize_t uf_image_working_set(struct uf_image *image, uint64_t *pages,
                             size_t max)
{
    if (!image || (!pages && max > 0))
        return -EINVAL;
    return (ssize_t)image_working_set(image, pages, max);
}

int uf_image_verify(struct uf_image *image, uint64_t *ret_page)
{
    int err = image ? image_verify(image, ret_page) : -EINVAL;

    return err == 0 || err == -EINVAL || err == -EBADMSG ? err : -EIO;
}

int uf_image_walk(struct uf_image *image,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data)
{
    return image && visit ? image_walk(image, visit, data) : -EINVAL;
}

int uf_image_read(struct uf_image *image, uint64_t page, uint64_t npages,
                  void *buffer)
{
    uint64_t end, done;
    int err;

    if (!image || !buffer || __builtin_add_overflow(page, npages, &end) ||
        end > image->header.len_bytes / page_size())
        return -EINVAL;
    err = image_read(image, IMAGE_ASKED, page, npages, buffer, &done);
    if (!err)
        image_clear_unmapped(image, page, npages, buffer);
    return err == 0 || err == -EBADMSG ? err : -EIO;
}

int uf_image_flatten(struct uf_image *image, const char *path)
{
    if (!image || !path)
        return -EINVAL;
    return documented_for_save(image_flatten(image, path));
}

int uf_image_set_working_set(struct uf_image *image, const char *path,
                             const struct uf_working_set *set)
{
    if (!image || !path)
        return -EINVAL;
    return documented_for_save(image_rewrite_working(
        image, path, set ? set->pages : NULL, set ? set->npages : 0));
}

int uf_space_from_image(struct uf_image *image,
                        const struct uf_space_opts *opts,
                        struct uf_space **ret_space)
{
    if (!image || !ret_space || (opts && opts->size != sizeof(*opts)))
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    return image_restore(image, opts, ret_space);
}
