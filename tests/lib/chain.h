/* SPDX-License-Identifier: MIT */
/* chain: checkpoints, each on the one before, in files of image_dir.h. All assert. */
#ifndef TESTS_LIB_CHAIN_H
#define TESTS_LIB_CHAIN_H

#include "ufault/checkpoint.h"

#define CHAIN_MAX 8

/* The file of the n-th, to CHAIN_MAX: two names in turn would be their own
 * parents. And all of them deleted. */
const char *chain_name(unsigned n);
void chain_unlink(void);

/* A checkpoint, opened. `parent` is closed. */
struct uf_image *chain_checkpoint(struct uf_space *space, const char *path,
                                  struct uf_image *parent,
                                  struct uf_checkpoint_result *result);

/* A space that is made from the image is as this one is, which is at rest and
 * not longer than one of lot.h. */
void chain_expect(struct uf_space *space, struct uf_image *image);

#endif
