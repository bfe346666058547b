/* SPDX-License-Identifier: MIT */
/*
 * Images whose files are not there, not ours, damaged, or cannot be written.
 *
 * The comments "provokes: FUNCTION -ERRNO ..." are read by
 * tests/build/errno-coverage.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "image/format.h"
#include "lib/image_calls.h"
#include "lib/image_dir.h"
#include "lib/image_file.h"
#include "lib/live.h"
#include "ufault/image.h"

/* provokes: uf_image_save -EXDEV -EBADMSG
 * provokes: uf_image_set_working_set -EXDEV -EINVAL
 * provokes: uf_image_open -ENOENT -ESTALE */
static void parents(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_space *space = image_dir_space();
    struct uf_image *image;
    char aside[80];

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &how.parent), 0);
    assert_int_equal(uf_image_save(space, image_inner, &how), -EXDEV);
    assert_int_equal(uf_image_save(space, image_other, &how), 0);
    assert_int_equal(uf_image_open(image_other, &image), 0);
    assert_int_equal(uf_image_set_working_set(image, image_inner, NULL),
                     -EXDEV);
    assert_int_equal(uf_image_set_working_set(image, image_path, NULL),
                     -EINVAL);
    assert_int_equal(uf_image_set_working_set(image, NULL, NULL), -EINVAL);
    assert_int_equal(uf_image_set_working_set(NULL, image_other, NULL),
                     -EINVAL);
    /* In its own place. */
    assert_int_equal(uf_image_set_working_set(image, image_other, NULL), 0);
    uf_image_close(image);
    assert_int_equal(uf_image_open(image_other, &image), 0);
    uf_image_close(image);
    /* Its bytes are compared with the space's. */
    image_dir_damage(image_path, 512);
    assert_int_equal(uf_image_save(space, image_other, &how), -EBADMSG);
    uf_image_close(how.parent);

    snprintf(aside, sizeof(aside), "%s.aside", image_path);
    assert_int_equal(rename(image_path, aside), 0);
    assert_int_equal(uf_image_open(image_other, &image), -ENOENT);
    image_dir_save();
    assert_int_equal(uf_image_open(image_other, &image), -ESTALE);
    assert_int_equal(unlink(aside), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_image_open -ELOOP */
static void too_many_parents(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_space *space = image_dir_space();
    struct uf_image *image;
    char names[67][64];
    int err = 0;

    (void)state;
    for (int i = 0; i < 67 && !err; i++) {
        snprintf(names[i], sizeof(names[i]), "%s/chain-%d", image_dir, i);
        assert_int_equal(uf_image_save(space, names[i], &how), 0);
        if (i > 0)
            uf_image_close(how.parent);
        err = uf_image_open(names[i], &how.parent);
        assert_int_equal(err, i < 65 ? 0 : -ELOOP);
    }
    assert_int_equal(uf_image_open(names[64], &image), 0);
    uf_image_close(image);
    for (int i = 0; i < 66; i++)
        assert_int_equal(unlink(names[i]), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_image_save -ENOENT -ENOTDIR -EISDIR -ENAMETOOLONG
 * provokes: uf_image_flatten -ENOENT -ENOTDIR -EISDIR -ENAMETOOLONG -EINVAL
 * provokes: uf_image_set_working_set -ENOENT -ENOTDIR -EISDIR -ENAMETOOLONG
 * provokes: uf_image_open -ENOENT -ENOTDIR -ENAMETOOLONG */
static void names_that_lead_nowhere(void **state)
{
    struct uf_space *space = image_dir_space();
    struct uf_image *image, *flat;
    char name[400];

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &flat), 0);
    snprintf(name, sizeof(name), "%s/none/image", image_dir);
    assert_int_equal(uf_image_save(space, name, NULL), -ENOENT);
    assert_int_equal(uf_image_flatten(flat, name), -ENOENT);
    assert_int_equal(uf_image_set_working_set(flat, name, NULL), -ENOENT);
    assert_int_equal(uf_image_open(name, &image), -ENOENT);
    snprintf(name, sizeof(name), "%s/none", image_dir);
    assert_int_equal(uf_image_open(name, &image), -ENOENT);
    snprintf(name, sizeof(name), "%s/image", image_path);
    assert_int_equal(uf_image_save(space, name, NULL), -ENOTDIR);
    assert_int_equal(uf_image_flatten(flat, name), -ENOTDIR);
    assert_int_equal(uf_image_set_working_set(flat, name, NULL), -ENOTDIR);
    assert_int_equal(uf_image_open(name, &image), -ENOTDIR);
    snprintf(name, sizeof(name), "%s/%0300d", image_dir, 1);
    assert_int_equal(uf_image_save(space, name, NULL), -ENAMETOOLONG);
    assert_int_equal(uf_image_flatten(flat, name), -ENAMETOOLONG);
    assert_int_equal(uf_image_set_working_set(flat, name, NULL), -ENAMETOOLONG);
    assert_int_equal(uf_image_open(name, &image), -ENAMETOOLONG);
    snprintf(name, sizeof(name), "%s/inner", image_dir);
    assert_int_equal(uf_image_save(space, name, NULL), -EISDIR);
    assert_int_equal(uf_image_flatten(flat, name), -EISDIR);
    assert_int_equal(uf_image_set_working_set(flat, name, NULL), -EISDIR);
    assert_int_equal(uf_image_flatten(NULL, name), -EINVAL);
    assert_int_equal(uf_image_flatten(flat, NULL), -EINVAL);
    assert_int_equal(uf_image_flatten(flat, "/"), -EINVAL);
    uf_image_close(flat);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_image_save -EACCES -EMFILE -ENOSPC -EFBIG -EIO
 * provokes: uf_image_flatten -EACCES -EMFILE -ENOSPC -EFBIG -EIO
 * provokes: uf_image_set_working_set -EACCES -EMFILE -ENOSPC -EFBIG -EIO
 * provokes: uf_image_open -EACCES -EMFILE -EIO */
static void what_the_file_system_says(void **state)
{
    static const struct {
        enum image_call call;
        unsigned n;
        int error;
        int answer;
    } saving[] =
        {
            {IMAGE_CALL_OPENAT, 1, EACCES, -EACCES},
            {IMAGE_CALL_OPENAT, 2, EACCES, -EACCES},
            {IMAGE_CALL_OPENAT, 2, EMFILE, -EMFILE},
            {IMAGE_CALL_OPENAT, 2, EROFS, -EIO},
            {IMAGE_CALL_PWRITE, 1, ENOSPC, -ENOSPC},
            {IMAGE_CALL_PWRITE, 2, EFBIG, -EFBIG},
            {IMAGE_CALL_FSYNC, 1, EIO, -EIO},
            {IMAGE_CALL_FSYNC, 1, ENOSPC, -ENOSPC},
            {IMAGE_CALL_RENAMEAT, 1, EACCES, -EACCES},
        },
      opening[] = {
          {IMAGE_CALL_OPENAT, 1, EACCES, -EACCES},
          {IMAGE_CALL_OPENAT, 2, EACCES, -EACCES},
          {IMAGE_CALL_OPENAT, 2, EMFILE, -EMFILE},
          {IMAGE_CALL_PREAD, 1, EIO, -EIO},
          {IMAGE_CALL_PREAD, 2, EIO, -EIO},
      };
    struct uf_space *space = image_dir_space();
    size_t fds = live_count_fds();
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_image_save(space, image_other, NULL), 0);
    for (size_t i = 0; i < sizeof(saving) / sizeof(saving[0]); i++) {
        image_calls_fail(saving[i].call, saving[i].n, saving[i].error);
        assert_int_equal(uf_image_save(space, image_path, NULL),
                         saving[i].answer);
        assert_true(image_calls_end());
        assert_int_equal(uf_image_open(image_other, &image), 0);
        image_calls_fail(saving[i].call, saving[i].n, saving[i].error);
        assert_int_equal(uf_image_flatten(image, image_path), saving[i].answer);
        assert_true(image_calls_end());
        image_calls_fail(saving[i].call, saving[i].n, saving[i].error);
        assert_int_equal(uf_image_set_working_set(image, image_path, NULL),
                         saving[i].answer);
        assert_true(image_calls_end());
        uf_image_close(image);
        assert_int_equal(access(image_path, F_OK), -1);
    }
    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    for (size_t i = 0; i < sizeof(opening) / sizeof(opening[0]); i++) {
        image_calls_fail(opening[i].call, opening[i].n, opening[i].error);
        assert_int_equal(uf_image_open(image_path, &image), opening[i].answer);
        assert_true(image_calls_end());
    }
    assert_int_equal(live_count_fds(), fds);
    assert_int_equal(uf_space_destroy(space), 0);
}

static int count(void *data, const struct uf_vma_info *vma)
{
    *(uint64_t *)data += (vma->end - vma->start) / page_size();
    return 0;
}

/* provokes: uf_image_open -EINVAL -EBADMSG -EOPNOTSUPP */
static void what_is_no_image(void **state)
{
    struct image_header header;
    struct uf_image *image;
    int fd;

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(NULL, &image), -EINVAL);
    assert_int_equal(uf_image_open(image_path, NULL), -EINVAL);
    assert_int_equal(uf_image_open(image_dir, &image), -EBADMSG);
    assert_int_equal(uf_image_open("/tmp/", &image), -EBADMSG);
    assert_int_equal(uf_image_open("/dev/null", &image), -EBADMSG);
    assert_int_equal(uf_image_open("/bin/sh", &image), -EBADMSG);
    uf_image_close(NULL);

    fd = open(image_path, O_RDWR);
    assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
    header.version++;
    assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
    assert_int_equal(uf_image_open(image_path, &image), -EBADMSG);
    image_file_seal(fd);
    assert_int_equal(uf_image_open(image_path, &image), -EOPNOTSUPP);
    close(fd);
}

