/* SPDX-License-Identifier: MIT */
/*
 * histogram: buckets without gaps or overlaps, percentiles against sorting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fake_script.h"
#include "trace/histogram.h"

static struct histogram h;

static int set_up(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    return 0;
}

/* Each bucket begins where the one before ends; the last ends at the top. */
static void buckets_tile_all_numbers(void **state)
{
    uint64_t first = 0;

    (void)state;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        uint64_t last = histogram_bucket_max(b);

        assert_int_equal(histogram_bucket(first), b);
        assert_int_equal(histogram_bucket(last), b);
        assert_true(last >= first);
        first = last + 1;
    }
    assert_int_equal(histogram_bucket_max(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}

/* A bucket is never wider than a quarter of its smallest value. */
static void the_error_is_a_quarter_at_most(void **state)
{
    (void)state;
    for (unsigned b = 4; b < HISTOGRAM_BUCKETS; b++) {
        uint64_t first = histogram_bucket_max(b - 1) + 1;

        assert_true(histogram_bucket_max(b) - first <= first / 4);
    }
}

/* An empty histogram has no percentile. */
static void empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_int_equal(histogram_percentile(&h, 100), 0);
}

/* One value is every percentile of itself, exactly: never above the largest. */
static void one_value_is_every_percentile(void **state)
{
    (void)state;
    histogram_add(&h, 1000001);
    assert_int_equal(histogram_percentile(&h, 1), 1000001);
    assert_int_equal(histogram_percentile(&h, 99), 1000001);
    assert_int_equal(h.max, 1000001);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

#define VALUES 1000

/* Random values of all sizes: a percentile is the end of the bucket of the
 * value that sorting finds. */
static void percentiles_are_those_of_sorting(void **state)
{
    uint64_t seed = 7, values[VALUES];

    (void)state;
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = fake_random(&seed) >> (fake_random(&seed) % 53);
        histogram_add(&h, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), compare);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t exact = values[(percent * VALUES + 99) / 100 - 1];
        uint64_t got = histogram_percentile(&h, percent);
        uint64_t end = histogram_bucket_max(histogram_bucket(exact));

        assert_int_equal(got,
                         end < values[VALUES - 1] ? end : values[VALUES - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(buckets_tile_all_numbers, set_up),
        cmocka_unit_test_setup(the_error_is_a_quarter_at_most, set_up),
        cmocka_unit_test_setup(empty_is_zero, set_up),
        cmocka_unit_test_setup(one_value_is_every_percentile, set_up),
        cmocka_unit_test_setup(percentiles_are_those_of_sorting, set_up),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
