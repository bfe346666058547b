/* SPDX-License-Identifier: MIT */
/*
 * Each flag of mmap, one test each; on a space and on the kernel's own memory
 * wherever both have the same answer. Where a mapping goes, stacks and files
 * have files of their own (test_mmap_place.c, ..._stack.c, ..._file.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sides.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED 0x4000000
#endif
#define RW (PROT_READ | PROT_WRITE)

/* Anonymous memory reads as zeros, keeps what is written, and goes when it is
 * unmapped. */
static void life_of_a_mapping(struct side *s)
{
    uintptr_t p = side_map(s, 4, 8, RW, 0);

    assert_int_equal(side_resident(s, p, 8), 0);
    assert_true(pages_are_zero(p + page_size(), 1));
    pages_write(p, 8, 1);
    assert_true(pages_are(p, 8, 1, 0));
    assert_int_equal(side_resident(s, p, 8), 8);
    assert_unmapped(s, p - page_size());
    assert_unmapped(s, p + 8 * page_size());
    assert_int_equal(side_munmap(s, p + 2 * page_size(), 3 * page_size()), 0);
    assert_unmapped(s, p + 2 * page_size());
    assert_unmapped(s, p + 4 * page_size());
    assert_true(pages_are(p, 2, 1, 0));
    assert_true(pages_are(p + 5 * page_size(), 3, 1, 5));
    side_map(s, 6, 3, RW, 0);
    assert_true(pages_are_zero(p + 2 * page_size(), 3));
}

static void memory_is_zero_then_what_was_written_then_gone(void **state)
{
    (void)state;
    on_all_sides(life_of_a_mapping);
}

/* ---------------------------------------------------------------- PRIVATE --
 */

struct shown {
    uintptr_t addr;
    int go[2]; /* pipes between parent and child */
    int back[2];
};

static void open_pipes(struct shown *w)
{
    assert_int_equal(pipe(w->go), 0);
    assert_int_equal(pipe(w->back), 0);
}

static void close_pipes(struct shown *w)
{
    for (int i = 0; i < 2; i++) {
        close(w->go[i]);
        close(w->back[i]);
    }
}

static void write_as_child(void *arg)
{
    struct shown *w = arg;
    volatile unsigned char *p = (volatile unsigned char *)w->addr;

    NEED(p[0] == 1);
    p[0] = 2;
    p[page_size()] = 3;
    NEED(p[0] == 2 && p[page_size()] == 3);
}

static void private_body(struct side *s)
{
    struct shown w = {.addr = side_map(s, 0, 2, RW, 0)};
    volatile unsigned char *p = (volatile unsigned char *)w.addr;

    p[0] = 1;
    in_child(write_as_child, &w);
    assert_int_equal(p[0], 1);
    assert_int_equal(p[page_size()], 0);
}

static void private_memory_is_copied_to_a_child(void **state)
{
    (void)state;
    on_all_sides(private_body);
}

/* ----------------------------------------------------------------- SHARED --
 */

static void talk(void *arg)
{
    struct shown *w = arg;
    volatile unsigned char *p = (volatile unsigned char *)w->addr;
    size_t page = page_size();
    char c;

    NEED(p[0] == 1);
    p[page] = 2; /* a page that nobody has touched before */
    NEED(write(w->back[1], "x", 1) == 1);
    NEED(read(w->go[0], &c, 1) == 1);
    NEED(p[0] == 3 && p[2 * page] == 4);
}

/* What either writes, the other reads; pages touched before the fork and
 * after it; and a child's child shares too. */
