/* SPDX-License-Identifier: MIT */
/* image_diff: how two images differ, on stdout; cmd_image.c has the legend. */
#ifndef UF_TOOLS_IMAGE_DIFF_H
#define UF_TOOLS_IMAGE_DIFF_H

struct uf_image;

/* How many lines were printed, or -errno. */
int image_diff(struct uf_image *first, struct uf_image *second);

/* What an -errno means of an image. */
const char *image_error(int err);

#endif
