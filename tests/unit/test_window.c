/* SPDX-License-Identifier: MIT */
/*
 * window: of fixed size, each case drawn; then the one that adapts. One
 * character a page:
 *
 *     '|' is not a page but marks where blocks begin (for the reader)
 *     ' ' outside the VMA   '.' in it   '#' in it and resident
 *     'x' touched           'w' in the expected window (x is too)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>

#include "fault/window.h"
#include "lib/fake_script.h"

#define PAGES  64
#define ORIGIN ((uintptr_t)0x7000000)

struct drawing {
    uint32_t block;     /* pages of the policy */
    const char *before; /* the VMA, residents and the touch */
    const char *window; /* what is expected */
};

static const struct drawing drawings[] = {
    /* alone: the aligned block */
    {4, "....|x...|....", "    |wwww|    "},
    {4, "....|...x|....", "    |wwww|    "},
    {1, ".x..", " w  "},
    /* clipped to the VMA, hence to the break */
    {4, "    |  x.|....", "    |  ww|    "},
    {4, "....|.x. |    ", "    |www |    "},
    {4, "    | x  |    ", "    | w  |    "},
    {8, "  .....x|..", "  wwwwww|  "},
    /* clipped to the hole between residents */
    {4, "....|#x#.|....", "    | w  |    "},
    {8, "#..x..#.", " wwwww  "},
    {8, "#..x...#", " wwwwww "},
    {4, "....|#.x.|#...", "    | www|    "},
    /* a stream going up: from the page on, across blocks */
    {4, "....|#x..|....", "    | www|w   "},
    {4, "..##|#x..|.#..", "    | www|w   "},
    {4, "....|#x..|#...", "    | www|    "},
    {4, "....|#x..|    ", "    | www|    "},
    {4, "....|...#|x...", "    |    |wwww"},
    /* a stream going down: up to the page */
    {4, "....|.x#.|....", "  ww|ww  |    "},
    {4, "...#|.x#.|....", "    |ww  |    "},
    {4, "    |.x#.|....", "    |ww  |    "},
    {4, "...x|#...|....", "wwww|    |    "},
    /* the touched page may be marked resident: the hole is round it */
    {4, "###.", "w   "},
    /* any number of pages is a block */
    {3, "...|.x.|...", "   |www|   "},
    {5, ".....|....x|..", "     |wwwww|  "},
    /* larger than the VMA */
    {512, " ...x... ", " wwwwwww "},
};

struct page_map {
    struct range vma;
    struct range window;
    uintptr_t touched;
    struct resident resident;
};

static uintptr_t page_at(size_t i)
{
    return ORIGIN + i * page_size();
}

static void grow(struct range *r, size_t page)
{
    if (r->end == 0)
        r->start = page_at(page);
    r->end = page_at(page + 1);
}

/* Reads a drawing; without an 'x' the first page is touched. */
static void read_drawing(const struct drawing *d, struct page_map *m)
{
    struct range all = {ORIGIN, page_at(PAGES)};
    size_t page = 0;

    memset(m, 0, sizeof(*m));
    m->touched = page_at(0) + 1;
    assert_int_equal(resident_init(&m->resident, all), 0);
    for (size_t i = 0; d->before[i]; i++) {
        if (d->before[i] == '|')
            continue;
        if (d->before[i] != ' ')
            grow(&m->vma, page);
        if (d->before[i] == 'x')
            m->touched = page_at(page) + 77;
        if (d->before[i] == '#')
            resident_set(&m->resident,
                         (struct range){page_at(page), page_at(page + 1)});
        if (d->window[i] == 'w')
            grow(&m->window, page);
        page++;
    }
}

/* Every drawing above. */
static void windows_are_as_drawn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(drawings) / sizeof(drawings[0]); i++) {
        const struct drawing *d = &drawings[i];
        struct window_policy policy = {.pages = d->block, .origin = ORIGIN};
        struct page_map m;
        struct range got;

        read_drawing(d, &m);
        got = window_choose(&policy, m.touched, m.vma, &m.resident);
        if (got.start != m.window.start || got.end != m.window.end)
            fail_msg("\"%s\": expected \"%s\", got pages %zu to %zu", d->before,
                     d->window, (size_t)(got.start - ORIGIN) / page_size(),
                     (size_t)(got.end - ORIGIN) / page_size());
        resident_destroy(&m.resident);
    }
}

