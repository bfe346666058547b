/* SPDX-License-Identifier: MIT */
/*
 * What a forked child finds of mappings: copies, or what MADV_WIPEONFORK,
 * MADV_DONTFORK and the space's policy make of them; on spaces whose child is
 * served by the kernel, on spaces whose child has an engine, and on the
 * kernel's own memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"
#include "mm/advice.h"

#define RW    (PROT_READ | PROT_WRITE)
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

static void on_both_policies(void (*body)(struct side *))
{
    struct uf_space_opts opts = {.fork = UF_FORK_ENGINE};

    on_all_sides(body);
    if (ENGINES_FORK)
        on_all_sides_with(&opts, body);
}

/* ------------------------------------------------------------- inherited -- */

/* The child uses its copy in every way; the parent's stays as it is. */
static void use_copy(void *arg)
{
    struct side *s = arg;
    size_t page = page_size();
    uintptr_t p = side_at(s, 4), q = side_at(s, 60);
    intptr_t r;

    NEED(pages_are(p, 10, 1, 0));
    NEED(pages_are_zero(p + 10 * page, 10));
    NEED(live_write(side_at(s, 30), 1, NULL) == SIGSEGV);
    pages_write(p + 15 * page, 5, 2);
    NEED(side_munmap(s, p + 2 * page, 2 * page) == 0);
    NEED(live_read(p + 2 * page, NULL, NULL) == SIGSEGV);
    NEED(side_mprotect(s, p, page, PROT_READ) == 0);
    NEED(live_write(p, 1, NULL) == SIGSEGV);
    NEED(side_mremap(s, p + 4 * page, 6 * page, 6 * page, FIXED, q) ==
         (intptr_t)q);
    NEED(pages_are(q, 6, 1, 4));
    NEED(side_madvise(s, q, 2 * page, MADV_DONTNEED) == 0);
    NEED(pages_are_zero(q, 2));
    r = side_mmap(s, side_at(s, 80), 4 * page, RW,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1,
                  0);
    NEED(r == (intptr_t)side_at(s, 80));
    NEED(pages_are_zero((uintptr_t)r, 4));
    pages_write((uintptr_t)r, 4, 3);
    NEED(pages_are((uintptr_t)r, 4, 3, 0));
    NEED(pages_are(p + 15 * page, 5, 2, 0));
}

static void inherited_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 20, RW, 0);

    side_map(s, 30, 2, PROT_READ, 0);
    pages_write(p, 10, 1);
    in_child(use_copy, s);
    assert_true(pages_are(p, 10, 1, 0));
    assert_true(pages_are_zero(p + 10 * page_size(), 10));
    assert_unmapped(s, side_at(s, 60));
}

static void a_child_goes_on_with_its_copy(void **state)
{
    (void)state;
    on_both_policies(inherited_body);
}

/* ------------------------------------------------------------- WIPEONFORK --
 */

static void is_wiped(void *arg)
{
    struct side *s = arg;
    uintptr_t p = side_at(s, 4);
    size_t page = page_size();

    NEED(pages_are(p, 3, 1, 0));
    NEED(pages_are_zero(p + 3 * page, 4));
    NEED(pages_are(p + 7 * page, 3, 1, 7));
    pages_write(p, 10, 2);
    NEED(pages_are(p, 10, 2, 0));
    /* A grandchild finds it wiped as well. */
    if (*(volatile int *)side_at(s, 40) == 0) {
        pages_write(p, 10, 1);
        *(volatile int *)side_at(s, 40) = 1;
        NEED(child_status(is_wiped, s) == 0);
    }
}

static void wipe_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 10, RW, 0);
    size_t page = page_size();

    side_map(s, 40, 1, RW, 0);
    pages_write(p, 10, 1);
    assert_int_equal(side_madvise(s, p + 3 * page, 4 * page, MADV_WIPEONFORK),
                     0);
    in_child(is_wiped, s);
    assert_true(pages_are(p, 10, 1, 0));
    /* Not for what is shared. */
    assert_int_equal(side_mmap(s, p, page, RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     p);
    assert_int_equal(side_madvise(s, p, page, MADV_WIPEONFORK), -EINVAL);
    assert_int_equal(side_madvise(s, p, page, MADV_KEEPONFORK), 0);
}