/* provokes: uf_image_info -EINVAL
 * provokes: uf_image_working_set -EINVAL
 * provokes: uf_image_verify -EINVAL
 * provokes: uf_image_walk -EINVAL
 * provokes: uf_image_read -EINVAL */
static void arguments_that_cannot_be(void **state)
{
    struct uf_image_info info = {.size = sizeof(info)};
    struct uf_image *image;
    unsigned char bytes[65536];
    uint64_t page = 2;

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_image_info(NULL, &info), -EINVAL);
    assert_int_equal(uf_image_info(image, NULL), -EINVAL);
    info.size = 8;
    assert_int_equal(uf_image_info(image, &info), -EINVAL);
    assert_int_equal(uf_image_working_set(NULL, &page, 1), -EINVAL);
    assert_int_equal(uf_image_working_set(image, NULL, 1), -EINVAL);
    assert_int_equal(uf_image_verify(NULL, &page), -EINVAL);
    assert_int_equal(uf_image_walk(NULL, count, &page), -EINVAL);
    assert_int_equal(uf_image_walk(image, NULL, NULL), -EINVAL);
    assert_int_equal(uf_image_walk(image, count, &page), 0);
    assert_int_equal(page, 2 + 8);
    assert_int_equal(uf_image_read(NULL, 0, 1, bytes), -EINVAL);
    assert_int_equal(uf_image_read(image, 0, 1, NULL), -EINVAL);
    assert_int_equal(uf_image_read(image, UINT64_MAX, 2, bytes), -EINVAL);
    assert_int_equal(uf_image_read(image, 1u << 20, 1, bytes), -EINVAL);
    uf_image_close(image);
}

