/* SPDX-License-Identifier: MIT */
/* restore: an image as a space. */
#ifndef UF_IMAGE_RESTORE_H
#define UF_IMAGE_RESTORE_H

#include "image/reader.h"

struct uf_space;
struct uf_space_opts;
struct uf_pager;

/* As uf_space_from_image. */
int image_restore(struct uf_image *image, const struct uf_space_opts *opts,
                  struct uf_space **ret_space);

/* Lays the image out in a space where nothing is mapped. 0 or -errno. */
int image_lay_out(struct uf_image *image, struct uf_space *space);

/* reset.c: from now on uf_space_reset brings the space back to the image, as it
 * is now. 0 or -ENOMEM. */
int image_is_origin(struct uf_image *image, struct uf_space *space);

/*
 * A pager of pages [page, page + npages): offset 0 is the first, behind the last
 * come zeros. Holds a reference on the image. 0 or -ENOMEM.
 */
int image_pager(struct uf_image *image, uint64_t page, uint64_t npages,
                struct uf_pager **ret_pager);

/* True if `pager` is one of these and has npages pages from `offset` on: *ret_image
 * is its image, *ret_page the number there of the first. */
bool image_pager_pages(const struct uf_pager *pager, uint64_t offset,
                       uint64_t npages, struct uf_image **ret_image,
                       uint64_t *ret_page);

#endif