static void shared_body(struct side *s)
{
    struct shown w = {.addr = side_at(s, 3)};
    volatile unsigned char *p = (volatile unsigned char *)w.addr;
    size_t page = page_size();
    int status = -1;
    pid_t pid;
    char c;

    assert_int_equal(side_mmap(s, w.addr, 4 * page, RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     w.addr);
    open_pipes(&w);
    p[0] = 1;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child_status(talk, &w) != 0);
    assert_int_equal(read(w.back[0], &c, 1), 1);
    assert_int_equal(p[page], 2);
    p[0] = 3;
    p[2 * page] = 4;
    assert_int_equal(write(w.go[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_pipes(&w);
}

static void write_over(void *arg)
{
    volatile unsigned char *p = arg;

    NEED(p[0] == 1);
    p[0] = 2;
}

static void shared_simple(struct side *s)
{
    uintptr_t at = side_at(s, 3);
    volatile unsigned char *p = (volatile unsigned char *)at;

    assert_int_equal(side_mmap(s, at, page_size(), RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     at);
    p[0] = 1;
    in_child(write_over, (void *)at);
    assert_int_equal(p[0], 2);
}

static void shared_memory_is_one_among_forked_children(void **state)
{
    (void)state;
    on_all_sides(shared_simple);
    on_all_sides(shared_body);
}

/* A child unmaps and maps again what it shares: the parent's stays. */
static void unmap_as_child(void *arg)
{
    const struct side *s = arg;
    uintptr_t at = side_at(s, 3);

    NEED(side_munmap(s, at, page_size()) == 0);
    NEED(live_read(at, NULL, NULL) == SIGSEGV);
    NEED(side_mmap(s, at, page_size(), RW,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                   0) == (intptr_t)at);
    *(volatile unsigned char *)at = 9;
}

static void shared_unmap(struct side *s)
{
    shared_simple(s);
    in_child(unmap_as_child, s);
    assert_int_equal(*(volatile unsigned char *)side_at(s, 3), 2);
}

static void a_child_that_unmaps_takes_nothing_from_its_parent(void **state)
{
    (void)state;
    on_all_sides(shared_unmap);
}

/* ------------------------------------------------------ FIXED, NOREPLACE --
 */

static void fixed_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 8, RW, 0);

    pages_write(p, 8, 1);
    side_map(s, 6, 2, RW, 0);
    assert_true(pages_are(p, 2, 1, 0));
    assert_true(pages_are_zero(p + 2 * page_size(), 2));
    assert_true(pages_are(p + 4 * page_size(), 4, 1, 4));
    /* Over more than what is there, and with another protection. */
    side_map(s, 2, 12, PROT_READ, 0);
    assert_true(pages_are_zero(p, 8));
    assert_refused(p, true);
    assert_int_equal(side_mmap(s, p + 1, page_size(), RW,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     -EINVAL);
}

static void fixed_replaces_what_is_there(void **state)
{
    (void)state;
    on_all_sides(fixed_body);
}

static void noreplace_body(struct side *s)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    uintptr_t p = side_map(s, 4, 2, RW, 0);
    size_t page = page_size();

    pages_write(p, 2, 1);
    assert_int_equal(side_mmap(s, p, page, RW, flags, -1, 0), -EEXIST);
    assert_int_equal(side_mmap(s, p - page, 2 * page, RW, flags, -1, 0),
                     -EEXIST);
    assert_int_equal(side_mmap(s, p + page, 5 * page, RW, flags, -1, 0),
                     -EEXIST);
    assert_int_equal(side_mmap(s, p - page, 4 * page, RW, flags, -1, 0),
                     -EEXIST);
    assert_true(pages_are(p, 2, 1, 0));
    assert_unmapped(s, p - page);
    assert_int_equal(side_mmap(s, p - page, page, RW, flags, -1, 0), p - page);
    assert_int_equal(side_mmap(s, p + 2 * page, page, RW, flags, -1, 0),
                     p + 2 * page);
    assert_true(pages_are(p, 2, 1, 0));
}

static void noreplace_takes_only_free_places(void **state)
{
    (void)state;
    on_all_sides(noreplace_body);
}

/* ---------------------------------------------------- POPULATE, NONBLOCK --
 */

static void populate_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 70, RW, MAP_POPULATE);

    assert_int_equal(side_resident(s, p, 70), 70);
    assert_true(pages_are_zero(p, 70));
    p = side_map(s, 80, 4, PROT_READ, MAP_POPULATE);
    assert_int_equal(side_resident(s, p, 4), 4);
    p = side_map(s, 90, 4, PROT_NONE, MAP_POPULATE);
    assert_int_equal(side_resident(s, p, 4), 0);
}

static void populate_makes_every_page_resident(void **state)
{
    (void)state;
    on_all_sides(populate_body);
}

/* Populated pages need no fault. */
static void populate_takes_no_fault(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    intptr_t p = uf_mmap(space, 0, 16 * page_size(), RW,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    (void)state;
    assert_true(p > 0);
    pages_write((uintptr_t)p, 16, 1);
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(live_stats(space).resident, 16);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void nonblock_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 16, RW, MAP_POPULATE | MAP_NONBLOCK);

    assert_int_equal(side_resident(s, p, 16), 0);
    pages_write(p, 16, 1);
    assert_true(pages_are(p, 16, 1, 0));
}

static void nonblock_undoes_populate(void **state)
{
    (void)state;
    on_all_sides(nonblock_body);
}

/* ----------------------------------------------------------------- LOCKED --
 */

static void locked_body(struct side *s)
{
    uintptr_t p = side_map(s, 2, 16, RW, MAP_LOCKED);
    size_t page = page_size();

    assert_int_equal(side_resident(s, p, 16), 16);
    assert_int_equal(host_smaps_kb(p, p + 16 * page, "Locked:"),
                     16 * page / 1024);
    assert_true(host_has_flag(p, " lo"));
    assert_int_equal(side_munmap(s, p, 16 * page), 0);
    p = side_map(s, 2, 16, RW, 0);
    pages_write(p, 16, 1);
    assert_false(host_has_flag(p, " lo"));
}

static void locked_memory_is_resident_and_pinned_by_the_host(void **state)
{
    (void)state;
    on_all_sides(locked_body);
}

/* -------------------------------------------------- flags without effect --
 */

