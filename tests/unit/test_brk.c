/* SPDX-License-Identifier: MIT */
/*
 * The order of checks of a break, as a table: what the space is like, what is
 * asked for, what comes of it. Without an engine, so the kernel serves the
 * memory and no userfaultfd is needed.
 *
 * Addresses are in pages from start_brk; "+b" are bytes more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/map.h"
#include "mm/space.h"
#include "pager/pager.h"

#define LEN_PAGES 32
#define NONE      UINT64_MAX

static struct uf_space *make_space(uint32_t flags)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = LEN_PAGES * page_size(),
                                 .flags = flags};
    struct space_params params = {.opts = &opts};
    struct uf_space *space = NULL;

    assert_int_equal(space_opts_check(&opts), 0);
    assert_int_equal(space_create(&params, &space), 0);
    return space;
}

static uintptr_t at(const struct uf_space *space, size_t pages, intptr_t bytes)
{
    return space->start_brk + pages * page_size() + (uintptr_t)bytes;
}

static uintptr_t brk_to(struct uf_space *space, uintptr_t brk)
{
    struct range grown;
    uintptr_t now = space_brk(space, brk, &grown);

    assert_true(space_is_valid(space));
    return now;
}

/* One page that is in the way. */
static void insert_page(struct uf_space *space, size_t page)
{
    struct vma vma = {.start = at(space, page, 0),
                      .end = at(space, page + 1, 0),
                      .pager = pager_zero(),
                      .generation = ++space->generation};

    assert_int_equal(vma_set_reserve(&space->vmas, 1), 0);
    vma_set_insert(&space->vmas, &vma);
    limits_account_locked(space, 1, vma.flags);
}

struct row {
    const char *what;
    size_t brk_pages;    /* the break before */
    size_t foreign_page; /* 0: none */
    uint64_t data_pages; /* RLIMIT_DATA, NONE: no limit */
    int64_t data_bytes;  /* more */
    uint64_t data_extra; /* bytes of static data */
    uint64_t as_pages;   /* RLIMIT_AS */
    size_t ask_pages;
    int64_t ask_bytes;
    bool moves;
};

static const struct row rows[] = {
    {"below the start", 4, 0, NONE, 0, 0, NONE, 0, -1, false},
    {"the start", 4, 0, NONE, 0, 0, NONE, 0, 0, true},
    {"0", 4, 0, NONE, 0, 0, NONE, 0, INT64_MIN, false},

    {"at the data limit", 0, 0, 4, 0, 0, NONE, 4, 0, true},
    {"a byte beyond", 0, 0, 4, 0, 0, NONE, 4, 1, false},
    {"beyond it within a page", 0, 0, 4, 9, 0, NONE, 4, 9, false},
    {"static data counts", 0, 0, 4, 0, 1, NONE, 4, 0, false},
    {"static data counts, just", 0, 0, 4, 1, 1, NONE, 4, 0, true},
    {"over the limit, lower is refused", 9, 0, 4, 0, 0, NONE, 8, 0, false},
    {"over the limit, the same page is refused", 9, 0, 4, 0, 0, NONE, 9, 0,
     false},
    {"over the limit, low enough is not", 9, 0, 4, 0, 0, NONE, 4, 0, true},
    {"data pages: a part of a page is a page", 0, 0, 4, 1, 0, NONE, 4, 1,
     false},

    {"the same page, limit of pages at 0", 4, 0, NONE, 0, 0, 0, 3, 1, true},
    {"lower, limit of pages at 0", 4, 0, NONE, 0, 0, 0, 3, 0, true},
    {"higher, limit of pages at 0", 4, 0, NONE, 0, 0, 0, 4, 1, false},
    {"at the address-space limit", 4, 0, NONE, 0, 0, 8, 8, 0, true},
    {"a byte beyond it", 4, 0, NONE, 0, 0, 8, 8, 1, false},
    {"others count too", 4, 20, NONE, 0, 0, 8, 8, 0, false},
    {"others count too, just", 4, 20, NONE, 0, 0, 8, 7, 0, true},

    {"one page short of the next mapping", 4, 20, NONE, 0, 0, NONE, 19, 0,
     true},
    {"the guard page", 4, 20, NONE, 0, 0, NONE, 19, 1, false},
    {"the next mapping", 4, 20, NONE, 0, 0, NONE, 20, 0, false},
    {"beyond the next mapping", 4, 20, NONE, 0, 0, NONE, 25, 0, false},
    {"lower, with a mapping right above", 4, 4, NONE, 0, 0, NONE, 3, 0, true},
    {"the same page, with one right above", 4, 4, NONE, 0, 0, NONE, 4, -5,
     true},
    {"higher, with one right above", 4, 4, NONE, 0, 0, NONE, 4, 1, false},

    {"the end of the space, no guard", 4, 0, NONE, 0, 0, NONE, LEN_PAGES, 0,
     true},
    {"beyond it", 4, 0, NONE, 0, 0, NONE, LEN_PAGES, 1, false},
    {"far beyond", 4, 0, NONE, 0, 0, NONE, (size_t)1 << 40, 0, false},
};

