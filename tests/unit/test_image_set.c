/* SPDX-License-Identifier: MIT */
/*
 * Where the pages of a working set lie in an image, and how little it takes to
 * read them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"
#include "image/calls.h"
#include "lib/image_file.h"

static struct uf_image *open_image(const char *drawing,
                                   enum uf_image_codec codec,
                                   uint32_t chunk_bytes, const uint64_t *pages,
                                   size_t npages)
{
    int fd = image_file_make(drawing, codec, chunk_bytes, pages, npages);
    struct uf_image *image;

    assert_int_equal(image_open_fd(fd, &image), 0);
    return image;
}

/* The pages of the set that are stored lie together, in its order, in chunks that
 * hold nothing else; zeros and what is named twice take no room. */
static void the_set_lies_together(void **state)
{
    static const char drawing[] = "abcdefgh..ijklmnop qrst|uvwxyz";
    static const uint64_t pages[] = {20, 3, 8, 2, 17, 3, 26, 4};
    static const uint64_t stored[] = {20, 3, 2, 17, 26, 4};
    const uint32_t page_bytes = (uint32_t)page_size();
    struct uf_image *image;
    uint64_t first;

    (void)state;
    for (enum uf_image_codec codec = 0; codec < UF_IMAGE_CODECS; codec++)
        for (uint32_t per_chunk = 1; per_chunk <= 4; per_chunk *= 2) {
            image =
                open_image(drawing, codec, per_chunk * page_bytes, pages, 8);
            assert_int_equal(image->header.nahead, 6);
            assert_int_equal(image->header.npages, 26);
            first = image_first_ahead(&image->header);
            assert_int_equal(first % per_chunk, 0);
            assert_true(first >= 20 && first < 20 + per_chunk);
            for (size_t i = 0; i < 6; i++) {
                struct image_run run = image_run_at(image, stored[i], 1);

                assert_ptr_equal(run.image, image);
                assert_int_equal(run.first, first + i);
            }
            assert_int_equal(image_run_at(image, 0, 99).npages, 2);
            assert_int_equal(image_file_good_pages(image, drawing),
                             strlen(drawing) - 2);
            assert_int_equal(image_verify(image, NULL), 0);
            image_unref(image);
        }
}

static unsigned nahead_calls;
static uint64_t ahead_offset, ahead_bytes;

static ssize_t note_ahead(int fd, off64_t offset, size_t len_bytes)
{
    (void)fd;
    nahead_calls++;
    ahead_offset = (uint64_t)offset;
    ahead_bytes = len_bytes;
    return 0;
}

/* Who reads the set ahead has the kernel read all that follows of it, once; who
 * waits for a page, or reads another, asks for nothing more. */
static void the_set_is_read_in_one_piece(void **state)
{
    static const uint64_t pages[] = {20, 3, 2, 17, 26, 4};
    const struct image_calls *real = image_sys;
    struct image_calls noting = *real;
    struct uf_image *image;
    unsigned char bytes[65536];
    uint64_t done;

    (void)state;
    noting.readahead = note_ahead;
    image = open_image("abcdefghijklmnopqrstuvwxyzab", UF_IMAGE_LZ4,
                       (uint32_t)page_size(), pages, 6);
    image_sys = &noting;
    assert_int_equal(image_read(image, IMAGE_AHEAD, 5, 1, bytes, &done), 0);
    assert_int_equal(image_read(image, IMAGE_FILL, 20, 1, bytes, &done), 0);
    assert_int_equal(nahead_calls, 0);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(
            image_read(image, IMAGE_AHEAD, pages[i], 1, bytes, &done), 0);
    assert_int_equal(nahead_calls, 1);
    assert_int_equal(
        ahead_offset,
        image->index.chunks[image_first_ahead(&image->header)].offset);
    assert_int_equal(ahead_offset + ahead_bytes, image->header.index_offset);
    /* The next start. */
    image_read_ahead(image);
    assert_int_equal(nahead_calls, 2);
    image_sys = real;
    image_unref(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_set_lies_together),
        cmocka_unit_test(the_set_is_read_in_one_piece),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