static void a_child_finds_zeros_where_it_is_wiped(void **state)
{
    (void)state;
    on_both_policies(wipe_body);
}

static void stack_is_wiped(void *arg)
{
    NEED(pages_are_zero((uintptr_t)arg, 14));
}

/* What a stack or a mapping grows by is wiped like the rest. */
static void grown_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_map(s, 1000, 4, RW, MAP_GROWSDOWN);

    assert_int_equal(side_madvise(s, p, 4 * page, MADV_WIPEONFORK), 0);
    pages_write(p - 10 * page, 14, 1);
    in_child(stack_is_wiped, (void *)(p - 10 * page));
    p = side_map(s, 4, 4, RW, 0);
    assert_int_equal(side_madvise(s, p, 4 * page, MADV_WIPEONFORK), 0);
    assert_int_equal(side_mremap(s, p, 4 * page, 14 * page, 0, 0), p);
    pages_write(p, 14, 1);
    in_child(stack_is_wiped, (void *)p);
    assert_int_equal(
        side_mremap(s, p, 14 * page, 14 * page, FIXED, side_at(s, 100)),
        side_at(s, 100));
    assert_true(pages_are(side_at(s, 100), 14, 1, 0));
    in_child(stack_is_wiped, (void *)side_at(s, 100));
}

static void what_grows_is_wiped_too(void **state)
{
    (void)state;
    on_both_policies(grown_body);
}

/* --------------------------------------------------------------- DONTFORK --
 */

static void is_absent(void *arg)
{
    struct side *s = arg;
    uintptr_t p = side_at(s, 4);
    size_t page = page_size();
    unsigned char vec[10];

    NEED(pages_are(p, 3, 1, 0));
    NEED(pages_are(p + 7 * page, 3, 1, 7));
    for (size_t i = 3; i < 7; i++) {
        NEED(live_read(p + i * page, NULL, NULL) == SIGSEGV);
        NEED(live_write(p + i * page, 1, NULL) == SIGSEGV);
    }
    NEED(side_mincore(s, p + 3 * page, page, vec) == -ENOMEM);
    NEED(side_madvise(s, p, 10 * page, MADV_NORMAL) == -ENOMEM);
    /* It is free: in part, as a whole, by hint. */
    NEED(side_mmap(s, p + 4 * page, page, RW,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                   0) == (intptr_t)(p + 4 * page));
    NEED(pages_are_zero(p + 4 * page, 1));
    pages_write(p + 4 * page, 1, 5);
    NEED(side_mmap(s, p + 3 * page, 4 * page, RW,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                   0) == (intptr_t)(p + 3 * page));
    NEED(pages_are_zero(p + 3 * page, 4));
    pages_write(p, 10, 6);
    NEED(pages_are(p, 10, 6, 0));
    NEED(side_munmap(s, p, 10 * page) == 0);
    NEED(live_read(p + 5 * page, NULL, NULL) == SIGSEGV);
}

static void dontfork_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 10, RW, 0);
    size_t page = page_size();

    pages_write(p, 10, 1);
    assert_int_equal(side_madvise(s, p + 3 * page, 4 * page, MADV_DONTFORK), 0);
    in_child(is_absent, s);
    assert_true(pages_are(p, 10, 1, 0));
    assert_int_equal(side_madvise(s, p + 3 * page, 4 * page, MADV_DONTFORK), 0);
    in_child(is_absent, s);
    assert_true(pages_are(p, 10, 1, 0));
}

static void a_child_finds_nothing_where_it_is_not_to_fork(void **state)
{
    (void)state;
    on_both_policies(dontfork_body);
}

