/* SPDX-License-Identifier: MIT */
/*
 * Images that cannot be saved, opened or brought back.
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
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/image_calls.h"
#include "lib/image_dir.h"
#include "lib/live.h"
#include "ufault/image.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static int save_with(struct uf_space *space, struct uf_image_opts how)
{
    if (how.size == 0)
        how.size = sizeof(how);
    return uf_image_save(space, image_path, &how);
}

/* provokes: uf_image_save -EINVAL */
static void saving_as_cannot_be(void **state)
{
    static const uint64_t unmapped[] = {0, 8};
    struct uf_space *space = image_dir_space();
    struct uf_image *image;

    (void)state;
#define SAVE(...) save_with(space, (struct uf_image_opts){__VA_ARGS__})
    assert_int_equal(uf_image_save(NULL, image_path, NULL), -EINVAL);
    assert_int_equal(uf_image_save(space, NULL, NULL), -EINVAL);
    assert_int_equal(uf_image_save(space, "", NULL), -EINVAL);
    assert_int_equal(uf_image_save(space, "/tmp/", NULL), -EINVAL);
    assert_int_equal(uf_image_save(space, "/tmp/..", NULL), -EINVAL);
    assert_int_equal(SAVE(.size = 1), -EINVAL);
    assert_int_equal(SAVE(.codec = UF_IMAGE_CODECS), -EINVAL);
    assert_int_equal(SAVE(.level = 20), -EINVAL);
    assert_int_equal(SAVE(.codec = UF_IMAGE_LZ4, .level = 1), -EINVAL);
    assert_int_equal(SAVE(.chunk_bytes = 512), -EINVAL);
    assert_int_equal(SAVE(.chunk_bytes = 3 * (uint32_t)page_size()), -EINVAL);
    assert_int_equal(SAVE(.chunk_bytes = 2u << 20), -EINVAL);
    assert_int_equal(SAVE(.flags = 2), -EINVAL);
    assert_int_equal(SAVE(.nworking = 1), -EINVAL);
    assert_int_equal(SAVE(.working = unmapped, .nworking = 2), -EINVAL);
    assert_int_equal(access(image_path, F_OK), -1);
    assert_int_equal(SAVE(.working = unmapped, .nworking = 1), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(SAVE(.parent = image), -EINVAL);
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_image_save -EOPNOTSUPP */
static void what_an_image_cannot_hold(void **state)
{
    struct uf_space *space = image_dir_space();
    size_t len = page_size();
    intptr_t at = uf_mmap(space, 0, len, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(at > 0);
    assert_int_equal(uf_image_save(space, image_path, NULL), -EOPNOTSUPP);
    assert_int_equal(uf_munmap(space, (uintptr_t)at, len), 0);
    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    if (uf_madvise(space, live_page(space, 1), len, MADV_GUARD_INSTALL) == 0)
        assert_int_equal(uf_image_save(space, image_path, NULL), -EOPNOTSUPP);
    assert_int_equal(uf_space_destroy(space), 0);
}

static ssize_t fill_but_one(struct live_pager *p, const struct uf_fill *request)
{
    (void)p;
    return request->offset == 3 * page_size() ? -EIO
                                              : live_fill(request, page_size());
}

/* provokes: uf_image_save -EFAULT */
static void a_page_that_cannot_be_had(void **state)
{
    struct uf_space_opts opts = {0};
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, fill_but_one, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 8);
    assert_int_equal(uf_image_save(space, image_path, NULL), -EFAULT);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

static struct uf_space *_Atomic its_space;
static struct uf_image *_Atomic its_image;
static atomic_int answers[2];

static ssize_t fill_and_call(struct live_pager *p, const struct uf_fill *r)
{
    struct uf_space *made;

    (void)p;
    answers[0] = uf_image_save(its_space, image_path, NULL);
    answers[1] = uf_space_from_image(its_image, NULL, &made);
    return live_fill(r, r->len_bytes);
}

/* provokes: uf_image_save -EDEADLK
 * provokes: uf_space_from_image -EDEADLK */
static void from_a_pager(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_image *image;
    struct live_pager p;

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &image), 0);
    its_image = image;
    live_pager_init(&p, fill_and_call, NULL);
    opts.heap_pager = p.pager;
    its_space = live_space(&opts, 4);
    assert_int_equal(live_read(live_page(its_space, 0), NULL, NULL), 0);
    assert_int_equal(answers[0], -EDEADLK);
    assert_int_equal(answers[1], -EDEADLK);
    assert_int_equal(uf_space_destroy(its_space), 0);
    uf_pager_unref(p.pager);
    uf_image_close(image);
}

/* provokes: uf_image_save -ENOMEM
 * provokes: uf_image_open -ENOMEM
 * provokes: uf_image_flatten -ENOMEM
 * provokes: uf_image_set_working_set -ENOMEM
 * provokes: uf_space_from_image -ENOMEM */
static void without_memory(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .limit_as = 4 * page_size()};
    struct uf_space *space = image_dir_space(), *made;
    struct uf_image *image;
    int err;

    (void)state;
    for (unsigned long n = 1;; n++) {
        slab_inject_failure(n, 1);
        err = uf_image_save(space, image_path, NULL);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(access(image_path, F_OK), -1);
    }
    for (unsigned long n = 1;; n++) {
        slab_inject_failure(n, 1);
        err = uf_image_open(image_path, &image);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        assert_int_equal(err, -ENOMEM);
    }
    for (unsigned long n = 1;; n++) {
        size_t fds = live_count_fds();

        slab_inject_failure(n, 1);
        err = uf_space_from_image(image, NULL, &made);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(live_count_fds(), fds);
    }
    slab_inject_failure(1, 1);
    assert_int_equal(uf_image_flatten(image, image_other), -ENOMEM);
    slab_inject_failure(1, 1);
    assert_int_equal(uf_image_set_working_set(image, image_other, NULL),
                     -ENOMEM);
    slab_inject_failure(0, 0);
    assert_int_equal(uf_space_destroy(made), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &made), -ENOMEM);
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_space_from_image -EINVAL -EEXIST */
static void spaces_that_cannot_be(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *space = image_dir_space(), *made;
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_space_from_image(NULL, NULL, &made), -EINVAL);
    assert_int_equal(uf_space_from_image(image, NULL, NULL), -EINVAL);
    opts.size = 1;
    assert_int_equal(uf_space_from_image(image, &opts, &made), -EINVAL);
    opts.size = sizeof(opts);
    opts.fork = UF_FORK_ZERO;
    assert_int_equal(uf_space_from_image(image, &opts, &made), -EINVAL);
    opts.fork = UF_FORK_DEFAULT;
    opts.len_bytes = 4 * page_size();
    assert_int_equal(uf_space_from_image(image, &opts, &made), -EINVAL);
    opts.len_bytes = 0;
    opts.window_pages = 513;
    assert_int_equal(uf_space_from_image(image, &opts, &made), -EINVAL);
    opts.window_pages = 0;
    opts.address = uf_space_base(space);
    assert_int_equal(uf_space_from_image(image, &opts, &made), -EEXIST);
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Its pages are needed at once.
 * provokes: uf_space_from_image -EBADMSG -EIO */
