/* SPDX-License-Identifier: MIT */
/*
 * Dirty tracking that cannot be: wrong arguments, no memory, no descriptors, no
 * engine, a record that the kernel no longer gives.
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
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"
#include "lib/ways.h"
#include "ufault/dirty.h"

static struct uf_range ranges[8];

/* provokes: uf_dirty_start -EINVAL
 * provokes: uf_dirty_collect -EINVAL
 * provokes: uf_dirty_stop -EINVAL */
static void arguments_that_cannot_be(void **state)
{
    struct uf_space *space = live_space(NULL, 4);

    (void)state;
    assert_int_equal(uf_dirty_start(NULL), -EINVAL);
    assert_int_equal(uf_dirty_stop(NULL), -EINVAL);
    assert_int_equal(uf_dirty_collect(NULL, ranges, 8), -EINVAL);
    assert_int_equal(uf_dirty_kind(NULL), UF_DIRTY_OFF);
    assert_int_equal(uf_dirty_stop(space), -EINVAL);
    assert_int_equal(uf_dirty_collect(space, ranges, 8), -EINVAL);
    assert_int_equal(uf_dirty_start(space), 0);
    assert_int_equal(uf_dirty_collect(space, NULL, 8), -EINVAL);
    assert_int_equal(uf_dirty_collect(space, ranges, 0), -EINVAL);
    assert_int_equal(uf_dirty_stop(space), 0);
    assert_int_equal(uf_dirty_stop(space), -EINVAL);
    assert_int_equal(uf_space_destroy(space), 0);
}

static struct uf_space *_Atomic its_space;
static atomic_int answers[3];

static ssize_t fill_and_call(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    answers[0] = uf_dirty_start(its_space);
    answers[1] = (int)uf_dirty_collect(its_space, ranges, 8);
    answers[2] = uf_dirty_stop(its_space);
    return live_fill(r, r->len_bytes);
}

/* provokes: uf_dirty_start -EDEADLK
 * provokes: uf_dirty_collect -EDEADLK
 * provokes: uf_dirty_stop -EDEADLK */
static void from_a_pager(void **state)
{
    struct uf_space_opts opts = {0};
    struct live_pager p;

    (void)state;
    live_pager_init(&p, fill_and_call, NULL);
    opts.heap_pager = p.pager;
    its_space = live_space(&opts, 4);
    assert_int_equal(live_read(live_page(its_space, 0), NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(answers[i], -EDEADLK);
    assert_int_equal(uf_space_destroy(its_space), 0);
    uf_pager_unref(p.pager);
}

static void start_without_memory(struct uf_space *space)
{
    unsigned long n = 1;
    int err;

    for (;; n++) {
        size_t fds = live_count_fds();

        slab_inject_failure(n, 1);
        err = uf_dirty_start(space);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(uf_dirty_kind(space), UF_DIRTY_OFF);
        assert_int_equal(live_count_fds(), fds);
    }
    assert_true(n > 1);
}

/* Whatever kind of record it is for.
 * provokes: uf_dirty_start -ENOMEM */
static void without_memory(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct uf_space_opts opts = {0};

    (void)state;
    start_without_memory(space);
    assert_int_equal(uf_space_destroy(space), 0);
    space = ways_space(WAY_COMPARE, &opts, 4);
    assert_int_equal(live_write(live_page(space, 1), 1, NULL), 0);
    start_without_memory(space);
    assert_int_equal(uf_dirty_kind(space), UF_DIRTY_COMPARE);
    assert_int_equal(live_write(live_page(space, 2), 1, NULL), 0);
    assert_int_equal(uf_dirty_collect(space, ranges, 8), 1);
    ways_end(space);
}

/* provokes: uf_dirty_start -EMFILE */
static void without_descriptors(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct rlimit before, few;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(uf_dirty_start(space), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(uf_dirty_start(space), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* A forked child's zeros are the kernel's.
 * provokes: uf_dirty_start -EOPNOTSUPP */
static void without_an_engine(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    int status = 0;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(uf_dirty_start(space) == -EOPNOTSUPP ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* The descriptor that someone closes who closes them all.
 * provokes: uf_dirty_collect -EIO */
static void a_record_that_is_gone(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    char path[64], target[64];
    bool closed = false;

    (void)state;
    assert_int_equal(uf_dirty_start(space), 0);
    assert_int_equal(live_write(live_page(space, 1), 1, NULL), 0);
    for (int fd = 3; fd < 64 && !closed; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        closed = strstr(target, "/pagemap") && close(fd) == 0;
    }
    assert_true(closed);
    assert_int_equal(uf_dirty_collect(space, ranges, 8), -EIO);
    assert_int_equal(uf_dirty_stop(space), 0);
    assert_int_equal(uf_dirty_start(space), 0);
    assert_int_equal(uf_dirty_collect(space, ranges, 8), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_that_cannot_be),
        cmocka_unit_test(from_a_pager),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(without_descriptors),
        cmocka_unit_test(without_an_engine),
        cmocka_unit_test(a_record_that_is_gone),
    };
    int skipped = live_begin();
    struct uf_space *space;

    if (!skipped) {
        space = live_space(NULL, 1);
        if (uf_dirty_start(space) != 0 ||
            uf_dirty_kind(space) != UF_DIRTY_ASYNC) {
            puts("skipped: before Linux 6.7 the record is another");
            skipped = 77;
        }
        uf_space_destroy(space);
    }
    return skipped
               ? skipped
               : cmocka_run_group_tests_name("dirty errors", tests, NULL, NULL);
}
