/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints that cannot be made: each leaves the old file, and what should have
 * been in it is in the next.
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
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/image_calls.h"
#include "lib/image_dir.h"
#include "lib/live.h"
#include "ufault/checkpoint.h"
#include "ufault/mman.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define RW (PROT_READ | PROT_WRITE)

static int checkpoint(struct uf_space *space, const char *path)
{
    return uf_checkpoint(space, path, NULL, NULL);
}

/* provokes: uf_checkpoint -EINVAL -EOPNOTSUPP -ENOENT -ENOTDIR -EISDIR
 * provokes: uf_checkpoint -ENAMETOOLONG */
static void what_cannot_be(void **state)
{
    struct uf_checkpoint_result result = {.size = 8};
    struct uf_image_opts how = {.size = 1};
    struct uf_space *space = image_dir_space();
    char name[400];
    intptr_t at;

    (void)state;
    assert_int_equal(checkpoint(NULL, image_path), -EINVAL);
    assert_int_equal(checkpoint(space, NULL), -EINVAL);
    assert_int_equal(checkpoint(space, "/tmp/"), -EINVAL);
    assert_int_equal(uf_checkpoint(space, image_path, &how, NULL), -EINVAL);
    assert_int_equal(uf_checkpoint(space, image_path, NULL, &result), -EINVAL);
    snprintf(name, sizeof(name), "%s/none/image", image_dir);
    assert_int_equal(checkpoint(space, name), -ENOENT);
    snprintf(name, sizeof(name), "%s/%0300d", image_dir, 1);
    assert_int_equal(checkpoint(space, name), -ENAMETOOLONG);
    snprintf(name, sizeof(name), "%s/inner", image_dir);
    assert_int_equal(checkpoint(space, name), -EISDIR);
    assert_int_equal(access(image_path, F_OK), -1);
    assert_int_equal(checkpoint(space, image_path), 0);
    snprintf(name, sizeof(name), "%s/image", image_path);
    assert_int_equal(checkpoint(space, name), -ENOTDIR);
    at = uf_mmap(space, 0, page_size(), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(at > 0);
    assert_int_equal(checkpoint(space, image_path), -EOPNOTSUPP);
    assert_int_equal(uf_munmap(space, (uintptr_t)at, page_size()), 0);
    if (uf_madvise(space, live_page(space, 1), page_size(),
                   MADV_GUARD_INSTALL) == 0)
        assert_int_equal(checkpoint(space, image_path), -EOPNOTSUPP);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_checkpoint -EXDEV -EBADMSG */
static void parents(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_space *space = image_dir_space();

    (void)state;
    image_dir_save();
    assert_int_equal(uf_image_open(image_path, &how.parent), 0);
    assert_int_equal(uf_checkpoint(space, image_inner, &how, NULL), -EXDEV);
    assert_int_equal(uf_checkpoint(space, image_path, &how, NULL), -EINVAL);
    image_dir_damage(image_path, 512);
    assert_int_equal(uf_checkpoint(space, image_other, &how, NULL), -EBADMSG);
    uf_image_close(how.parent);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ---- pagers ---- */

static struct uf_space *_Atomic its_space;
static _Atomic int answer;

static ssize_t fill_but_one(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    return r->offset == 3 * page_size() ? -EIO : live_fill(r, page_size());
}

/* On a handler thread the first time, on the checkpoint's own after. */
static ssize_t fill_and_call(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    answer = checkpoint(its_space, image_other);
    return live_fill(r, page_size());
}

static struct uf_space *paged_space(struct live_pager *p,
                                    ssize_t (*fill)(struct live_pager *,
                                                    const struct uf_fill *))
{
    struct uf_space_opts opts = {0};

    live_pager_init(p, fill, NULL);
    opts.heap_pager = p->pager;
    opts.window_pages = 1;
    return live_space(&opts, 8);
}

/* provokes: uf_checkpoint -EFAULT -EDEADLK -EBUSY */
static void what_a_pager_says(void **state)
{
    struct live_pager p;
    struct uf_space *space = paged_space(&p, fill_but_one);

    (void)state;
    assert_int_equal(checkpoint(space, image_path), -EFAULT);
    assert_int_equal(access(image_path, F_OK), -1);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);

    its_space = paged_space(&p, fill_and_call);
    assert_int_equal(live_read(live_page(its_space, 0), NULL, NULL), 0);
    assert_int_equal(answer, -EDEADLK);
    assert_int_equal(checkpoint(its_space, image_path), 0);
    assert_int_equal(answer, -EBUSY);
    assert_int_equal(access(image_other, F_OK), -1);
    assert_int_equal(uf_space_destroy(its_space), 0);
    uf_pager_unref(p.pager);
}

/* ---- nothing is forgotten ---- */

/* A space that was checkpointed, and page 5 was written since. */
static struct uf_space *written_since(struct uf_image_opts *how)
{
    struct uf_space *space = image_dir_space();

    *how = (struct uf_image_opts){.size = sizeof(*how)};
    assert_int_equal(checkpoint(space, image_path), 0);
    assert_int_equal(uf_image_open(image_path, &how->parent), 0);
    assert_int_equal(live_write(live_page(space, 5), 9, NULL), 0);
    return space;
}

/* The next one has that page alone, and it is right. */
static void expect_all_is_there(struct uf_space *space,
                                struct uf_image_opts *how)
{
    struct uf_checkpoint_result result = {.size = sizeof(result)};
    unsigned char bytes[65536];
    struct uf_image *image;

    assert_int_equal(uf_checkpoint(space, image_other, how, &result), 0);
    assert_int_equal(result.tracked, 1);
    assert_int_equal(result.stored_pages, 1);
    assert_int_equal(uf_image_open(image_other, &image), 0);
    assert_int_equal(uf_image_read(image, 5, 1, bytes), 0);
    assert_int_equal(bytes[0], 9);
    uf_image_close(image);
    uf_image_close(how->parent);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_checkpoint -EACCES -EMFILE -ENOSPC -EFBIG -EIO */
static void what_the_file_system_says(void **state)
{
    static const struct {
        enum image_call call;
        unsigned n;
        int error;
        int answer;
    } failing[] = {
        {IMAGE_CALL_OPENAT, 1, EACCES, -EACCES},
        {IMAGE_CALL_OPENAT, 2, EMFILE, -EMFILE},
        {IMAGE_CALL_PWRITE, 1, ENOSPC, -ENOSPC},
        {IMAGE_CALL_PWRITE, 2, EFBIG, -EFBIG},
        {IMAGE_CALL_FSYNC, 1, EIO, -EIO},
        {IMAGE_CALL_RENAMEAT, 1, EACCES, -EACCES},
    };
    struct uf_image_opts how;
    struct uf_space *space = written_since(&how);
    size_t fds = live_count_fds();

    (void)state;
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        image_calls_fail(failing[i].call, failing[i].n, failing[i].error);
        assert_int_equal(uf_checkpoint(space, image_other, &how, NULL),
                         failing[i].answer);
        assert_true(image_calls_end());
        assert_int_equal(access(image_other, F_OK), -1);
        assert_int_equal(waitpid(-1, NULL, __WALL), -1);
    }
    assert_int_equal(live_count_fds(), fds);
    expect_all_is_there(space, &how);
}

/* provokes: uf_checkpoint -ENOMEM */
static void without_memory(void **state)
{
    struct uf_image_opts how;
    struct uf_space *space = written_since(&how);
    unsigned long n = 1;
    int err = -ENOMEM;

    (void)state;
    for (; err == -ENOMEM; n++) {
        size_t fds = live_count_fds(), live = slab_live_everywhere();

        slab_inject_failure(n, 1);
        err = uf_checkpoint(space, image_inner, NULL, NULL);
        slab_inject_failure(0, 0);
        if (err) {
            assert_int_equal(err, -ENOMEM);
            assert_int_equal(live_count_fds(), fds);
            assert_int_equal(slab_live_everywhere(), live);
        }
    }
    assert_int_equal(err, 0);
    assert_true(n > 4);
    unlink(image_inner);
    uf_image_close(how.parent);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* As somebody who may have no more processes: root always may. */
static int without_processes(void)
{
    struct rlimit none = {0, 0};
    struct uf_image_opts how;
    struct uf_space *space;

    if (setgid(65534) != 0 || setuid(65534) != 0 ||
        prctl(PR_SET_DUMPABLE, 1) != 0)
        return 77;
    space = written_since(&how);
    if (setrlimit(RLIMIT_NPROC, &none) != 0)
        return 1;
    return uf_checkpoint(space, image_other, &how, NULL) == -EAGAIN &&
                   access(image_other, F_OK) == -1
               ? 0
               : 2;
}

/* provokes: uf_checkpoint -EAGAIN */
static void no_more_processes(void **state)
{
    int status = 0;
    pid_t child;

    (void)state;
    if (LIVE_SANITIZED || getuid() != 0)
        skip();
    assert_int_equal(chmod(image_dir, 0777), 0);
    child = fork();
    if (child == 0)
        _exit(without_processes());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(status == 0 || WEXITSTATUS(status) == 77);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, image_dir_clear)
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be),    TEST(parents),
        TEST(what_a_pager_says), TEST(what_the_file_system_says),
        TEST(without_memory),    TEST(no_more_processes),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("checkpoint errors", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
