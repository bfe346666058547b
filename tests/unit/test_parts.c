/* SPDX-License-Identifier: MIT */
/*
 * Where a call's range is cut. Pages as letters, the space is S: below, inside,
 * above.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>

#include "posix/parts.h"

/* The space is pages 4 to 8 of a drawing. */
#define BASE ((uintptr_t)1 << 40)

static uintptr_t at(size_t n)
{
    return BASE + n * page_size();
}

static void put(char *text, struct range r, char letter)
{
    for (uintptr_t a = r.start; a < r.end; a += page_size())
        text[(a - BASE) / page_size()] = letter;
}

/* What becomes of the range drawn as '#'; b, i, a: the parts. */
static void check(const char *range, const char *expected)
{
    size_t first = strcspn(range, "#"), n = strspn(range + first, "#");
    char text[] = "............";
    struct parts p;

    switch (parts_of(at(first), n * page_size(), (struct range){at(4), at(8)},
                     &p)) {
    case PARTS_OUTSIDE:
        assert_string_equal(expected, "outside");
        return;
    case PARTS_INSIDE:
        assert_string_equal(expected, "inside");
        return;
    case PARTS_BOTH:
        break;
    }
    put(text, p.below, 'b');
    put(text, p.inside, 'i');
    put(text, p.above, 'a');
    assert_string_equal(text, expected);
}

static void test_where_ranges_are_cut(void **unused)
{
    (void)unused;
    /*     ....SSSS.... */
    check("###.........", "outside");
    check("####........", "outside");
    check("#####.......", "bbbbi.......");
    check("...######...", "...biiiia...");
    check("....####....", "inside");
    check(".....##.....", "inside");
    check(".......##...", ".......ia...");
    check("........####", "outside");
    check("############", "bbbbiiiiaaaa");
}

/* No call does anything by these; the kernel says why. */
static void test_what_is_no_range_is_outside(void **unused)
{
    const struct range space = {at(4), at(8)};
    struct parts p;

    (void)unused;
    assert_int_equal(parts_of(at(5), 0, space, &p), PARTS_OUTSIDE);
    assert_int_equal(parts_of(at(5) + 1, page_size(), space, &p),
                     PARTS_OUTSIDE);
    assert_int_equal(parts_of(at(5), SIZE_MAX, space, &p), PARTS_OUTSIDE);
    assert_int_equal(parts_of(at(5), SIZE_MAX - 2 * page_size() + 1, space, &p),
                     PARTS_OUTSIDE);
    /* Lengths round up. */
    assert_int_equal(parts_of(at(3), page_size() + 1, space, &p), PARTS_BOTH);
    assert_int_equal(parts_of(at(7), page_size() - 1, space, &p), PARTS_INSIDE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_ranges_are_cut),
        cmocka_unit_test(test_what_is_no_range_is_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
