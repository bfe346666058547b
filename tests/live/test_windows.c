/* SPDX-License-Identifier: MIT */
/*
 * The window that adapts (window_pages 0), with real faults: what a pass over
 * memory costs, and that exactly what may be there is there. Costs are counts of
 * faults that brought something in, and follow from the doubling rule: windows
 * of 1, 1, 2, 4, ... 256 pages are 512, and then it is 512 at a time.
 *
 * All is mapped at 2 MiB from the base of a space, for the blocks of streams.h
 * to begin where the mapping does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/live.h"
#include "mm/advice.h"

#define RW    (PROT_READ | PROT_WRITE)
#define MAX   512
#define PAGES 4096

#define FRESH(npages)      (10 + (npages) / MAX - 1)
#define FRESH_READ(npages) (6 + (npages) / MAX - 1) /* begins with 16 pages */

static struct uf_space *space;
static uintptr_t memory; /* PAGES of them */

static void make(void)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)64 << 20};

    space = live_space(&opts, 0);
    memory = live_page(space, MAX);
    assert_int_equal(uf_mmap(space, memory, PAGES * page_size(), RW,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     memory);
}

static void unmake(void)
{
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static volatile unsigned char *page(size_t n)
{
    return (volatile unsigned char *)(memory + n * page_size());
}

static void set(size_t n)
{
    *page(n) = (unsigned char)(n % 251 + 1);
}

static bool is_set(size_t n)
{
    return *page(n) == n % 251 + 1;
}

static uint64_t installed(void)
{
    return live_stats(space).installed;
}

/* Writes every step-th page from end to end; returns what it cost. */
static size_t pass(int step)
{
    uint64_t before = installed();

    for (long n = step > 0 ? 0 : PAGES - 1; n >= 0 && n < PAGES; n += step)
        set((size_t)n);
    return installed() - before;
}

static void advise(size_t first, size_t npages, int advice)
{
    assert_int_equal(uf_madvise(space, memory + first * page_size(),
                                npages * page_size(), advice),
                     0);
}

static void drop(void)
{
    advise(0, PAGES, MADV_DONTNEED);
}

/* In the whole space, by the kernel's word and by ours; nothing came in twice. */
static void assert_resident(size_t npages)
{
    struct uf_stats stats = live_stats(space);

    assert_int_equal(live_mincore(uf_space_base(space),
                                  uf_space_base(space) + ((size_t)64 << 20)),
                     npages);
    assert_int_equal(stats.resident, npages);
    assert_int_equal(stats.pages_installed, npages + stats.pages_dropped);
    live_assert_law(space);
}

/* ---------------------------------------------------------------- passes -- */

static void a_pass_up_doubles_its_windows(void **state)
{
    (void)state;
    make();
    assert_int_equal(pass(1), FRESH(PAGES));
    assert_resident(PAGES);
    unmake();
}

static void a_pass_down_does_as_well(void **state)
{
    (void)state;
    make();
    assert_int_equal(pass(-1), FRESH(PAGES));
    assert_resident(PAGES);
    unmake();
}

static void reads_begin_with_more(void **state)
{
    uint64_t before;
    unsigned sum = 0;

    (void)state;
    make();
    before = installed();
    for (size_t n = 0; n < PAGES; n++)
        sum += *page(n);
    assert_int_equal(installed() - before, FRESH_READ(PAGES));
    assert_resident(PAGES);
    drop();
    before = installed();
    for (size_t n = PAGES; n > 0; n--)
        sum += *page(n - 1);
    assert_in_range(installed() - before, 1, FRESH_READ(PAGES));
    assert_resident(PAGES);
    assert_int_equal(sum, 0);
    unmake();
}

/* The same memory the other way, dropped in between: no dearer than fresh. */
static void a_turn_round_costs_no_more(void **state)
{
    (void)state;
    make();
    for (int turn = 0; turn < 8; turn++) {
        assert_in_range(pass(turn % 2 ? -1 : 1), 1, FRESH(PAGES));
        assert_resident(PAGES);
        drop();
        assert_resident(0);
    }
    unmake();
}

/* The third touch tells; windows of 2, 4, 8, 16 pages, then 32 at a time. */
static void equal_distances_are_learned(void **state)
{
    size_t ntouched = (PAGES + 6) / 7;

    (void)state;
    make();
    for (int turn = 0; turn < 4; turn++) {
        assert_in_range(pass(turn % 2 ? -7 : 7), 1,
                        2 + 4 + (ntouched - 32 + 31) / 32);
        assert_resident(ntouched);
        drop();
    }
    unmake();
}

/* ----------------------------------------------------------------- sparse -- */

static void random_order_brings_in_what_is_touched(void **state)
{
    (void)state;
    make();
    /* Too far apart for equal distances to be looked for. */
    for (size_t i = 0; i < 61; i++)
        set(i * 37 % 61 * 67);
    assert_int_equal(installed(), 61);
    assert_resident(61);
    unmake();
}

/* A tenth of the pages, some of them neighbours, after a pass over all. */
static void random_touches_bring_in_hardly_more(void **state)
{
    size_t ntouched = 0, nresident;
    unsigned char touched[PAGES] = {0};
    uint32_t random = 1;

    (void)state;
    make();
    pass(1);
    drop();
    for (int i = 0; i < PAGES / 10; i++) {
        random = random * 1664525u + 1013904223u;
        ntouched += !touched[random >> 20];
        touched[random >> 20] = 1;
        set(random >> 20);
    }
    nresident = live_stats(space).resident;
    assert_resident(nresident);
    assert_in_range(nresident, ntouched, ntouched * 105 / 100);
    unmake();
}

/* ----------------------------------------------------------------- advice -- */

static void sequential_begins_with_64_pages(void **state)
{
    (void)state;
    make();
    advise(0, PAGES, MADV_SEQUENTIAL);
    set(100);
    assert_resident(64);
    assert_int_equal(
        live_mincore(memory + 64 * page_size(), memory + 128 * page_size()),
        64);
    set(128);
    assert_resident(64 + 128);
    unmake();
}

static void random_is_a_page_at_a_time(void **state)
{
    (void)state;
    make();
    advise(0, PAGES, MADV_RANDOM);
    assert_int_equal(pass(1), PAGES);
    assert_resident(PAGES);
    drop();
    for (size_t n = 0; n < 100; n++)
        assert_int_equal(*page(7 * n), 0);
    assert_resident(100);
    unmake();
}

/* ----------------------------------------------------------------- bounds -- */

/* Guards of one page and of two, with ever more between them. */
static void a_guard_is_not_brought_in(void **state)
{
    unsigned char guard[PAGES] = {0};
    size_t nguards = 0, nruns = 0;
    uint64_t before;

    (void)state;
    make();
    if (uf_madvise(space, memory, page_size(), MADV_GUARD_INSTALL) != 0)
        skip();
    advise(0, 1, MADV_GUARD_REMOVE);
    for (size_t n = 9, gap = 3; n + 2 < PAGES; n += gap, gap += 2, nruns++) {
        advise(n, 1 + n % 2, MADV_GUARD_INSTALL);
        memset(guard + n, 1, 1 + n % 2);
        nguards += 1 + n % 2;
    }
    for (int turn = 0; turn < 2; turn++) {
        before = installed();
        for (size_t i = 0; i < PAGES; i++) {
            size_t n = turn ? PAGES - 1 - i : i;

            if (!guard[n])
                set(n);
        }
        /* Each run of pages is at most one more window. */
        assert_in_range(installed() - before, 1, FRESH(PAGES) + nruns);
        assert_resident(PAGES - nguards);
        for (size_t n = 0; n < PAGES; n++)
            assert_int_equal(live_read(memory + n * page_size(), NULL, NULL),
                             guard[n] ? SIGSEGV : 0);
        drop();
    }
    unmake();
}

/* A mapping's ends, with more mapped, and closed, beside them. */
static void nothing_past_the_mapping_is_brought_in(void **state)
{
    uint64_t before;

    (void)state;
    make();
    assert_int_equal(uf_mprotect(space, memory, 1000 * page_size(), PROT_READ),
                     0);
    assert_int_equal(uf_mprotect(space, memory + 3000 * page_size(),
                                 1000 * page_size(), PROT_NONE),
                     0);
    for (size_t n = 1000; n < 3000; n++)
        set(n);
    assert_resident(2000);
    assert_in_range(installed(), 1, FRESH(2048));
    drop();
    before = installed();
    for (size_t n = 3000; n > 1000; n--)
        set(n - 1);
    assert_resident(2000);
    assert_in_range(installed() - before, 1, FRESH(2048));
    unmake();
}

/* It grows step by step and cuts each window short; the stream goes on. */
static void nothing_past_the_break_is_brought_in(void **state)
{
    enum { STEP = 33, STEPS = 12 };

    (void)state;
    make();
    for (size_t i = 0; i < STEPS; i++) {
        uintptr_t old = (uintptr_t)uf_sbrk(space, STEP * (intptr_t)page_size());

        for (size_t n = 0; n < STEP; n++)
            *(volatile unsigned char *)(old + n * page_size()) = 1;
        assert_resident((i + 1) * STEP);
    }
    /* Seven for the first 33; one a step after that. */
    assert_int_equal(installed(), 7 + STEPS - 1);
    unmake();
}

/* What is there already keeps its bytes and is not counted twice. */
static void nothing_is_brought_in_twice(void **state)
{
    (void)state;
    make();
    advise(0, PAGES, MADV_RANDOM);
    assert_int_equal(pass(10), (PAGES + 9) / 10);
    advise(0, PAGES, MADV_NORMAL);
    for (size_t n = 0; n < PAGES; n += 10)
        assert_true(is_set(n));
    /* A window for each of the holes, and one where a block of 1, 2, 4, ... 512
     * pages ends in a hole. */
    assert_in_range(pass(1), PAGES / 10, PAGES / 10 + 1 + FRESH(PAGES));
    assert_resident(PAGES);
    for (size_t n = 0; n < PAGES; n++)
        assert_true(is_set(n));
    unmake();
}

/* ---------------------------------------------------------------- threads -- */

/* Up through the lower half, or down through the upper one. */
static void take_turns(atomic_size_t *next, size_t who)
{
    for (size_t i = 0; i < PAGES / 2; i++) {
        while (atomic_load(next) != 2 * i + who)
            sched_yield();
        set(who ? PAGES - 1 - i : i);
        atomic_store(next, 2 * i + who + 1);
    }
}

static void *take_other_turns(void *next)
{
    take_turns(next, 1);
    return NULL;
}

/* Page by page in turn: each has large windows of its own. */
static void threads_have_windows_of_their_own(void **state)
{
    size_t cost = SIZE_MAX;

    (void)state;
    make();
    /* Threads whose numbers share a slot forget each other; another has
     * another number. */
    for (int tries = 0; tries < 5 && cost > 2 * FRESH(PAGES / 2); tries++) {
        atomic_size_t next = 0;
        uint64_t before = installed();
        pthread_t other;

        assert_int_equal(pthread_create(&other, NULL, take_other_turns, &next),
                         0);
        take_turns(&next, 0);
        pthread_join(other, NULL);
        cost = installed() - before;
        assert_resident(PAGES);
        drop();
    }
    assert_in_range(cost, 1, 2 * FRESH(PAGES / 2));
    unmake();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_up_doubles_its_windows),
        cmocka_unit_test(a_pass_down_does_as_well),
        cmocka_unit_test(reads_begin_with_more),
        cmocka_unit_test(a_turn_round_costs_no_more),
        cmocka_unit_test(equal_distances_are_learned),
        cmocka_unit_test(random_order_brings_in_what_is_touched),
        cmocka_unit_test(random_touches_bring_in_hardly_more),
        cmocka_unit_test(sequential_begins_with_64_pages),
        cmocka_unit_test(random_is_a_page_at_a_time),
        cmocka_unit_test(a_guard_is_not_brought_in),
        cmocka_unit_test(nothing_past_the_mapping_is_brought_in),
        cmocka_unit_test(nothing_past_the_break_is_brought_in),
        cmocka_unit_test(nothing_is_brought_in_twice),
        cmocka_unit_test(threads_have_windows_of_their_own),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
