/* SPDX-License-Identifier: MIT */
/*
 * An image that was written is read back, page by page and in runs; and what is
 * read of a damaged one is right or refused, never wrong: each byte flipped,
 * the file cut at each length, fields that lie under good checksums.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"
#include "base/slab.h"
#include "image/codec.h"
#include "lib/image_file.h"

#define DRAWING "abc..d|ef  .g|.|h  ....ijk"
#define NPAGES  19 /* mapped */

static const enum uf_image_codec codecs[] = {UF_IMAGE_ZSTD, UF_IMAGE_LZ4,
                                             UF_IMAGE_NONE};

static uint32_t page_bytes(void)
{
    return (uint32_t)page_size();
}

/* Opens what fd has; closes fd if it is none. */
static int open_image(int fd, struct uf_image **ret)
{
    int err = image_open_fd(fd, ret);

    if (err)
        close(fd);
    return err;
}

static void pages_come_back(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++)
        for (uint32_t chunk = page_bytes(); chunk <= 8 * page_bytes();
             chunk *= 2) {
            int fd = image_file_make(DRAWING, codecs[c], chunk, NULL, 0);
            struct uf_image *image;

            assert_int_equal(open_image(fd, &image), 0);
            assert_int_equal(image->header.npages, 11);
            assert_int_equal(image->header.nmappings, 6);
            assert_int_equal(image_file_good_pages(image, DRAWING), NPAGES);
            assert_int_equal(image_verify(image, NULL), 0);
            image_unref(image);
        }
}

static void runs_come_back(void **state)
{
    int fd = image_file_make("ab.cdefghij..klm", UF_IMAGE_ZSTD,
                             4 * page_bytes(), NULL, 0);
    unsigned char *all, *some;
    struct uf_image *image;
    uint64_t done;

    (void)state;
    all = malloc(16 * page_size());
    some = malloc(16 * page_size());
    assert_int_equal(open_image(fd, &image), 0);
    for (uint64_t i = 0; i < 16; i++)
        image_file_page("ab.cdefghij..klm"[i], i, all + i * page_size());
    for (uint64_t from = 0; from < 16; from++)
        for (uint64_t n = 1; from + n <= 16; n++) {
            assert_int_equal(
                image_read(image, IMAGE_ASKED, from, n, some, &done), 0);
            assert_int_equal(done, n);
            assert_memory_equal(some, all + from * page_size(),
                                n * page_size());
        }
    image_unref(image);
    free(all);
    free(some);
}

static void an_empty_image(void **state)
{
    struct uf_image *image;

    (void)state;
    assert_int_equal(
        open_image(image_file_make("", UF_IMAGE_LZ4, page_bytes(), NULL, 0),
                   &image),
        0);
    assert_int_equal(image->header.file_bytes, sizeof(struct image_header));
    assert_int_equal(image_verify(image, NULL), 0);
    image_unref(image);
}

static void a_working_set_is_kept(void **state)
{
    static const uint64_t pages[] = {3, 1, 2, 18};
    struct uf_image *image;
    uint64_t got[4] = {0};

    (void)state;
    assert_int_equal(open_image(image_file_make(DRAWING, UF_IMAGE_ZSTD,
                                                page_bytes(), pages, 4),
                                &image),
                     0);
    assert_int_equal(image_working_set(image, got, 2), 4);
    assert_int_equal(got[1], 1);
    assert_int_equal(got[2], 0);
    assert_int_equal(image_working_set(image, got, 4), 4);
    assert_memory_equal(got, pages, sizeof(pages));
    image_unref(image);
}

/* A decoder that somebody holds. */
static void hold(struct uf_image *image, unsigned first, unsigned end, int pid)
{
    for (unsigned i = first; i < end; i++) {
        atomic_store(&image->decoders[i].owner, pid);
        image->decoders[i].chunk = 1; /* and it is not true */
    }
}

/* A fork leaves decoders held by threads that the child does not have. */
static void decoders_of_before_a_fork(void **state)
{
    struct uf_image *image;

    (void)state;
    assert_int_equal(open_image(image_file_make("abcd", UF_IMAGE_LZ4,
                                                4 * page_bytes(), NULL, 0),
                                &image),
                     0);
    for (int i = 0; i < 3; i++) {
        hold(image, 0, IMAGE_DECODERS, getpid() + 1);
        assert_int_equal(image_file_good_pages(image, "abcd"), 4);
    }
    image_unref(image);
}

/* Whoever was interrupted while he read holds one of the first half. */
static void fills_have_decoders_of_their_own(void **state)
{
    unsigned char bytes[65536], right[65536];
    struct uf_image *image;
    uint64_t done;

    (void)state;
    assert_int_equal(open_image(image_file_make("abcd", UF_IMAGE_LZ4,
                                                4 * page_bytes(), NULL, 0),
                                &image),
                     0);
    hold(image, 0, IMAGE_DECODERS / 2, getpid());
    for (uint64_t page = 0; page < 4; page++) {
        assert_int_equal(image_read(image, IMAGE_FILL, page, 1, bytes, &done),
                         0);
        image_file_page("abcd"[page], page, right);
        assert_memory_equal(bytes, right, page_size());
    }
    image_unref(image);
}