static void set_up(struct uf_space *space, const struct row *row)
{
    size_t page = page_size();

    assert_true(brk_to(space, at(space, row->brk_pages, 0)) ==
                at(space, row->brk_pages, 0));
    if (row->foreign_page)
        insert_page(space, row->foreign_page);
    space->data_extra = row->data_extra;
    if (row->data_pages != NONE)
        space->limit_data = row->data_pages * page + (uint64_t)row->data_bytes;
    if (row->as_pages != NONE)
        space->limit_as = row->as_pages * page;
}

static void the_checks_in_their_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct uf_space *space = make_space(0);
        uintptr_t before, ask, want, got;

        set_up(space, row);
        before = space->brk;
        ask = row->ask_bytes == INT64_MIN
                  ? 0
                  : at(space, row->ask_pages, row->ask_bytes);
        want = row->moves ? ask : before;
        got = brk_to(space, ask);
        if (got != want)
            fail_msg("row \"%s\": %+ld bytes, not %+ld", row->what,
                     (long)(got - space->start_brk),
                     (long)(want - space->start_brk));
        space_destroy(space);
    }
}

/* Rounding up the highest addresses wraps; no such break is taken for a lower
 * one. */
static void the_top_of_the_address_space(void **state)
{
    struct uf_space *space = make_space(0);
    uintptr_t before = brk_to(space, at(space, 4, 0));

    (void)state;
    for (uintptr_t below = 0; below < 2 * page_size(); below += 511)
        assert_true(brk_to(space, UINTPTR_MAX - below) == before);
    assert_int_equal(COUNTER_GET(space->counters, brk_shrunk), 0);
    space_destroy(space);
}

/* Whole pages above go, the page of the break keeps its bytes. */
static void the_page_of_the_break_keeps_its_bytes(void **state)
{
    struct uf_space *space = make_space(0);
    unsigned char *p = (unsigned char *)space->start_brk;
    size_t page = page_size();

    (void)state;
    brk_to(space, at(space, 3, 0));
    memset(p, 0x5a, 3 * page);
    brk_to(space, at(space, 1, 10));
    brk_to(space, at(space, 3, 0));
    assert_int_equal(p[page + 9], 0x5a);
    assert_int_equal(p[page + 10], 0x5a); /* not cleared, as in the kernel */
    assert_int_equal(p[2 * page - 1], 0x5a);
    assert_int_equal(p[2 * page], 0);
    assert_int_equal(p[3 * page - 1], 0);
    space_destroy(space);
}