/* What the rules of window.h say, page by page. */
static struct range expected(const struct window_policy *policy, size_t touched,
                             size_t first, size_t end, const struct resident *r)
{
    size_t n = policy->pages, low = touched, high = touched + 1;
    bool below = touched > first && resident_test(r, page_at(touched - 1));
    bool above = touched + 1 < end && resident_test(r, page_at(touched + 1));
    bool single = n == 1;

    while (!single && !below && low > first &&
           !resident_test(r, page_at(low - 1)) &&
           (above ? touched - low + 1 < n : low % n != 0))
        low--;
    while (!single && !above && high < end &&
           !resident_test(r, page_at(high)) &&
           (below ? high - touched < n : high % n != 0))
        high++;
    return (struct range){page_at(low), page_at(high)};
}

/* At random: the page of the touch, inside the VMA, no resident page but
 * perhaps the touched one, and as wide as the rules allow. */
static void random_windows_are_sound(void **state)
{
    uint64_t seed = fake_env("UF_SEED", 11);

    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        struct range all = {ORIGIN, page_at(PAGES)}, vma, got;
        size_t first = fake_random(&seed) % PAGES;
        size_t end = first + 1 + fake_random(&seed) % (PAGES - first);
        size_t touched = first + fake_random(&seed) % (end - first);
        struct window_policy policy = {
            .pages = (uint32_t)(1 + fake_random(&seed) % 70), .origin = ORIGIN};
        struct range want;
        struct resident r;

        assert_int_equal(resident_init(&r, all), 0);
        for (size_t i = 0; i < PAGES; i++)
            if (fake_random(&seed) % 5 == 0)
                resident_set(&r, (struct range){page_at(i), page_at(i + 1)});
        vma = (struct range){page_at(first), page_at(end)};
        got = window_choose(&policy, page_at(touched) + 9, vma, &r);
        want = expected(&policy, touched, first, end, &r);
        assert_int_equal(got.start, want.start);
        assert_int_equal(got.end, want.end);
        resident_destroy(&r);
    }
}

/* ---------------------------------------------------------------- adapted --
 */

struct memory {
    streams_t streams;
    struct range vma;
    struct resident resident;
    struct resident guards;
    uintptr_t origin;
    uint32_t pages_new;
};

static struct range pages(size_t first, size_t end)
{
    return (struct range){page_at(first), page_at(end)};
}

/* [first, end) is mapped; a touch that continues nothing wants a page. */
static void begin(struct memory *m, size_t first, size_t end)
{
    *m = (struct memory){
        .vma = pages(first, end), .origin = ORIGIN, .pages_new = 1};
    assert_int_equal(resident_init(&m->resident, pages(0, PAGES)), 0);
    assert_int_equal(resident_init(&m->guards, pages(0, PAGES)), 0);
}

static void finish(struct memory *m)
{
    streams_destroy(&m->streams);
    resident_destroy(&m->resident);
    resident_destroy(&m->guards);
}

/* Touches a page; its window is resident then. */
static struct window touch(struct memory *m, size_t page)
{
    struct window_touch touch = {
        .addr = page_at(page) + 5,
        .origin = m->origin,
        .tid = 1,
        .pages_new = m->pages_new,
        .guards = &m->guards,
    };
    struct window w = window_adapt(&m->streams, &touch, m->vma, &m->resident);

    resident_set(&m->resident, w.range);
    return w;
}

static void assert_window(struct memory *m, size_t page, size_t first,
                          size_t end)
{
    struct window w = touch(m, page);

    assert_int_equal((w.range.start - ORIGIN) / page_size(), first);
    assert_int_equal((w.range.end - ORIGIN) / page_size(), end);
    assert_int_equal(w.count, 1);
}

static void a_stream_ends_with_its_vma(void **state)
{
    struct memory m;

    (void)state;
    begin(&m, 5, 30);
    assert_window(&m, 5, 5, 6);
    assert_window(&m, 6, 6, 8);
    assert_window(&m, 8, 8, 12);
    assert_window(&m, 12, 12, 16);
    assert_window(&m, 16, 16, 30);
    m.vma = pages(5, 64);
    assert_window(&m, 30, 30, 32); /* it grew: the stream goes on */
    assert_window(&m, 32, 32, 64);
    finish(&m);

    begin(&m, 5, 30);
    assert_window(&m, 29, 29, 30);
    assert_window(&m, 28, 28, 29);
    assert_window(&m, 27, 24, 28);
    assert_window(&m, 23, 16, 24);
    assert_window(&m, 15, 5, 16);
    m.vma = pages(0, 30);
    assert_window(&m, 4, 0, 5);
    finish(&m);
}

