/* SPDX-License-Identifier: MIT */
/*
 * Mappings with a pager of their own: each page comes from the right offset,
 * once, wherever the mapping has been split, moved, dropped or joined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW    (PROT_READ | PROT_WRITE)
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define OFFSET ((uint64_t)1 << 40) /* pages, far beyond the space's length */

static struct uf_space *space;
static struct live_pager told;

static uintptr_t page_at(size_t n)
{
    return live_page(space, n);
}

static void make(uint32_t window_pages, enum uf_fork fork)
{
    struct uf_space_opts opts = {.window_pages = window_pages, .fork = fork};

    space = live_space(&opts, 0);
    live_pager_init(&told, NULL, NULL);
}

static void unmake(void)
{
    live_assert_law(space);
    assert_int_equal(live_stats(space).refused, 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(atomic_load(&told.released), 0);
    uf_pager_unref(told.pager);
    assert_int_equal(atomic_load(&told.released), 1);
}

/* Maps pages [first, first + npages) to the pager's pages from `offset` on. */
static uintptr_t map_told(size_t first, size_t npages, uint64_t offset)
{
    uintptr_t p = page_at(first);

    assert_int_equal(uf_mmap_pager(space, p, npages * page_size(), RW,
                                   MAP_PRIVATE | MAP_FIXED, told.pager,
                                   offset * page_size()),
                     p);
    return p;
}

/* What is at p are the pager's pages from `offset` on. */
static bool is_told(uintptr_t p, size_t npages, uint64_t offset)
{
    for (size_t i = 0; i < npages * page_size(); i++)
        if (((const unsigned char *)p)[i] !=
            live_pattern(offset * page_size() + i))
            return false;
    return true;
}

/* Each test with windows of 1 page and of 64. */
static void with_windows(void (*body)(void))
{
    make(1, UF_FORK_DEFAULT);
    body();
    unmake();
    make(64, UF_FORK_DEFAULT);
    body();
    unmake();
}

/* ------------------------------------------------------------- the bytes -- */

static void bytes_body(void)
{
    uintptr_t p = map_told(4, 20, OFFSET);
    uintptr_t q = map_told(40, 20, 3);

    assert_true(is_told(p + 7 * page_size(), 1, OFFSET + 7));
    assert_true(is_told(q, 20, 3));
    assert_true(is_told(p, 20, OFFSET));
    assert_int_equal(live_stats(space).pager_bytes, 40 * page_size());
    assert_int_equal(live_stats(space).resident, 40);
}

static void each_page_comes_from_its_offset(void **state)
{
    (void)state;
    with_windows(bytes_body);
}

static void split_body(void)
{
    size_t page = page_size();
    uintptr_t p = map_told(4, 30, OFFSET);

    assert_int_equal(uf_munmap(space, p + 10 * page, 3 * page), 0);
    assert_int_equal(uf_mprotect(space, p + 20 * page, 4 * page, PROT_READ), 0);
    assert_int_equal(uf_madvise(space, p + 5 * page, page, MADV_RANDOM), 0);
    assert_int_equal(live_stats(space).map_count, 6);
    assert_true(is_told(p, 10, OFFSET));
    assert_true(is_told(p + 13 * page, 17, OFFSET + 13));
    assert_refused(p + 20 * page, true);
    /* Mapped again where it was: one with its neighbours. */
    map_told(14, 3, OFFSET + 10);
    assert_int_equal(uf_mprotect(space, p, 30 * page, RW), 0);
    assert_int_equal(uf_madvise(space, p, 30 * page, MADV_NORMAL), 0);
    assert_int_equal(live_stats(space).map_count, 1);
    /* Other offsets: not one with them. */
    map_told(14, 3, OFFSET);
    assert_int_equal(live_stats(space).map_count, 3);
    assert_true(is_told(p + 10 * page, 3, OFFSET));
}

static void offsets_survive_splits_and_merges(void **state)
{
    (void)state;
    with_windows(split_body);
}

/* ------------------------------------------------------------ they go away --
 */

static void drop_body(void)
{
    size_t page = page_size();
    uintptr_t p = map_told(4, 30, OFFSET);

    pages_write(p, 30, 1);
    assert_int_equal(uf_madvise(space, p + 7 * page, 11 * page, MADV_DONTNEED),
                     0);
    assert_int_equal(live_stats(space).resident, 19);
    assert_true(pages_are(p, 7, 1, 0));
    assert_true(is_told(p + 7 * page, 11, OFFSET + 7));
    assert_true(pages_are(p + 18 * page, 12, 1, 18));
}

static void what_is_dropped_comes_from_the_pager_again(void **state)
{
    (void)state;
    with_windows(drop_body);
}

/* ------------------------------------------------------------------- moves --
 */

static void move_body(void)
{
    size_t page = page_size();
    uintptr_t p = map_told(4, 30, OFFSET), q = page_at(100);

    pages_write(p + 10 * page, 5, 1);
    assert_int_equal(uf_mremap(space, p, 30 * page, 30 * page, FIXED, q), q);
    assert_true(pages_are(q + 10 * page, 5, 1, 0));
    assert_true(is_told(q, 10, OFFSET));
    assert_true(is_told(q + 15 * page, 15, OFFSET + 15));
    /* A part of it, back; then what was moved is dropped. */
    assert_int_equal(uf_mremap(space, q + 8 * page, 10 * page, 10 * page, FIXED,
                               p + 8 * page),
                     p + 8 * page);
    assert_true(pages_are(p + 10 * page, 5, 1, 0));
    assert_int_equal(uf_madvise(space, p + 8 * page, 10 * page, MADV_DONTNEED),
                     0);
    assert_true(is_told(p + 8 * page, 10, OFFSET + 8));
    assert_int_equal(uf_madvise(space, q, 8 * page, MADV_DONTNEED), 0);
    assert_true(is_told(q, 8, OFFSET));
    assert_true(is_told(q + 18 * page, 12, OFFSET + 18));
}

static void offsets_move_with_the_mapping(void **state)
{
    (void)state;
    with_windows(move_body);
}

static void grow_body(void)
{
    size_t page = page_size();
    uintptr_t p = map_told(4, 4, OFFSET), q;

    assert_int_equal(uf_mremap(space, p, 4 * page, 20 * page, 0, 0), p);
    assert_true(is_told(p, 20, OFFSET));
    assert_true(map_told(30, 1, 0) != 0);
    q = (uintptr_t)uf_mremap(space, p, 20 * page, 50 * page, MREMAP_MAYMOVE, 0);
    assert_true((intptr_t)q > 0 && q != p);
    assert_true(is_told(q, 50, OFFSET));
    /* Grown where it is now, in one call over both parts. */
    assert_int_equal(uf_munmap(space, q + 40 * page, 10 * page), 0);
    assert_int_equal(uf_mremap(space, q, 40 * page, 45 * page, 0, 0), q);
    assert_true(is_told(q, 45, OFFSET));
    assert_int_equal(uf_mremap(space, q, 45 * page, 45 * page, FIXED, p), p);
    assert_true(is_told(p, 45, OFFSET));
}

static void what_grows_continues_at_the_next_offset(void **state)
{
    (void)state;
    with_windows(grow_body);
}

static void stay_body(void)
{
    size_t page = page_size();
    uintptr_t p = map_told(4, 10, OFFSET), q = page_at(100);

    pages_write(p, 10, 1);
    assert_int_equal(
        uf_mremap(space, p, 10 * page, 10 * page, FIXED | MREMAP_DONTUNMAP, q),
        q);
    assert_true(pages_are(q, 10, 1, 0));
    assert_true(is_told(p, 10, OFFSET));
    assert_int_equal(live_stats(space).resident, 20);
}

static void what_dontunmap_leaves_is_filled_again(void **state)
{
    (void)state;
    with_windows(stay_body);
}

/* -------------------------------------------------------------- populating --
 */

static void populate_body(void)
{
    size_t page = page_size();
    uintptr_t p = page_at(4), q = page_at(40);

    assert_int_equal(uf_mmap_pager(space, p, 20 * page, RW,
                                   MAP_PRIVATE | MAP_FIXED | MAP_POPULATE,
                                   told.pager, OFFSET * page),
                     p);
    assert_int_equal(live_mincore(p, p + 20 * page), 20);
    map_told(40, 20, 9);
    assert_int_equal(uf_madvise(space, q, 10 * page, MADV_POPULATE_READ), 0);
    assert_int_equal(
        uf_madvise(space, q + 10 * page, 10 * page, MADV_POPULATE_WRITE), 0);
    assert_int_equal(live_mincore(q, q + 20 * page), 20);
    assert_int_equal(live_stats(space).faults, 0);
    assert_true(is_told(p, 20, OFFSET));
    assert_true(is_told(q, 20, 9));
    map_told(70, 5, 1);
    assert_int_equal(uf_mlock(space, page_at(70), 5 * page), 0);
    assert_int_equal(live_mincore(page_at(70), page_at(75)), 5);
    assert_true(is_told(page_at(70), 5, 1));
}

static void populating_asks_the_pager(void **state)
{
    (void)state;
    with_windows(populate_body);
}

/* --------------------------------------------------------------- references --
 */

/* The mapping holds a reference; the last one goes with its last page. */
static void a_mapping_keeps_its_pager_alive(void **state)
{
    size_t page = page_size();
    uintptr_t p;

    (void)state;
    make(1, UF_FORK_DEFAULT);
    p = map_told(4, 10, OFFSET);
    uf_pager_unref(told.pager);
    assert_int_equal(uf_munmap(space, p + 3 * page, 2 * page), 0);
    assert_int_equal(
        uf_mremap(space, p, 2 * page, 2 * page, FIXED, page_at(50)),
        page_at(50));
    assert_int_equal(uf_munmap(space, p, 10 * page), 0);
    assert_int_equal(atomic_load(&told.released), 0);
    assert_true(is_told(page_at(50), 2, OFFSET));
    assert_int_equal(uf_munmap(space, page_at(50), page), 0);
    assert_int_equal(atomic_load(&told.released), 0);
    /* Replaced by anonymous memory. */
    assert_int_equal(uf_mmap(space, page_at(51), page, RW,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     page_at(51));
    assert_int_equal(atomic_load(&told.released), 1);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(atomic_load(&told.released), 1);
}

/* ------------------------------------------------------------------- forks --
 */

static void sees_bytes(void *arg)
{
    uintptr_t p = (uintptr_t)arg;

    NEED(pages_are(p, 3, 1, 0));
    NEED(is_told(p + 3 * page_size(), 7, OFFSET + 3));
    NEED(uf_munmap(space, p, page_size()) == 0);
    NEED(live_read(p, NULL, NULL) == SIGSEGV);
    NEED(uf_space_destroy(space) == 0);
}

static void is_not_there(void *arg)
{
    uintptr_t p = (uintptr_t)arg;

    for (size_t i = 0; i < 10; i++)
        NEED(live_read(p + i * page_size(), NULL, NULL) == SIGSEGV);
}

/* Never zeros where the pager's bytes belong. */
static void a_child_sees_the_pagers_bytes_or_nothing(void **state)
{
    static const enum uf_fork policies[] = {UF_FORK_DEFAULT, UF_FORK_NONE,
                                            UF_FORK_ENGINE};

    (void)state;
    for (size_t i = 0; i < 2 + ENGINES_FORK; i++) {
        uintptr_t p;

        make(1, policies[i]);
        p = map_told(4, 10, OFFSET);
        pages_write(p, 3, 1);
        in_child(policies[i] == UF_FORK_ENGINE ? sees_bytes : is_not_there,
                 (void *)p);
        assert_true(pages_are(p, 3, 1, 0));
        assert_true(is_told(p + 3 * page_size(), 7, OFFSET + 3));
        unmake();
    }
}

/* The child can have no descriptor, hence no engine. */
static void a_child_without_an_engine_sees_nothing(void **state)
{
    struct rlimit before, none;
    uintptr_t p;

    (void)state;
    /* The sanitizer opens a file when a handler that ours has called jumps. */
    if (LIVE_SANITIZED && live_engine_kind() == UF_ENGINE_SIGNAL)
        skip();
    make(1, UF_FORK_ENGINE);
    p = map_told(4, 10, OFFSET);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    in_child(is_not_there, (void *)p);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(is_told(p, 10, OFFSET));
    unmake();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_page_comes_from_its_offset),
        cmocka_unit_test(offsets_survive_splits_and_merges),
        cmocka_unit_test(what_is_dropped_comes_from_the_pager_again),
        cmocka_unit_test(offsets_move_with_the_mapping),
        cmocka_unit_test(what_grows_continues_at_the_next_offset),
        cmocka_unit_test(what_dontunmap_leaves_is_filled_again),
        cmocka_unit_test(populating_asks_the_pager),
        cmocka_unit_test(a_mapping_keeps_its_pager_alive),
        cmocka_unit_test(a_child_sees_the_pagers_bytes_or_nothing),
        cmocka_unit_test(a_child_without_an_engine_sees_nothing),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap: pagers", tests, NULL, NULL);
}