static void a_stack_that_is_damaged(void **state)
{
    struct uf_space *space = live_space(NULL, 0), *made;
    uintptr_t at = live_page(space, 2000);
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_mmap(space, at, page_size(), RW,
                             ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0),
                     at);
    assert_int_equal(live_write(at, 1, NULL), 0);
    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    image_calls_fail(IMAGE_CALL_PREAD, 1, EIO);
    assert_int_equal(uf_space_from_image(image, NULL, &made), -EIO);
    assert_true(image_calls_end());
    image_dir_damage(image_path, 514);
    assert_int_equal(uf_space_from_image(image, NULL, &made), -EBADMSG);
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* What points into itself is where it was, or nowhere; whatever it was written
 * anew as. */
static void a_fixed_one_is_where_it_was(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how), .flags = UF_IMAGE_FIXED};
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *space = image_dir_space();
    struct uf_image_info info = {.size = sizeof(info)};
    uintptr_t base = uf_space_base(space);
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_image_save(space, image_path, &how), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_image_flatten(image, image_path), 0);
    uf_image_close(image);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_image_info(image, &info), 0);
    assert_int_equal(info.flags, UF_IMAGE_FIXED);
    assert_int_equal(uf_space_destroy(space), 0);
    opts.address = base + ((uintptr_t)1 << 30);
    assert_int_equal(uf_space_from_image(image, &opts, &space), -EINVAL);
    assert_int_equal(uf_space_from_image(image, NULL, &space), 0);
    assert_int_equal(uf_space_base(space), base);
    assert_int_equal(uf_space_destroy(space), 0);
    opts.address = base;
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_image_close(image);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, image_dir_clear)
    const struct CMUnitTest tests[] = {
        TEST(saving_as_cannot_be),
        TEST(what_an_image_cannot_hold),
        TEST(a_fixed_one_is_where_it_was),
        TEST(a_page_that_cannot_be_had),
        TEST(from_a_pager),
        TEST(without_memory),
        TEST(spaces_that_cannot_be),
        TEST(a_stack_that_is_damaged),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("image errors", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