static void a_stream_goes_round_what_is_there(void **state)
{
    struct memory m;

    (void)state;
    begin(&m, 0, PAGES);
    resident_set(&m.resident, pages(19, 22));
    resident_set(&m.guards, pages(40, 41));
    for (size_t page = 0; page < 16; page = page ? 2 * page : 1)
        assert_window(&m, page, page, page ? 2 * page : 1);
    assert_window(&m, 16, 16, 19);
    assert_window(&m, 22, 22, 40);
    assert_window(&m, 41, 41, 64);
    finish(&m);
}

/* Pages that a touch skips come with it, down to what is there. */
static void a_stream_brings_what_was_skipped(void **state)
{
    struct memory m;

    (void)state;
    begin(&m, 0, PAGES);
    for (size_t page = 0; page < 16; page = page ? 2 * page : 1)
        assert_window(&m, page, page, page ? 2 * page : 1);
    assert_window(&m, 20, 16, 32);
    resident_set(&m.resident, pages(36, 37));
    assert_window(&m, 40, 37, 64);
    finish(&m);
}

/* MADV_RANDOM: one page, and no stream comes of it. */
static void a_touch_may_want_its_page_alone(void **state)
{
    struct memory m;

    (void)state;
    begin(&m, 0, PAGES);
    m.pages_new = 0;
    for (size_t page = 0; page < PAGES; page++)
        assert_window(&m, page, page, page + 1);
    assert_null(m.streams);
    finish(&m);
}

static void blocks_are_counted_from_the_origin(void **state)
{
    struct memory m;

    (void)state;
    begin(&m, 0, PAGES);
    m.origin = page_at(3);
    m.vma = pages(3, PAGES);
    m.pages_new = 16;
    assert_window(&m, 20, 19, 35);
    assert_window(&m, 18, 3, 19);
    finish(&m);
}

static void a_strided_stream_is_told_in_bytes(void **state)
{
    struct memory m;
    struct window w;

    (void)state;
    begin(&m, 0, PAGES);
    assert_window(&m, 60, 60, 61);
    assert_window(&m, 57, 57, 58);
    w = touch(&m, 54);
    assert_int_equal(w.range.start, page_at(54));
    assert_int_equal(w.range.end, page_at(55));
    assert_int_equal(w.stride, -3 * (int64_t)page_size());
    assert_int_equal(w.count, 2);
    finish(&m);
}

static void assert_sound(const struct memory *m, struct range window,
                         size_t touched, const struct resident *before)
{
    assert_true(range_contains(window, page_at(touched)));
    assert_true(range_covers(m->vma, window));
    for (size_t i = 0; i < PAGES; i++)
        if (i != touched && range_contains(window, page_at(i)))
            assert_false(resident_test(before, page_at(i)) ||
                         resident_test(&m->guards, page_at(i)));
}

/* At random, as above, with guards; what is there goes now and then. */
static void random_adapted_windows_are_sound(void **state)
{
    static const uint32_t pages_new[] = {0, 1, 16, 64};
    uint64_t seed = fake_env("UF_SEED", 11);
    struct resident before;
    struct memory m;

    (void)state;
    begin(&m, 0, PAGES);
    assert_int_equal(resident_init(&before, pages(0, PAGES)), 0);
    for (unsigned n = 0; n < 20000; n++) {
        size_t first = fake_random(&seed) % PAGES;
        size_t end = first + 1 + fake_random(&seed) % (PAGES - first);
        size_t touched = first + fake_random(&seed) % (end - first);

        m.vma = pages(first, end);
        m.pages_new = pages_new[fake_random(&seed) % 4];
        if (n % 7 == 0) {
            resident_clear(&m.resident, m.vma);
            resident_clear(&m.guards, m.vma);
            resident_set(&m.guards, pages(touched, touched + 1));
        }
        resident_clear(&before, pages(0, PAGES));
        for (size_t i = 0; i < PAGES; i++)
            if (resident_test(&m.resident, page_at(i)))
                resident_set(&before, pages(i, i + 1));
        assert_sound(&m, touch(&m, touched).range, touched, &before);
    }
    resident_destroy(&before);
    finish(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_as_drawn),
        cmocka_unit_test(random_windows_are_sound),
        cmocka_unit_test(a_stream_ends_with_its_vma),
        cmocka_unit_test(a_stream_goes_round_what_is_there),
        cmocka_unit_test(a_stream_brings_what_was_skipped),
        cmocka_unit_test(a_touch_may_want_its_page_alone),
        cmocka_unit_test(blocks_are_counted_from_the_origin),
        cmocka_unit_test(a_strided_stream_is_told_in_bytes),
        cmocka_unit_test(random_adapted_windows_are_sound),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
