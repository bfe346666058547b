/* SPDX-License-Identifier: MIT */
/* image_dir: a directory for the images of a test program, and a small one in
 * it. All assert. */
#ifndef TESTS_LIB_IMAGE_DIR_H
#define TESTS_LIB_IMAGE_DIR_H

#include <sys/types.h>

#include "ufault/image.h"

/* The directory; two files in it; one in a directory below. */
extern char image_dir[32];
extern char image_path[64], image_other[64], image_inner[64];

/* cmocka's, of the group and of each test, which finds no files. */
int image_dir_set_up(void **state);
int image_dir_clear(void **state);
int image_dir_tear_down(void **state);

/* A space with 8 pages of heap, all written. */
struct uf_space *image_dir_space(void);
/* That as image_path, one page a chunk, not compressed. */
void image_dir_save(void);
/* Changes one bit. */
void image_dir_damage(const char *path, off_t offset);

#endif
