/* SPDX-License-Identifier: MIT */
/*
 * image_file: small images in memory (memfd), without a space, as a drawing.
 *
 * One character is a page, from the base:
 *
 *     a..z  mapped, of bytes that belong to the letter and its place
 *     .     mapped, zeros
 *     0     mapped, zeros that are said (for an image with a parent)
 *     ' '   not mapped
 *     |     takes no page: here a mapping ends and the next one begins
 */
#ifndef TESTS_LIB_IMAGE_FILE_H
#define TESTS_LIB_IMAGE_FILE_H

#include "image/reader.h"
#include "image/writer.h"

#define IMAGE_FILE_BASE 0x7000000000u
#define IMAGE_FILE_LEN  ((uint64_t)1 << 20)

/* A descriptor of it, its offset of no meaning. Asserts. */
int image_file_make(const char *drawing, enum uf_image_codec codec,
                    uint32_t chunk_bytes, const uint64_t *working,
                    size_t nworking);

/* What a page of the drawing holds. */
void image_file_page(char letter, uint64_t page, unsigned char *bytes);

/* A copy of the first len_bytes, to be changed. Asserts. */
int image_file_copy(int fd, uint64_t len_bytes);
uint64_t image_file_bytes(int fd);

/* Puts a byte at `offset`. Asserts. */
void image_file_put(int fd, uint64_t offset, unsigned char byte);

/* Makes the checksums of header and index right again, as one who wants to
 * harm would. Asserts. */
void image_file_seal(int fd);

/* How many mapped pages of the drawing are right in the image; the others could
 * not be read. One that is neither is a failure of the test. */
size_t image_file_good_pages(struct uf_image *image, const char *drawing);

#endif
