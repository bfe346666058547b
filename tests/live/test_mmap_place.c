/* SPDX-License-Identifier: MIT */
/*
 * Where mmap puts a mapping: hints, the search from either end, huge pages, and
 * the room that a stack keeps free below it.
 *
 * A space of its own is used rather than a side (lib/sides.h) where the whole
 * address space counts: the kernel's is full of other things.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>

#include "lib/sides.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#define HUGE_BYTES ((size_t)2 << 20)

static struct uf_space *make(uint32_t flags)
{
    struct uf_space_opts opts = {.flags = flags,
                                 .address = live_aligned_address()};

    return live_space(&opts, 0);
}

static uintptr_t get(struct uf_space *space, uintptr_t hint, size_t npages)
{
    intptr_t p = uf_mmap(space, hint, npages * page_size(), RW, ANON, -1, 0);

    assert_true(p > 0);
    return (uintptr_t)p;
}

/* ------------------------------------------------------------------ hints --
 */

static void hints_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_at(s, 10);

    assert_int_equal(side_mmap(s, p, 2 * page, RW, ANON, -1, 0), p);
    /* Rounded down to a page. */
    assert_int_equal(side_mmap(s, p + 2 * page + 7, page, RW, ANON, -1, 0),
                     p + 2 * page);
    /* Taken, in part or wholly: somewhere else. */
    assert_int_not_equal(side_mmap(s, p, page, RW, ANON, -1, 0), p);
    assert_int_not_equal(side_mmap(s, p - page, 2 * page, RW, ANON, -1, 0),
                         p - page);
    /* It fits exactly between. */
    assert_int_equal(side_mmap(s, p + 4 * page, page, RW, ANON, -1, 0),
                     p + 4 * page);
    assert_int_equal(side_mmap(s, p + 3 * page, page, RW, ANON, -1, 0),
                     p + 3 * page);
}

static void a_hint_is_taken_if_it_is_free(void **state)
{
    (void)state;
    on_all_sides(hints_body);
}