static void ignored_body(struct side *s)
{
    static const int ignored[] = {
        MAP_DENYWRITE,
        MAP_EXECUTABLE,
        MAP_FILE,
        MAP_STACK,
        MAP_NORESERVE,
        MAP_UNINITIALIZED,
        MAP_DENYWRITE | MAP_EXECUTABLE | MAP_STACK | MAP_NORESERVE,
    };

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        uintptr_t p = side_map(s, 4 * i, 3, RW, ignored[i]);

        assert_int_equal(side_resident(s, p, 3), 0);
        assert_true(pages_are_zero(p, 3));
        pages_write(p, 3, (unsigned)i);
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        assert_true(pages_are(side_at(s, 4 * i), 3, (unsigned)i, 0));
}

static void flags_that_the_kernel_ignores_are_ignored(void **state)
{
    (void)state;
    on_all_sides(ignored_body);
}

/* MAP_UNINITIALIZED: not what a mapping before it left there. */
static void uninitialized_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, 0);

    memset((void *)p, 0xff, 8 * page_size());
    p = side_map(s, 0, 8, RW, MAP_UNINITIALIZED);
    assert_true(pages_are_zero(p, 8));
    memset((void *)p, 0xff, 8 * page_size());
    assert_int_equal(side_munmap(s, p, 8 * page_size()), 0);
    p = side_map(s, 0, 8, RW, MAP_UNINITIALIZED);
    assert_true(pages_are_zero(p, 8));
}

static void uninitialized_memory_is_zero_all_the_same(void **state)
{
    (void)state;
    on_all_sides(uninitialized_body);
}

/* With MAP_ANONYMOUS the descriptor is not looked at; the offset is, as far as
 * that it must be whole pages. */
static void anonymous_body(struct side *s)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    uintptr_t p = side_at(s, 1);
    size_t page = page_size();

    assert_int_equal(side_mmap(s, p, page, RW, flags, 12345, 0), p);
    assert_int_equal(side_mmap(s, p, page, RW, flags, -1, (off_t)page), p);
    assert_int_equal(side_mmap(s, p, page, RW, flags, -1, 1), -EINVAL);
    assert_int_equal(side_mmap(s, p, 0, RW, flags, -1, 0), -EINVAL);
    assert_int_equal(side_mmap(s, p, 1, RW, flags, -1, 0), p);
    assert_true(pages_are_zero(p, 1));
    assert_int_equal(side_mmap(s, p, page, RW, flags & ~MAP_ANONYMOUS, -1, 0),
                     -EBADF);
}

static void anonymous_memory_needs_no_descriptor(void **state)
{
    (void)state;
    on_all_sides(anonymous_body);
}

/* NORESERVE memory differs by its flag, and is no mapping with other memory. */
static void noreserve_is_remembered(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    uintptr_t base = uf_space_base(space);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    size_t page = page_size();

    (void)state;
    assert_true(uf_mmap(space, base, page, RW, flags, -1, 0) > 0);
    assert_true(uf_mmap(space, base + page, page, RW, flags | MAP_NORESERVE, -1,
                        0) > 0);
    assert_int_equal(live_stats(space).map_count, 2);
    assert_true(uf_mmap(space, base + page, page, RW, flags, -1, 0) > 0);
    assert_int_equal(live_stats(space).map_count, 1);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------------ refused --- */

/* A space has no pool of huge pages, and one place, above 4 GiB. */
static void huge_pages_and_low_addresses_are_refused(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t page = page_size(), huge = (size_t)2 << 20;

    (void)state;
    assert_int_equal(uf_mmap(space, 0, huge, RW, flags | MAP_HUGETLB, -1, 0),
                     -ENOMEM);
    assert_int_equal(
        uf_mmap(space, 0, huge, RW, flags | MAP_HUGETLB | (21 << 26), -1, 0),
        -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, flags | MAP_32BIT, -1, 0),
                     -ENOMEM);
    /* As in the kernel MAP_FIXED is looked at first. */
    assert_true(uf_mmap(space, uf_space_base(space), page, RW,
                        flags | MAP_32BIT | MAP_FIXED, -1, 0) > 0);
    assert_int_equal(live_stats(space).mmaps, 1);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_then_what_was_written_then_gone),
        cmocka_unit_test(private_memory_is_copied_to_a_child),
        cmocka_unit_test(shared_memory_is_one_among_forked_children),
        cmocka_unit_test(a_child_that_unmaps_takes_nothing_from_its_parent),
        cmocka_unit_test(fixed_replaces_what_is_there),
        cmocka_unit_test(noreplace_takes_only_free_places),
        cmocka_unit_test(populate_makes_every_page_resident),
        cmocka_unit_test(populate_takes_no_fault),
        cmocka_unit_test(nonblock_undoes_populate),
        cmocka_unit_test(locked_memory_is_resident_and_pinned_by_the_host),
        cmocka_unit_test(flags_that_the_kernel_ignores_are_ignored),
        cmocka_unit_test(uninitialized_memory_is_zero_all_the_same),
        cmocka_unit_test(anonymous_memory_needs_no_descriptor),
        cmocka_unit_test(noreserve_is_remembered),
        cmocka_unit_test(huge_pages_and_low_addresses_are_refused),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap", tests, NULL, NULL);
}