/* ---- damage ---- */

/* A damaged file: it is refused, or it opens, is told from a good one, and
 * what it still serves is right. */
static void expect_no_wrong_byte(int fd, const char *drawing)
{
    struct uf_image *image;
    int err = open_image(fd, &image);

    if (err) {
        assert_true(err == -EBADMSG || err == -EOPNOTSUPP);
        return;
    }
    assert_true(image_file_good_pages(image, drawing) < strlen(drawing));
    assert_int_equal(image_verify(image, NULL), -EBADMSG);
    image_unref(image);
}

static void each_byte_flipped(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        static const uint64_t working[] = {0, 2};
        int fd =
            image_file_make("ab.c", codecs[c], 2 * page_bytes(), working, 2);
        uint64_t len = image_file_bytes(fd);
        unsigned char byte;

        for (uint64_t i = 0; i < len; i++) {
            int copy = image_file_copy(fd, len);

            assert_int_equal(pread(fd, &byte, 1, (off_t)i), 1);
            image_file_put(copy, i, (unsigned char)(byte ^ (1u << i % 8)));
            expect_no_wrong_byte(copy, "ab.c");
        }
        close(fd);
    }
}

static void cut_at_each_length(void **state)
{
    int fd = image_file_make("ab.c", UF_IMAGE_ZSTD, page_bytes(), NULL, 0);
    uint64_t len = image_file_bytes(fd);
    struct uf_image *image;

    (void)state;
    for (uint64_t i = 0; i < len; i++)
        assert_int_equal(open_image(image_file_copy(fd, i), &image), -EBADMSG);
    image_file_put(fd, len, 0);
    assert_int_equal(open_image(fd, &image), -EBADMSG);
}

/* The file is cut after it was opened. */
static void cut_while_open(void **state)
{
    int fd = image_file_make("abcd", UF_IMAGE_NONE, page_bytes(), NULL, 0);
    struct uf_image *image;
    uint64_t page = 99;

    (void)state;
    assert_int_equal(open_image(fd, &image), 0);
    assert_int_equal(ftruncate(fd, (off_t)(512 + 2 * page_size())), 0);
    assert_int_equal(image_file_good_pages(image, "abcd"), 2);
    assert_int_equal(image_verify(image, &page), -EBADMSG);
    assert_int_equal(page, 2);
    image_unref(image);
}

/* Each byte of header and index, under checksums that are right again: opened
 * or not, whatever is read stays inside its bounds. */
static void fields_that_lie(void **state)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    static const uint64_t working[] = {4, 1};
    int fd = image_file_make("ab.c|d  e", UF_IMAGE_LZ4, 2 * page_bytes(),
                             working, 2);
    uint64_t len = image_file_bytes(fd);
    unsigned char bytes[65536];
    struct image_header header;
    struct uf_image *image;
    unsigned opened = 0, refused = 0;
    uint64_t done;

    (void)state;
    assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
    for (uint64_t i = 0; i < len; i++) {
        if (i == sizeof(header))
            i = header.index_offset;
        for (size_t v = 0; v < sizeof(values); v++) {
            int copy = image_file_copy(fd, len), err;

            image_file_put(copy, i, values[v]);
            image_file_seal(copy);
            err = open_image(copy, &image);
            if (err) {
                assert_true(err == -EBADMSG || err == -EOPNOTSUPP);
                refused++;
                continue;
            }
            opened++;
            for (uint64_t page = 0; page < 10; page++)
                image_read(image, IMAGE_ASKED, page, 1, bytes, &done);
            image_verify(image, NULL);
            image_unref(image);
        }
    }
    assert_true(opened > 0 && refused > 0);
    close(fd);
}

/* Sets a field, makes the checksums right, and opens. */
#define OPEN_WITH(field, value)                                                \
    ({                                                                         \
        int copy_ = image_file_copy(fd, image_file_bytes(fd));                 \
        struct image_header h_;                                                \
        struct uf_image *image_;                                               \
        assert_int_equal(pread(copy_, &h_, sizeof(h_), 0), sizeof(h_));        \
        h_.field = (value);                                                    \
        assert_int_equal(pwrite(copy_, &h_, sizeof(h_), 0), sizeof(h_));       \
        image_file_seal(copy_);                                                \
        open_image(copy_, &image_);                                            \
    })

