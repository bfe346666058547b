/* SPDX-License-Identifier: MIT */
/* resident: the bit map against an array of booleans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "lib/fake_script.h"
#include "base/resident.h"

#define PAGES 300
#define BASE  ((uintptr_t)0x40000000)

static struct resident r;
static bool model[PAGES];

static struct range pages(size_t first, size_t end)
{
    return (struct range){BASE + first * page_size(), BASE + end * page_size()};
}

static int set_up(void **state)
{
    (void)state;
    memset(model, 0, sizeof(model));
    return resident_init(&r, pages(0, PAGES));
}

static int tear_down(void **state)
{
    (void)state;
    resident_destroy(&r);
    return 0;
}

/* Sets or clears in both; returns what changed by the model. */
static size_t change(size_t first, size_t end, bool to)
{
    size_t changed = 0;

    for (size_t i = first; i < end; i++) {
        changed += model[i] != to;
        model[i] = to;
    }
    return changed;
}

static void assert_same(void)
{
    size_t count = 0;

    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(resident_test(&r, BASE + i * page_size() + i),
                         model[i]);
        count += model[i];
    }
    assert_int_equal(r.pages, count);
}

static void assert_hole(size_t at, size_t first, size_t end)
{
    size_t low = at, high = at + 1;
    struct range got =
        resident_hole(&r, BASE + at * page_size() + 5, pages(first, end));

    while (low > first && !model[low - 1])
        low--;
    while (high < end && !model[high])
        high++;
    assert_int_equal(got.start, pages(low, high).start);
    assert_int_equal(got.end, pages(low, high).end);
}

/* Every range of a small map, set and cleared. */
static void every_range_is_set_and_cleared(void **state)
{
    (void)state;
    for (size_t first = 0; first <= 130; first++)
        for (size_t end = first; end <= 130; end += 1 + end % 3) {
            assert_int_equal(resident_set(&r, pages(first, end)), end - first);
            assert_int_equal(r.pages, end - first);
            assert_int_equal(resident_clear(&r, pages(0, PAGES)), end - first);
            assert_int_equal(r.pages, 0);
        }
}

/* Random changes and holes. */
static void random_changes_agree_with_the_model(void **state)
{
    uint64_t seed = fake_env("UF_SEED", 3);

    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        size_t first = fake_random(&seed) % PAGES;
        size_t end = first + fake_random(&seed) % (PAGES - first + 1);
        size_t at = fake_random(&seed) % PAGES;

        if (fake_random(&seed) % 2)
            assert_int_equal(resident_set(&r, pages(first, end)),
                             change(first, end, true));
        else
            assert_int_equal(resident_clear(&r, pages(first, end)),
                             change(first, end, false));
        assert_same();
        assert_hole(at, at / 2,
                    at + (PAGES - at) / 2 + 1 > PAGES
                        ? PAGES
                        : at + (PAGES - at) / 2 + 1);
    }
}

/* A map of 16 TiB is made and cleared without touching all of it. */
static void a_huge_map_costs_nothing(void **state)
{
    struct range huge = {BASE, BASE + ((uintptr_t)16 << 40)};
    struct resident big;

    (void)state;
    assert_int_equal(resident_init(&big, huge), 0);
    resident_set(&big, (struct range){huge.end - page_size(), huge.end});
    assert_true(resident_test(&big, huge.end - 1));
    assert_int_equal(resident_clear(&big, huge), 1);
    assert_int_equal(resident_clear(&big, huge), 0);
    resident_destroy(&big);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_range_is_set_and_cleared),
        TEST(random_changes_agree_with_the_model),
        TEST(a_huge_map_costs_nothing),
    };

    return cmocka_run_group_tests_name("resident", tests, NULL, NULL);
}