/* provokes: uf_image_verify -EBADMSG -EIO
 * provokes: uf_image_read -EBADMSG -EIO
 * provokes: uf_image_flatten -EBADMSG
 * provokes: uf_image_set_working_set -EBADMSG */
static void pages_that_cannot_be_had(void **state)
{
    struct uf_image *image;
    unsigned char bytes[65536];
    uint64_t page = 99;

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_image_verify(image, NULL), 0);
    image_calls_fail(IMAGE_CALL_PREAD, 3, ENXIO);
    assert_int_equal(uf_image_verify(image, &page), -EIO);
    assert_true(image_calls_end());
    assert_int_equal(page, 2);
    assert_int_equal(uf_image_read(image, 5, 1, bytes), 0);
    assert_int_equal(bytes[0], 1);
    image_calls_fail(IMAGE_CALL_PREAD, 1, ENXIO);
    assert_int_equal(uf_image_read(image, 6, 1, bytes), -EIO);
    assert_true(image_calls_end());
    image_dir_damage(image_path, (off_t)(512 + 5 * page_size()));
    assert_int_equal(uf_image_verify(image, &page), -EBADMSG);
    assert_int_equal(page, 5);
    assert_int_equal(uf_image_flatten(image, image_other), -EBADMSG);
    assert_int_equal(uf_image_set_working_set(image, image_other, NULL),
                     -EBADMSG);
    uf_image_close(image);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_image_read(image, 5, 1, bytes), -EBADMSG);
    uf_image_close(image);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, image_dir_clear)
    const struct CMUnitTest tests[] = {
        TEST(parents),
        TEST(too_many_parents),
        TEST(names_that_lead_nowhere),
        TEST(what_the_file_system_says),
        TEST(what_is_no_image),
        TEST(arguments_that_cannot_be),
        TEST(pages_that_cannot_be_had),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("image files", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