static void what_is_not_ours(void **state)
{
    int fd = image_file_make("ab", UF_IMAGE_ZSTD, page_bytes(), NULL, 0);

    (void)state;
    assert_int_equal(OPEN_WITH(version, 1), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(version, 0), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(byte_order, 0x04030201), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(page_bytes, 2 * page_bytes()), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(flags, 4), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(codec, UF_IMAGE_CODECS), -EOPNOTSUPP);
    assert_int_equal(OPEN_WITH(magic[0], 'x'), -EBADMSG);
    assert_int_equal(OPEN_WITH(chunk_bytes, 3 * page_bytes()), -EBADMSG);
    assert_int_equal(OPEN_WITH(chunk_bytes, 2u << 20), -EBADMSG);
    assert_int_equal(OPEN_WITH(flags, IMAGE_INCREMENTAL), -EBADMSG);
    assert_int_equal(OPEN_WITH(parent[3], 1), -EBADMSG);
    assert_int_equal(OPEN_WITH(brk, IMAGE_FILE_LEN + 1), -EBADMSG);
    assert_int_equal(OPEN_WITH(nmappings, UINT64_MAX / 24 + 2), -EBADMSG);
    /* Of this many records of 24 bytes the length wraps to the right one. */
    assert_int_equal(OPEN_WITH(nmappings, 1 + ((uint64_t)1 << 61)), -EBADMSG);
    assert_int_equal(OPEN_WITH(nworking, UINT64_MAX), -EBADMSG);
    assert_int_equal(OPEN_WITH(nahead, 1), -EBADMSG);
    assert_int_equal(OPEN_WITH(nahead, UINT64_MAX), -EBADMSG);
    assert_int_equal(OPEN_WITH(index_offset, UINT64_MAX), -EBADMSG);
    assert_int_equal(OPEN_WITH(nmappings, 1), 0);
    close(fd);
}

/* A chunk that is longer in the file than its one page, compressed or not. */
static void a_chunk_that_is_too_long(void **state)
{
    int fd = image_file_make("ab", UF_IMAGE_NONE, 2 * page_bytes(), NULL, 0);
    uint64_t len = image_file_bytes(fd);
    off_t extent = (off_t)(len - 48), chunk = (off_t)(len - 24);
    struct image_header header;
    struct image_extent e;
    struct image_chunk c;
    struct uf_image *image;

    (void)state;
    assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
    assert_int_equal(pread(fd, &e, sizeof(e), extent), sizeof(e));
    assert_int_equal(pread(fd, &c, sizeof(c), chunk), sizeof(c));
    assert_int_equal(e.npages, 2);
    assert_int_equal(c.stored_bytes, 2 * page_size());
    e.npages = header.npages = 1;
    c.codec = UF_IMAGE_LZ4;
    header.chunk_bytes = page_bytes();
    assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
    assert_int_equal(pwrite(fd, &e, sizeof(e), extent), sizeof(e));
    assert_int_equal(pwrite(fd, &c, sizeof(c), chunk), sizeof(c));
    image_file_seal(fd);
    assert_int_equal(open_image(fd, &image), -EBADMSG);
}

static void without_memory(void **state)
{
    int fd = image_file_make("ab", UF_IMAGE_ZSTD, page_bytes(), NULL, 0);
    struct uf_image *image;
    unsigned long n = 1;
    size_t live = slab_live_everywhere();

    (void)state;
    for (;; n++) {
        int err;

        slab_inject_failure(n, 1);
        err = image_open_fd(fd, &image);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(slab_live_everywhere(), live);
    }
    assert_true(n > 3);
    image_unref(image);
    assert_int_equal(slab_live_everywhere(), live);
}

/* What compressed data says of itself is not trusted either. */
static void unpacking_stays_inside(void **state)
{
    size_t len = 4 * page_size(), work_bytes = codec_unpacker_bytes();
    unsigned char *plain = malloc(len), *packed = malloc(len);
    void *work = slab_pages(align_up(work_bytes, page_size()));
    void *work_in = slab_pages((size_t)4 << 20);

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        image_file_page('q', i, plain + i * page_size());
    for (size_t c = 0; c < 2; c++) {
        size_t need = codec_packer_bytes(codecs[c], 1);
        size_t n;

        assert_true(need <= (size_t)4 << 20);
        n = codec_pack(codecs[c], 1, work_in, need, packed, plain, len);
        assert_true(n > 0 && n < len);
        for (size_t i = 0; i < n; i++) {
            unsigned char *to = malloc(len); /* bounds for the sanitizer */

            packed[i] ^= 0x55;
            codec_unpack(codecs[c], work, work_bytes, to, len, packed, n);
            packed[i] ^= 0x55;
            assert_int_equal(codec_unpack(codecs[c], work, work_bytes, to,
                                          len - page_size(), packed, n),
                             -EBADMSG);
            free(to);
        }
    }
    free(plain);
    free(packed);
    slab_pages_free(work, align_up(work_bytes, page_size()));
    slab_pages_free(work_in, (size_t)4 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(runs_come_back),
        cmocka_unit_test(an_empty_image),
        cmocka_unit_test(a_working_set_is_kept),
        cmocka_unit_test(decoders_of_before_a_fork),
        cmocka_unit_test(fills_have_decoders_of_their_own),
        cmocka_unit_test(each_byte_flipped),
        cmocka_unit_test(cut_at_each_length),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(fields_that_lie),
        cmocka_unit_test(what_is_not_ours),
        cmocka_unit_test(a_chunk_that_is_too_long),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(unpacking_stays_inside),
    };

    return cmocka_run_group_tests_name("image format", tests, NULL, NULL);
}
