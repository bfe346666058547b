/* SPDX-License-Identifier: MIT */
/* install by UFFDIO_MOVE: what moves, and what goes in in another way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>

#include "unit/install_bench.h"

static void a_whole_window_is_moved(void **state)
{
    struct bench b;
    struct install what;
    struct install_result r;

    (void)state;
    bench_set_up(&b);
    what = bench_what(&b, MOVED, 2, false);
    r = bench_install(&b, &what);
    assert_int_equal(r.verdict, INSTALL_DONE);
    assert_int_equal(r.calls, 1);
    assert_int_equal(r.npages_moved, NPAGES);
    assert_int_equal(r.npages_zero, 0);
    for (size_t i = 0; i < NPAGES; i++)
        assert_int_equal(fake_tag_get(b.fake, bench_page(i)), i + 100);
    bench_tear_down(&b);
}

/* The rest is moved from where it lies. */
static void a_partial_move_is_continued(void **state)
{
    struct bench b;
    struct install what;
    struct install_result r;

    (void)state;
    bench_set_up(&b);
    what = bench_what(&b, MOVED, 3, false);
    fake_script_add(
        &b.fake->script,
        (struct fake_row){FAKE_MOVE, 1, -EAGAIN, 2 * (int64_t)page_size()});
    r = bench_install(&b, &what);
    assert_int_equal(r.verdict, INSTALL_DONE);
    assert_int_equal(r.calls, 2);
    assert_int_equal(r.retries, 1);
    assert_int_equal(r.npages_moved, NPAGES);
    assert_int_equal(fake_tag_get(b.fake, bench_page(3)), 103);
    bench_tear_down(&b);
}

/* In the other way: as copies for a write, as the zero page for a read. */
static void what_cannot_be_moved_goes_in_all_the_same(void **state)
{
    const int errors[] = {-EAGAIN, -EBUSY, -EINVAL, -ENOENT, -ENOMEM, -EFAULT};

    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (int source = MOVED; source <= MOVED_READ; source++) {
            struct bench b;
            struct install what;
            struct install_result r;

            bench_set_up(&b);
            what = bench_what(&b, (enum source)source, 1, false);
            fake_script_hold(&b.fake->script, FAKE_MOVE, errors[i]);
            r = bench_install(&b, &what);
            assert_int_equal(r.verdict, INSTALL_DONE);
            assert_int_equal(r.calls, 2);
            assert_int_equal(r.npages, NPAGES);
            assert_int_equal(r.npages_moved, 0);
            assert_int_equal(r.npages_zero, source == MOVED ? 0 : NPAGES);
            assert_int_equal(fake_asleep(b.fake), 0);
            bench_tear_down(&b);
        }
    }
}

/* A page in the way, at the touched one and beside it: another thread was
 * faster, so of the rest only the touched page is seen to. */
static void a_move_that_meets_a_page_sees_to_the_touched_one(void **state)
{
    (void)state;
    for (size_t there = 0; there < NPAGES; there++) {
        for (size_t touched = 0; touched < NPAGES; touched++) {
            bool copied = touched > there;
            struct bench b;
            struct install what;
            struct install_result r;

            bench_set_up(&b);
            what = bench_what(&b, MOVED, touched, false);
            bench_touch_all(&b);
            fake_page_set(b.fake, bench_page(there), PAGE_PRIVATE);
            r = install_pages(&what);
            assert_int_equal(r.verdict,
                             touched == there ? INSTALL_PRESENT : INSTALL_DONE);
            assert_true(r.skipped);
            assert_int_equal(r.npages_moved, there);
            assert_int_equal(r.npages, there + copied);
            assert_true(
                bench_is_in(fake_page_get(b.fake, bench_page(touched))));
            /* Who waits for another page asks again. */
            assert_int_equal(fake_resident(b.fake, b.window),
                             there + 1 + copied);
            assert_int_equal(fake_asleep(b.fake), NPAGES - there - 1 - copied);
            bench_tear_down(&b);
        }
    }
}

static void a_move_without_an_address_space_is_over(void **state)
{
    struct bench b;
    struct install what;
    struct install_result r;

    (void)state;
    bench_set_up(&b);
    what = bench_what(&b, MOVED, 1, false);
    fake_script_hold(&b.fake->script, FAKE_MOVE, -ESRCH);
    r = bench_install(&b, &what);
    assert_int_equal(r.verdict, INSTALL_GONE);
    assert_int_equal(r.npages, 0);
    assert_int_equal(r.calls, 1);
    bench_tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_window_is_moved),
        cmocka_unit_test(a_partial_move_is_continued),
        cmocka_unit_test(what_cannot_be_moved_goes_in_all_the_same),
        cmocka_unit_test(a_move_that_meets_a_page_sees_to_the_touched_one),
        cmocka_unit_test(a_move_without_an_address_space_is_over),
    };

    return cmocka_run_group_tests_name("install moves", tests, NULL, NULL);
}
