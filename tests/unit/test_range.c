/* SPDX-License-Identifier: MIT */
/*
 * range: half-open intervals, at their edges: empty, adjacent, the top of the
 * address space.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <unistd.h>

#include "base/range.h"

#define TOP UINTPTR_MAX

static struct range r(uintptr_t start, uintptr_t end)
{
    return (struct range){start, end};
}

static void the_page_size_is_the_systems(void **state)
{
    (void)state;
    assert_int_equal(page_size(), sysconf(_SC_PAGESIZE));
    assert_int_equal(page_size(), page_size());
}

/* Up wraps to 0 beyond the last whole unit, as PAGE_ALIGN does. */
static void rounding(void **state)
{
    (void)state;
    assert_true(align_down(0, 4096) == 0 && align_up(0, 4096) == 0);
    assert_true(align_down(1, 4096) == 0 && align_up(1, 4096) == 4096);
    assert_true(align_down(4095, 4096) == 0 && align_up(4095, 4096) == 4096);
    assert_true(align_down(4096, 4096) == 4096);
    assert_true(align_up(4096, 4096) == 4096);
    assert_true(align_up(4097, 4096) == 8192);
    assert_true(align_down(TOP, 4096) == TOP - 4095);
    assert_true(align_up(TOP, 4096) == 0);
    assert_true(align_up(TOP - 4094, 4096) == 0);
    assert_true(align_up(TOP - 4095, 4096) == TOP - 4095);
    assert_true(is_aligned(0, 4096) && is_aligned(8192, 4096));
    assert_false(is_aligned(1, 4096) || is_aligned(4095, 4096));
    assert_true(is_aligned(TOP, 1));
}

/* The end may be the top itself, but not beyond it; *ret is left alone. */
static void a_range_that_would_wrap_is_not_made(void **state)
{
    struct range made = {7, 9};

    (void)state;
    assert_true(range_make(10, 5, &made));
    assert_true(made.start == 10 && made.end == 15);
    assert_true(range_make(TOP, 0, &made));
    assert_true(range_is_empty(made));
    assert_true(range_make(TOP - 5, 5, &made));
    assert_true(made.end == TOP);
    made = r(7, 9);
    assert_false(range_make(TOP - 5, 6, &made));
    assert_false(range_make(TOP, 1, &made));
    assert_false(range_make(1, SIZE_MAX, &made));
    assert_true(made.start == 7 && made.end == 9);
}

static void the_end_is_outside(void **state)
{
    (void)state;
    assert_true(range_contains(r(4, 8), 4));
    assert_true(range_contains(r(4, 8), 7));
    assert_false(range_contains(r(4, 8), 8));
    assert_false(range_contains(r(4, 8), 3));
    assert_false(range_contains(r(4, 4), 4));
    assert_int_equal(range_len(r(4, 8)), 4);
    assert_int_equal(range_len(r(4, 4)), 0);
    assert_true(range_is_empty(r(4, 4)) && range_is_empty(r(8, 4)));
    assert_false(range_is_empty(r(4, 5)));
}

static void covering(void **state)
{
    (void)state;
    assert_true(range_covers(r(4, 8), r(4, 8)));
    assert_true(range_covers(r(4, 8), r(5, 7)));
    assert_true(range_covers(r(4, 8), r(8, 8)));
    assert_false(range_covers(r(4, 8), r(4, 9)));
    assert_false(range_covers(r(4, 8), r(3, 8)));
    assert_false(range_covers(r(5, 7), r(4, 8)));
}

/* Neighbours share a number and nothing else. */
static void overlapping(void **state)
{
    (void)state;
    assert_true(range_overlaps(r(4, 8), r(7, 9)));
    assert_true(range_overlaps(r(4, 8), r(5, 6)));
    assert_true(range_overlaps(r(5, 6), r(4, 8)));
    assert_false(range_overlaps(r(4, 8), r(8, 12)));
    assert_false(range_overlaps(r(8, 12), r(4, 8)));
    assert_false(range_overlaps(r(4, 8), r(0, 4)));
}

static void assert_clip(struct range a, struct range b, struct range want)
{
    struct range got = range_clip(a, b);

    assert_true(got.start == want.start && got.end == want.end);
}

/* What is apart clips to an empty range, never to one that ends before it
 * starts. */
static void clipping(void **state)
{
    struct range apart = range_clip(r(2, 4), r(6, 8));

    (void)state;
    assert_clip(r(4, 8), r(0, 20), r(4, 8));
    assert_clip(r(0, 20), r(4, 8), r(4, 8));
    assert_clip(r(4, 8), r(6, 20), r(6, 8));
    assert_clip(r(4, 8), r(0, 6), r(4, 6));
    assert_true(apart.start == apart.end);
    apart = range_clip(r(6, 8), r(2, 4));
    assert_true(apart.start == apart.end);
    assert_clip(r(4, 8), r(8, 9), r(8, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_size_is_the_systems),
        cmocka_unit_test(rounding),
        cmocka_unit_test(a_range_that_would_wrap_is_not_made),
        cmocka_unit_test(the_end_is_outside),
        cmocka_unit_test(covering),
        cmocka_unit_test(overlapping),
        cmocka_unit_test(clipping),
    };

    return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
