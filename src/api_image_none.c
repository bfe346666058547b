/* SPDX-License-Identifier: MIT */
/* The functions of ufault/image.h and ufault/checkpoint.h in a library that was built without images
 * (UFAULT_IMAGES off, or a library missing that they need). */
#include <errno.h>

#include "ufault/checkpoint.h"
#include "ufault/image.h"

int uf_image_save(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts)
{
    (void)space;
    (void)path;
    (void)opts;
    return -ENOSYS;
}

int uf_checkpoint(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts,
                  struct uf_checkpoint_result *result)
{
    (void)space;
    (void)path;
    (void)opts;
    (void)result;
    return -ENOSYS;
}

int uf_image_open(const char *path, struct uf_image **ret_image)
{
    (void)path;
    (void)ret_image;
    return -ENOSYS;
}

void uf_image_close(struct uf_image *image)
{
    (void)image;
}

int uf_image_info(struct uf_image *image, struct uf_image_info *info)
{
    (void)image;
    (void)info;
    return -ENOSYS;
}

ssize_t uf_image_working_set(struct uf_image *image, uint64_t *pages,
                             size_t max)
{
    (void)image;
    (void)pages;
    (void)max;
    return -ENOSYS;
}

int uf_image_verify(struct uf_image *image, uint64_t *ret_page)
{
    (void)image;
    (void)ret_page;
    return -ENOSYS;
}

int uf_image_walk(struct uf_image *image,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data)
{
    (void)image;
    (void)visit;
    (void)data;
    return -ENOSYS;
}

int uf_image_read(struct uf_image *image, uint64_t page, uint64_t npages,
                  void *buffer)
{
    (void)image;
    (void)page;
    (void)npages;
    (void)buffer;
    return -ENOSYS;
}

int uf_image_flatten(struct uf_image *image, const char *path)
{
    (void)image;
    (void)path;
    return -ENOSYS;
}

int uf_image_set_working_set(struct uf_image *image, const char *path,
                             const struct uf_working_set *set)
{
    (void)image;
    (void)path;
    (void)set;
    return -ENOSYS;
}

int uf_space_from_image(struct uf_image *image,
                        const struct uf_space_opts *opts,
                        struct uf_space **ret_space)
{
    (void)image;
    (void)opts;
    (void)ret_space;
    return -ENOSYS;
}
