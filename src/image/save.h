/* SPDX-License-Identifier: MIT */
/* save: a space into an image. */
#ifndef UF_IMAGE_SAVE_H
#define UF_IMAGE_SAVE_H

#include "image/writer.h"
#include "ufault/image.h"

struct uf_space;

/* As uf_image_save; codec, level and chunk_bytes are valid. Other errnos of
 * the file system come through. */
int image_save(struct uf_space *space, const char *path,
               const struct uf_image_opts *opts);

/* An image and its parents as one image that stands alone, called `path`, with
 * the same id: what was saved with it as parent goes on with this. 0 or
 * -errno. */
int image_flatten(struct uf_image *image, const char *path);

/* The same image with another working set, called `path`; an incremental one
 * stays so. 0 or -errno; as uf_image_set_working_set. */
int image_rewrite_working(struct uf_image *image, const char *path,
                          const uint64_t *pages, size_t npages);

#endif
