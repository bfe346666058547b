/* SPDX-License-Identifier: MIT */
/*
 * Guards (MADV_GUARD_INSTALL, Linux 6.13): pages of a mapping that are a
 * SIGSEGV to touch. What brings in the pages around them must leave them be,
 * which the kernel does not see to: a UFFDIO_COPY goes over a guard.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"
#include "mm/advice.h"

#define RW    (PROT_READ | PROT_WRITE)
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

static int install(struct side *s, uintptr_t p, size_t npages)
{
    return side_madvise(s, p, npages * page_size(), MADV_GUARD_INSTALL);
}

static int take_away(struct side *s, uintptr_t p, size_t npages)
{
    return side_madvise(s, p, npages * page_size(), MADV_GUARD_REMOVE);
}

static bool is_guard(uintptr_t p)
{
    return live_read(p, NULL, NULL) == SIGSEGV &&
           live_write(p, 1, NULL) == SIGSEGV;
}

static void around_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_map(s, 0, 128, RW, 0);

    /* Every tenth page, none touched before. */
    for (size_t i = 5; i < 128; i += 10)
        assert_int_equal(install(s, p + i * page, 1), 0);
    for (size_t i = 0; i < 128; i++) {
        if (i % 10 == 5)
            assert_true(is_guard(p + i * page));
        else
            assert_int_equal(live_write(p + i * page, (unsigned char)i, NULL),
                             0);
    }
    for (size_t i = 0; i < 128; i++) {
        if (i % 10 == 5)
            assert_true(is_guard(p + i * page));
        else
            assert_int_equal(*(volatile unsigned char *)(p + i * page), i);
    }
}

static void touches_around_a_guard_leave_it_there(void **state)
{
    (void)state;
    on_all_sides(around_body);
}

/* Over touched pages: their bytes are gone. */
static void over_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_map(s, 0, 16, RW, 0);

    pages_write(p, 16, 1);
    assert_int_equal(install(s, p + 4 * page, 4), 0);
    assert_true(is_guard(p + 4 * page) && is_guard(p + 7 * page));
    assert_true(pages_are(p, 4, 1, 0));
    assert_true(pages_are(p + 8 * page, 8, 1, 8));
    assert_int_equal(install(s, p + 6 * page, 4), 0); /* again, and more */
    assert_int_equal(take_away(s, p, 6), 0);
    assert_true(pages_are_zero(p + 4 * page, 2));
    assert_true(is_guard(p + 6 * page) && is_guard(p + 9 * page));
    assert_int_equal(take_away(s, p, 16), 0);
    assert_true(pages_are_zero(p + 4 * page, 6));
    assert_true(pages_are(p, 4, 1, 0));
    assert_true(pages_are(p + 10 * page, 6, 1, 10));
}

static void a_guard_replaces_what_was_there(void **state)
{
    (void)state;
    on_all_sides(over_body);
}

/* What they survive: dropping, protection, populating around, moves. */
static void survive_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_map(s, 0, 32, RW, 0), q = side_at(s, 100);

    assert_int_equal(install(s, p + 10 * page, 2), 0);
    pages_write(p, 10, 1);
    assert_int_equal(side_madvise(s, p, 32 * page, MADV_DONTNEED), 0);
    assert_true(is_guard(p + 10 * page));
    assert_int_equal(live_write(p + 9 * page, 1, NULL), 0);
    assert_int_equal(live_write(p + 12 * page, 1, NULL), 0);
    assert_true(is_guard(p + 11 * page));
    assert_int_equal(side_mprotect(s, p, 32 * page, PROT_READ), 0);
    assert_int_equal(side_mprotect(s, p, 32 * page, RW), 0);
    assert_true(is_guard(p + 10 * page));
    assert_int_equal(side_madvise(s, p, 32 * page, MADV_POPULATE_WRITE),
                     -EFAULT);
    assert_int_equal(side_resident(s, p, 10), 10);
    assert_int_equal(
        side_madvise(s, p + 12 * page, 20 * page, MADV_POPULATE_READ), 0);
    assert_true(is_guard(p + 11 * page));
    assert_int_equal(side_mremap(s, p, 32 * page, 32 * page, FIXED, q), q);
    assert_true(is_guard(q + 10 * page) && is_guard(q + 11 * page));
    assert_int_equal(side_madvise(s, q, 10 * page, MADV_DONTNEED), 0);
    assert_int_equal(live_write(q + 9 * page, 1, NULL), 0);
    assert_true(is_guard(q + 10 * page));
    /* The place they left is like any other. */
    side_map(s, 0, 32, RW, 0);
    pages_write(p, 32, 2);
    assert_true(pages_are(p, 32, 2, 0));
    assert_int_equal(take_away(s, q, 32), 0);
    assert_true(pages_are_zero(q + 10 * page, 2));
}

static void guards_survive_all_but_their_removal(void **state)
{
    (void)state;
    on_all_sides(survive_body);
}

