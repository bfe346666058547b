/* SPDX-License-Identifier: MIT */
/* checkpoint: a running space into an image. */
#ifndef UF_IMAGE_CHECKPOINT_H
#define UF_IMAGE_CHECKPOINT_H

#include "ufault/checkpoint.h"

/* As uf_checkpoint; opts are valid, *result is written with 0 alone. Other errnos
 * of the file system come through. */
int image_checkpoint(struct uf_space *space, const char *path,
                     const struct uf_image_opts *opts,
                     struct uf_checkpoint_result *result);

#endif