static void hints_outside_the_space_are_as_none(void **state)
{
    struct uf_space *space = make(0);
    uintptr_t base = uf_space_base(space), end = base + uf_space_len(space);
    size_t page = page_size();

    (void)state;
    assert_true(get(space, page, 1) == end - page);
    assert_true(get(space, base - page, 1) == end - 2 * page);
    assert_true(get(space, end, 1) == end - 3 * page);
    assert_true(get(space, UINTPTR_MAX, 1) == end - 4 * page);
    assert_true(get(space, UINTPTR_MAX - page, 4) == end - 8 * page);
    /* Begins inside and ends outside. */
    assert_true(get(space, end - page, 2) == end - 10 * page);
    assert_true(get(space, base, 1) == base);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* The guard gap of the mapping above is not free for a hint. */
static void stack_hint_body(struct side *s)
{
    size_t page = page_size();

    side_map(s, 1000, 4, RW, MAP_GROWSDOWN);
    assert_int_not_equal(side_mmap(s, side_at(s, 999), page, RW, ANON, -1, 0),
                         side_at(s, 999));
    assert_int_not_equal(side_mmap(s, side_at(s, 744), page, RW, ANON, -1, 0),
                         side_at(s, 744));
    assert_int_equal(side_mmap(s, side_at(s, 743), page, RW, ANON, -1, 0),
                     side_at(s, 743));
    /* MAP_FIXED may go there all the same. */
    side_map(s, 999, 1, RW, 0);
}

static void a_hint_in_the_guard_gap_of_a_stack_is_not_free(void **state)
{
    (void)state;
    on_all_sides(stack_hint_body);
}

/* --------------------------------------------------------------- searches --
 */

static void the_search_goes_top_down(void **state)
{
    struct uf_space *space = make(0);
    size_t page = page_size();
    uintptr_t base = uf_space_base(space), end = base + uf_space_len(space);

    (void)state;
    assert_true(get(space, 0, 1) == end - page);
    assert_true(get(space, 0, 3) == end - 4 * page);
    assert_true(get(space, 0, 2) == end - 6 * page);
    /* The highest gap that is long enough. */
    assert_int_equal(uf_munmap(space, end - 3 * page, 2 * page), 0);
    assert_true(get(space, 0, 3) == end - 9 * page);
    assert_true(get(space, 0, 1) == end - 2 * page);
    assert_true(get(space, 0, 1) == end - 3 * page);
    assert_true(get(space, 0, 1) == end - 10 * page);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void bottom_up_begins_at_the_base(void **state)
{
    struct uf_space *space = make(UF_SPACE_BOTTOM_UP);
    size_t page = page_size();
    uintptr_t base = uf_space_base(space);

    (void)state;
    assert_true(get(space, 0, 1) == base);
    assert_true(get(space, 0, 3) == base + page);
    assert_int_equal(uf_munmap(space, base + page, 2 * page), 0);
    assert_true(get(space, 0, 3) == base + 4 * page);
    assert_true(get(space, 0, 1) == base + page);
    assert_true(get(space, 0, 1) == base + 2 * page);
    assert_true(get(space, 0, 1) == base + 7 * page);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* To the last page, then -ENOMEM; and the heap is in the way like others. */
static void the_whole_space_can_be_mapped(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags <= UF_SPACE_BOTTOM_UP;
         flags += UF_SPACE_BOTTOM_UP) {
        struct uf_space *space = make(flags);
        size_t page = page_size(), npages = uf_space_len(space) / page;

        assert_true(uf_sbrk(space, 1) > 0);
        assert_int_equal(uf_mmap(space, 0, npages * page, RW, ANON, -1, 0),
                         -ENOMEM);
        assert_true(get(space, 0, npages - 2) > 0);
        assert_true(get(space, 0, 1) > 0);
        assert_int_equal(uf_mmap(space, 0, 1, RW, ANON, -1, 0), -ENOMEM);
        assert_int_equal(live_stats(space).total_vm, npages);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* Above the room that the stack may grow into, or below its guard gap. */
static void the_search_keeps_off_a_stacks_guard_gap(void **state)
{
    struct uf_space *space = make(0);
    size_t page = page_size();
    uintptr_t end = uf_space_base(space) + uf_space_len(space);
    uintptr_t stack = end - 4 * page;

    (void)state;
    assert_int_equal(uf_mmap(space, stack, 4 * page, RW,
                             ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0),
                     stack);
    assert_true(get(space, 0, 1) == stack - 257 * page);
    assert_true(get(space, 0, 1) == stack - 258 * page);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------------- huge pages --
 */

static void whole_huge_pages_are_aligned_to_huge_pages(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags <= UF_SPACE_BOTTOM_UP;
         flags += UF_SPACE_BOTTOM_UP) {
        struct uf_space *space = make(flags);
        size_t page = page_size(), huge = HUGE_BYTES / page;
        uintptr_t one = get(space, 0, 1), p;

        p = get(space, 0, huge);
        assert_true(is_aligned(p, HUGE_BYTES));
        p = get(space, 1, 2 * huge); /* rounds to no hint */
        assert_true(is_aligned(p, HUGE_BYTES));
        /* Not whole: wherever the search ends. */
        p = get(space, 0, flags ? huge - 1 : huge + 1);
        assert_false(is_aligned(p, HUGE_BYTES));
        get(space, 0, 1);
        /* A hint, though it is not free: not aligned either. */
        p = get(space, one, huge);
        assert_false(is_aligned(p, HUGE_BYTES));
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* No room for an aligned one: then anywhere. */
static void huge_pages_that_do_not_fit_aligned_go_anywhere(void **state)
{
    struct uf_space *space = make(0);
    size_t page = page_size(), huge = HUGE_BYTES / page;
    uintptr_t base = uf_space_base(space);

    (void)state;
    /* Leaves [1 page .. 1 + 1 huge) free. */
    assert_int_equal(uf_mmap(space, base, page, RW, ANON | MAP_FIXED, -1, 0),
                     base);
    assert_int_equal(uf_mmap(space, base + (1 + huge) * page,
                             uf_space_len(space) - (1 + huge) * page, RW,
                             ANON | MAP_FIXED, -1, 0),
                     base + (1 + huge) * page);
    assert_true(get(space, 0, huge) == base + page);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------- the heap beside --
 */

/* A mapping above the heap stops the break one page below it, as in brk(2). */
static void the_break_stops_below_a_mapping(void **state)
{
    struct uf_space *space = make(0);
    size_t page = page_size();
    uintptr_t base = uf_space_base(space), at = base + 8 * page;

    (void)state;
    assert_true(uf_brk(space, base + page) == base + page);
    assert_true(get(space, at, 1) == at);
    assert_true(uf_brk(space, at) == base + page);
    assert_true(uf_brk(space, at - page) == at - page);
    assert_true(uf_brk(space, at - page + 1) == at - page);
    assert_int_equal(uf_munmap(space, at, page), 0);
    assert_true(uf_brk(space, at + page) == at + page);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_is_taken_if_it_is_free),
        cmocka_unit_test(hints_outside_the_space_are_as_none),
        cmocka_unit_test(a_hint_in_the_guard_gap_of_a_stack_is_not_free),
        cmocka_unit_test(the_search_goes_top_down),
        cmocka_unit_test(bottom_up_begins_at_the_base),
        cmocka_unit_test(the_whole_space_can_be_mapped),
        cmocka_unit_test(the_search_keeps_off_a_stacks_guard_gap),
        cmocka_unit_test(whole_huge_pages_are_aligned_to_huge_pages),
        cmocka_unit_test(huge_pages_that_do_not_fit_aligned_go_anywhere),
        cmocka_unit_test(the_break_stops_below_a_mapping),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap: where", tests, NULL, NULL);
}
