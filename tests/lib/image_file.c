/* SPDX-License-Identifier: MIT */
/* See image_file.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/range.h"
#include "lib/image_file.h"

void image_file_page(char letter, uint64_t page, unsigned char *bytes)
{
    uint64_t state = (uint64_t)(unsigned char)letter * 0x9e3779b97f4a7c15u;

    memset(bytes, 0, page_size());
    if (letter < 'a')
        return;
    memset(bytes, letter, page_size());
    /* Some of it does not compress. */
    for (size_t i = 0; i < page_size() / 8; i += 8) {
        state = (state + page) * 6364136223846793005u + 1442695040888963407u;
        memcpy(bytes + 8 * i, &state, 8);
    }
}

/* Writes the mapping that begins at `page`; returns the drawing behind it. */
static const char *put_mapping(struct image_writer *w, const char *at,
                               uint64_t *page)
{
    size_t len = strcspn(at, " |");
    struct image_mapping m = {.start = *page * page_size(),
                              .len_bytes = len * page_size(),
                              .prot = PROT_READ | PROT_WRITE};
    unsigned char bytes[65536];

    assert_int_equal(image_writer_mapping(w, &m), 0);
    for (; len > 0; len--, at++, ++*page) {
        image_file_page(*at, *page, bytes);
        if (*at >= 'a')
            assert_int_equal(image_writer_page(w, *page, bytes), 0);
        else if (*at == '0')
            assert_int_equal(image_writer_zeros(w, *page, 1), 0);
    }
    return at;
}

int image_file_make(const char *drawing, enum uf_image_codec codec,
                    uint32_t chunk_bytes, const uint64_t *working,
                    size_t nworking)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    struct image_params params = {.codec = codec,
                                  .level = 1,
                                  .chunk_bytes = chunk_bytes,
                                  .base = IMAGE_FILE_BASE,
                                  .len_bytes = IMAGE_FILE_LEN,
                                  .working = working,
                                  .nworking = nworking};
    struct image_writer w;
    uint64_t page = 0;

    assert_true(fd >= 0);
    assert_int_equal(image_writer_begin(&w, fd, &params), 0);
    while (*drawing) {
        if (*drawing == ' ' || *drawing == '|')
            page += *drawing++ == ' ';
        else
            drawing = put_mapping(&w, drawing, &page);
    }
    assert_int_equal(image_writer_finish(&w), 0);
    image_writer_end(&w);
    return fd;
}

uint64_t image_file_bytes(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

int image_file_copy(int fd, uint64_t len_bytes)
{
    int copy = memfd_create("copy", MFD_CLOEXEC);
    void *bytes = malloc(len_bytes + 1);

    assert_true(copy >= 0 && bytes);
    assert_int_equal(pread(fd, bytes, len_bytes, 0), len_bytes);
    assert_int_equal(pwrite(copy, bytes, len_bytes, 0), len_bytes);
    free(bytes);
    return copy;
}

void image_file_put(int fd, uint64_t offset, unsigned char byte)
{
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

void image_file_seal(int fd)
{
    uint64_t len = image_file_bytes(fd);
    unsigned char *bytes = malloc(len);
    struct image_header header;

    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, len, 0), len);
    memcpy(&header, bytes, sizeof(header));
    if (header.index_offset <= len)
        header.index_checksum = image_checksum(bytes + header.index_offset,
                                               len - header.index_offset);
    image_header_seal(&header);
    assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
    free(bytes);
}

size_t image_file_good_pages(struct uf_image *image, const char *drawing)
{
    unsigned char bytes[65536], right[65536];
    uint64_t page = 0, done;
    size_t good = 0;

    for (; *drawing; drawing++) {
        if (*drawing != ' ' && *drawing != '|') {
            image_file_page(*drawing, page, right);
            if (image_read(image, IMAGE_ASKED, page, 1, bytes, &done) == 0) {
                assert_int_equal(done, 1);
                assert_memory_equal(bytes, right, page_size());
                good++;
            }
        }
        page += *drawing != '|';
    }
    return good;
}
