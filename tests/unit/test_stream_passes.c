/* SPDX-License-Identifier: MIT */
/*
 * streams, on memory that knows which of its pages are there: what whole passes
 * over it cost in faults. Each pass begins with nothing there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>

#include "fault/streams.h"

#define MAX   512
#define PAGES 4096

struct memory {
    streams_t streams;
    unsigned char resident[PAGES];
    uint64_t end; /* of what is mapped */
    unsigned faults;
};

/* What window_adapt does with a wish. */
static void bring_in(struct memory *m, struct stream_wish wish, uint64_t page)
{
    uint64_t first = page, end = page + 1;

    while (first > wish.first && !m->resident[first - 1])
        first--;
    while (end < wish.end && end < m->end && !m->resident[end])
        end++;
    if (first != wish.first || end != wish.end)
        streams_cut(&wish, first, end);
    memset(m->resident + first, 1, end - first);
    for (uint32_t k = 1; k < wish.count; k++) {
        uint64_t p = page + (uint64_t)(wish.stride * (int64_t)k);

        if (p < m->end)
            m->resident[p] = 1;
    }
}

static void visit(struct memory *m, uint64_t page)
{
    struct stream_touch touch = {
        .tid = 1, .page = page, .pages_max = MAX, .pages_new = 1};

    if (m->resident[page])
        return;
    m->faults++;
    bring_in(m, streams_note(&m->streams, &touch), page);
}

/* Drops all; then touches every step-th of the pages, from the last one to the
 * first if step is less than 0. Returns the faults. */
static unsigned pass(struct memory *m, int step)
{
    m->faults = 0;
    memset(m->resident, 0, sizeof(m->resident));
    for (int64_t i = step > 0 ? 0 : PAGES - 1; i >= 0 && i < PAGES; i += step)
        visit(m, (uint64_t)i);
    return m->faults;
}

static size_t count_resident(const struct memory *m)
{
    size_t n = 0;

    for (size_t i = 0; i < PAGES; i++)
        n += m->resident[i];
    return n;
}

/* Windows of 1, 1, 2, 4, ... 256 pages are 512; then 512 at a time. */
#define FRESH (10 + PAGES / MAX - 1)

/* One page, since it may be random; then as large as before. */
#define TURNED (1 + PAGES / MAX)

/* The same memory from end to end: it is dropped before each pass. */
static void a_pass_may_go_the_other_way(void **state)
{
    static const int first[] = {1, -1};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct memory m = {.end = PAGES};
        int way = first[i];

        assert_int_equal(pass(&m, way), FRESH);
        assert_int_equal(pass(&m, way), FRESH);
        for (int n = 0; n < 10; n++) {
            way = -way;
            assert_int_equal(pass(&m, way), TURNED);
        }
        /* Both ends are known by now. */
        assert_int_equal(pass(&m, way), TURNED);
        streams_destroy(&m.streams);
    }
}

/* Part of what was walked last, again and again: a heap that is trimmed. */
static void memory_walked_again_has_its_window(void **state)
{
    struct memory m = {.end = PAGES};

    (void)state;
    pass(&m, 1);
    for (int n = 0; n < 20; n++) {
        m.faults = 0;
        memset(m.resident + PAGES - 100, 0, 100);
        for (uint64_t i = PAGES - 100; i < PAGES; i++)
            visit(&m, i);
        assert_int_equal(m.faults, 2);
    }
    streams_destroy(&m.streams);
}

/* Lone touches in it have no windows. */
static void memory_walked_again_may_be_sparse(void **state)
{
    struct memory m = {.end = PAGES};

    (void)state;
    pass(&m, 1);
    memset(m.resident, 0, sizeof(m.resident));
    for (uint64_t i = PAGES - 1; i < PAGES; i -= 70)
        visit(&m, i);
    assert_int_equal(count_resident(&m), (PAGES + 69) / 70);
    streams_destroy(&m.streams);
}

/* The break grows by 33 pages; the eleventh of them is touched first. */
static void skipped_pages_come_along(void **state)
{
    struct memory m = {.end = 0};

    (void)state;
    while (m.end + 33 <= PAGES) {
        uint64_t old = m.end;

        m.end += 33;
        m.faults = 0;
        if (old > 33)
            visit(&m, old + 10);
        for (uint64_t i = old; i < m.end; i++)
            visit(&m, i);
        /* Two where the window ends at a block of as many pages. */
        assert_true(old <= 33 || m.faults <= 2);
    }
    streams_destroy(&m.streams);
}

/* Every seventh page: the second touch tells nothing yet. */
static void a_strided_pass_may_go_the_other_way(void **state)
{
    struct memory m = {.end = PAGES};
    size_t ntouched = (PAGES + 6) / 7;
    /* 2 alone, windows of 2, 4, 8 and 16 pages, then 32 at a time. */
    size_t most = 2 + 4 + (ntouched - 32 + 31) / 32;

    (void)state;
    for (int n = 0; n < 6; n++) {
        assert_in_range(pass(&m, n % 2 ? -7 : 7), 1, most);
        assert_int_equal(count_resident(&m), ntouched);
    }
    streams_destroy(&m.streams);
}

/* One comes from each end, page by page in turn; then from the middle. */
static void two_streams_may_meet_and_part(void **state)
{
    struct memory m = {.end = PAGES};

    (void)state;
    for (int n = 0; n < 6; n++) {
        m.faults = 0;
        memset(m.resident, 0, sizeof(m.resident));
        for (uint64_t i = 0; i < PAGES / 2; i++) {
            uint64_t j = n % 2 ? PAGES / 2 - 1 - i : i;

            visit(&m, j);
            visit(&m, PAGES - 1 - j);
        }
        assert_in_range(m.faults, 1, 2 * (FRESH - PAGES / MAX / 2));
        assert_int_equal(count_resident(&m), PAGES);
    }
    streams_destroy(&m.streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_may_go_the_other_way),
        cmocka_unit_test(memory_walked_again_has_its_window),
        cmocka_unit_test(memory_walked_again_may_be_sparse),
        cmocka_unit_test(skipped_pages_come_along),
        cmocka_unit_test(a_strided_pass_may_go_the_other_way),
        cmocka_unit_test(two_streams_may_meet_and_part),
    };

    return cmocka_run_group_tests_name("stream_passes", tests, NULL, NULL);
}