/* They go with the mapping: munmap, MAP_FIXED over it, a shrinking mremap. */
static void end_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = side_map(s, 0, 32, RW, 0);

    assert_int_equal(install(s, p + 4 * page, 24), 0);
    assert_int_equal(side_munmap(s, p + 8 * page, 4 * page), 0);
    side_map(s, 8, 4, RW, 0);
    pages_write(p + 8 * page, 4, 1);
    side_map(s, 12, 4, RW, 0);
    pages_write(p + 12 * page, 4, 1);
    assert_int_equal(side_mremap(s, p + 16 * page, 16 * page, 4 * page, 0, 0),
                     p + 16 * page);
    side_map(s, 20, 12, RW, 0);
    pages_write(p + 20 * page, 12, 1);
    for (size_t i = 4; i < 8; i++)
        assert_true(is_guard(p + i * page));
    for (size_t i = 16; i < 20; i++)
        assert_true(is_guard(p + i * page));
    assert_true(pages_are(p + 8 * page, 4, 1, 0));
    assert_true(pages_are(p + 12 * page, 4, 1, 0));
    assert_true(pages_are(p + 20 * page, 12, 1, 0));
}

static void guards_go_with_their_mapping(void **state)
{
    (void)state;
    on_all_sides(end_body);
}

static void refused_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, MAP_LOCKED);
    size_t page = page_size();

    assert_int_equal(install(s, p, 8), -EINVAL);
    assert_int_equal(take_away(s, p, 8), 0);
    pages_write(p, 8, 1);
    side_map(s, 20, 2, RW, 0);
    side_map(s, 24, 2, RW, 0);
    assert_int_equal(install(s, side_at(s, 20), 6), -ENOMEM);
    assert_true(is_guard(side_at(s, 20)) && is_guard(side_at(s, 25)));
    /* Memory that is locked now has its guards still. */
    assert_int_equal(side_mlock2(s, side_at(s, 20), 2 * page, 0), -ENOMEM);
    assert_true(is_guard(side_at(s, 20)));
    assert_true(pages_are(p, 8, 1, 0));
}

static void locked_memory_takes_no_guard(void **state)
{
    (void)state;
    on_all_sides(refused_body);
}

static void sees_guards(void *arg)
{
    uintptr_t p = (uintptr_t)arg;

    NEED(pages_are(p, 4, 1, 0));
    NEED(is_guard(p + 4 * page_size()));
    NEED(live_write(p + 5 * page_size(), 1, NULL) == 0);
    NEED(live_write(p + 3 * page_size(), 1, NULL) == 0);
    NEED(is_guard(p + 4 * page_size()));
}

static void fork_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 16, RW, 0);

    pages_write(p, 4, 1);
    assert_int_equal(install(s, p + 4 * page_size(), 1), 0);
    in_child(sees_guards, (void *)p);
    assert_true(is_guard(p + 4 * page_size()));
    assert_true(pages_are(p, 4, 1, 0));
}

static void a_child_has_the_guards_too(void **state)
{
    struct uf_space_opts opts = {.fork = UF_FORK_ENGINE};

    (void)state;
    on_all_sides(fork_body);
    if (ENGINES_FORK)
        on_all_sides_with(&opts, fork_body);
}

/* ---------------------------------------------------------------- threads --
 */

struct toucher {
    uintptr_t addr;
    atomic_bool stop;
    int wrong;
};

/* Touches to both sides of page 8, for ever new. */
static void *touch_around(void *arg)
{
    struct toucher *t = arg;

    while (!atomic_load(&t->stop))
        for (size_t i = 0; i < 16; i++)
            if (i != 8)
                t->wrong += live_write(t->addr + i * page_size(), 1, NULL) != 0;
    return NULL;
}

/* A guard holds from when its call returns, whatever fault is under way. */
static void threads_body(struct side *s)
{
    struct toucher t = {.addr = side_map(s, 0, 16, RW, 0)};
    uintptr_t page8 = t.addr + 8 * page_size();
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, touch_around, &t), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(install(s, page8, 1), 0);
        assert_true(is_guard(page8));
        assert_int_equal(
            side_madvise(s, t.addr, 16 * page_size(), MADV_DONTNEED), 0);
        assert_true(is_guard(page8));
        assert_int_equal(take_away(s, page8, 1), 0);
        assert_int_equal(live_write(page8, 1, NULL), 0);
        assert_int_equal(
            side_madvise(s, t.addr, 16 * page_size(), MADV_DONTNEED), 0);
    }
    atomic_store(&t.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(t.wrong, 0);
}

static void a_guard_holds_while_others_fault_around_it(void **state)
{
    (void)state;
    on_all_sides(threads_body);
}

static bool kernel_has_guards(void)
{
    void *p = mmap(NULL, page_size(), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has =
        p != MAP_FAILED && madvise(p, page_size(), MADV_GUARD_INSTALL) == 0;

    if (p != MAP_FAILED)
        munmap(p, page_size());
    return has;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touches_around_a_guard_leave_it_there),
        cmocka_unit_test(a_guard_replaces_what_was_there),
        cmocka_unit_test(guards_survive_all_but_their_removal),
        cmocka_unit_test(guards_go_with_their_mapping),
        cmocka_unit_test(locked_memory_takes_no_guard),
        cmocka_unit_test(a_child_has_the_guards_too),
        cmocka_unit_test(a_guard_holds_while_others_fault_around_it),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    if (!kernel_has_guards()) {
        printf("skipped: this kernel has no MADV_GUARD_INSTALL\n");
        return 77;
    }
    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