static void assert_grown(struct uf_space *space, uintptr_t brk, uintptr_t start,
                         uintptr_t end)
{
    struct range grown = {1, 2};

    space_brk(space, brk, &grown);
    if (start == end)
        assert_true(range_is_empty(grown));
    else
        assert_true(grown.start == start && grown.end == end);
}

/* What came in, for who populates it. */
static void what_has_grown_is_told(void **state)
{
    struct uf_space *space = make_space(UF_SPACE_LOCKED);

    (void)state;
    assert_grown(space, at(space, 2, 1), at(space, 0, 0), at(space, 3, 0));
    assert_grown(space, at(space, 3, 0), 0, 0);
    assert_grown(space, at(space, 5, 0), at(space, 3, 0), at(space, 5, 0));
    assert_grown(space, at(space, 4, 0), 0, 0);
    assert_grown(space, at(space, 99, 0), 0, 0);
    assert_int_equal(space->pages.locked, 4);
    assert_int_equal(space->vmas.count, 1); /* merged */
    space_destroy(space);
}

/* glibc's sbrk, step by step. */
static void sbrk_as_glibcs(void **state)
{
    struct uf_space *space = make_space(0);
    intptr_t page = (intptr_t)page_size();
    struct range grown;
    intptr_t base = (intptr_t)space->start_brk;

    (void)state;
    assert_true(space_sbrk(space, 0, &grown) == base);
    assert_true(space_sbrk(space, 3 * page, &grown) == base);
    assert_true(space_sbrk(space, -page, &grown) == base + 3 * page);
    assert_true(space_sbrk(space, 0, &grown) == base + 2 * page);
    assert_int_equal(space_sbrk(space, LEN_PAGES * page, &grown), -ENOMEM);
    assert_int_equal(space_sbrk(space, INTPTR_MAX, &grown), -ENOMEM);
    assert_int_equal(space_sbrk(space, INTPTR_MIN, &grown), -ENOMEM);
    /* Below the start: the break stays, the answer is a success. */
    assert_true(space_sbrk(space, -3 * page, &grown) == base + 2 * page);
    assert_true(space_sbrk(space, 0, &grown) == base + 2 * page);
    space_destroy(space);
}

/* A touch was looked up, and then the space began to go: it had a stack, whose
 * place is another's by now. */
static void what_goes_grows_no_more(void **state)
{
    struct uf_space *space = make_space(0);
    struct vma stack = {.start = at(space, 20, 0),
                        .end = at(space, 24, 0),
                        .flags = VMA_READ | VMA_WRITE | VMA_GROWSDOWN,
                        .pager = pager_zero(),
                        .generation = ++space->generation};
    uintptr_t below = at(space, 19, 0);
    size_t count;

    (void)state;
    space->limit_stack = UINT64_MAX;
    assert_int_equal(vma_set_reserve(&space->vmas, 1), 0);
    vma_set_insert(&space->vmas, &stack);
    limits_account_locked(space, 4, stack.flags);
    count = space->pages.total;
    assert_true(stack_grow(space, below));
    assert_int_equal(space->pages.total, count + 1);
    rwlock_take_write(&space->map_lock);
    atomic_store(&space->dying, true);
    region_release(&space->region);
    rwlock_release(&space->map_lock);
    below -= page_size();
    assert_true(mmap((void *)below, page_size(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                     0) == (void *)below);
    assert_false(stack_grow(space, below));
    assert_int_equal(space->pages.total, count + 1);
    *(volatile char *)below = 1;
    assert_int_equal(munmap((void *)below, page_size()), 0);
    space_destroy(space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checks_in_their_order),
        cmocka_unit_test(the_top_of_the_address_space),
        cmocka_unit_test(the_page_of_the_break_keeps_its_bytes),
        cmocka_unit_test(what_has_grown_is_told),
        cmocka_unit_test(sbrk_as_glibcs),
        cmocka_unit_test(what_goes_grows_no_more),
    };

    return cmocka_run_group_tests_name("brk", tests, NULL, NULL);
}
