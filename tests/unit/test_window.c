/* SPDX-License-Identifier: MIT */
/*
 * window: each case is drawn. One character a page:
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_as_drawn),
        cmocka_unit_test(random_windows_are_sound),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