static void has_all(void *arg)
{
    NEED(pages_are(side_at(arg, 4), 10, 1, 0));
}

static void dofork_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 10, RW, 0);

    pages_write(p, 10, 1);
    assert_int_equal(side_madvise(s, p, 10 * page_size(), MADV_DONTFORK), 0);
    assert_int_equal(side_madvise(s, p, 10 * page_size(), MADV_DOFORK), 0);
    in_child(has_all, s);
    /* New memory at the same place forks again. */
    assert_int_equal(side_madvise(s, p, 10 * page_size(), MADV_DONTFORK), 0);
    side_map(s, 4, 10, RW, 0);
    pages_write(p, 10, 1);
    in_child(has_all, s);
}

static void dofork_and_a_new_mapping_end_it(void **state)
{
    (void)state;
    on_both_policies(dofork_body);
}

/* The child's own engine serves what it maps where nothing was inherited. */
static void maps_again(void *arg)
{
    struct side *s = arg;
    struct uf_stats before = {.size = sizeof(before)}, after = before;
    uintptr_t p = side_at(s, 4);

    NEED(uf_space_stats(s->space, &before) == 0);
    NEED(before.total_vm == 0 && before.map_count == 0);
    NEED(before.resident == 0);
    NEED(side_mmap(s, p, 10 * page_size(), RW,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                   0) == (intptr_t)p);
    pages_write(p, 10, 1);
    NEED(uf_space_stats(s->space, &after) == 0);
    NEED(after.faults == before.faults + 10 && after.resident == 10);
    NEED(uf_space_destroy(s->space) == 0);
}

static void a_childs_engine_serves_what_it_maps_there(void **state)
{
    struct uf_space_opts opts = {.fork = UF_FORK_ENGINE, .window_pages = 1};
    struct side s = {0};

    (void)state;
    if (!ENGINES_FORK)
        skip();
    s.space = live_space(&opts, 0);
    s.base = uf_space_base(s.space);
    side_map(&s, 4, 10, RW, 0);
    pages_write(side_at(&s, 4), 10, 1);
    assert_int_equal(
        uf_madvise(s.space, side_at(&s, 4), 10 * page_size(), MADV_DONTFORK),
        0);
    in_child(maps_again, &s);
    assert_true(pages_are(side_at(&s, 4), 10, 1, 0));
    assert_int_equal(uf_space_destroy(s.space), 0);
}

/* ----------------------------------------------------------------- locked --
 */

static void is_unlocked(void *arg)
{
    struct side *s = arg;
    uintptr_t p = side_at(s, 4);
    struct uf_stats stats = {.size = sizeof(stats)};

    NEED(!host_has_flag(p, " lo"));
    NEED(pages_are(p, 10, 1, 0));
    NEED(side_madvise(s, p, page_size(), MADV_DONTNEED) == 0);
    if (s->space) {
        NEED(uf_space_stats(s->space, &stats) == 0);
        NEED(stats.locked_vm == 0 && stats.total_vm == 10);
    }
}

static void locked_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 10, RW, MAP_LOCKED);

    pages_write(p, 10, 1);
    in_child(is_unlocked, s);
    assert_true(host_has_flag(p, " lo"));
    assert_int_equal(side_munmap(s, p, 10 * page_size()), 0);
}

static void a_child_inherits_no_lock(void **state)
{
    (void)state;
    on_both_policies(locked_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_goes_on_with_its_copy),
        cmocka_unit_test(a_child_finds_zeros_where_it_is_wiped),
        cmocka_unit_test(what_grows_is_wiped_too),
        cmocka_unit_test(a_child_finds_nothing_where_it_is_not_to_fork),
        cmocka_unit_test(dofork_and_a_new_mapping_end_it),
        cmocka_unit_test(a_childs_engine_serves_what_it_maps_there),
        cmocka_unit_test(a_child_inherits_no_lock),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("madvise and fork", tests, NULL, NULL);
}
