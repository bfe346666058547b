/* SPDX-License-Identifier: MIT */
/*
 * Memory with the huge policy comes in blocks of 2 MiB, moved from the pool,
 * and is right in every other way: what the kernel's own smaps says of huge
 * pages is what was counted, and what part of a block goes through is split.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/sides.h"
#include "live/huge_space.h"
#include "mm/advice.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

/* ---------------------------------------------------------------- policy -- */

static void a_space_with_the_policy_comes_in_huge_pages(void **state)
{
    struct uf_space *space = huge_space(8);

    (void)state;
    huge_await_ready(space, 32);
    for (size_t i = 0; i < 8; i++)
        huge_set(huge_block(space, i) + i * 5000, (unsigned char)(i + 1));
    huge_assert_counts(space, 8, 0, 8 * BLOCK);
    assert_int_equal(huge_count_kernels(space, 8), 8);
    assert_int_equal(live_stats(space).faults, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(huge_get(huge_block(space, i) + i * 5000), i + 1);
        huge_set(huge_block(space, i) + i * 5000, 0);
        assert_true(huge_is_zero(huge_block(space, i), HUGE));
    }
    assert_int_equal(live_stats(space).faults, 8);
    huge_destroy(space);
}

/* As the kernel's own: the huge page of zeros that all share, and no memory. */
static void what_is_only_read_takes_no_memory(void **state)
{
    struct uf_space *space = huge_space(4);
    struct uf_stats s;

    (void)state;
    assert_true(huge_is_zero(huge_block(space, 0), 2 * HUGE));
    huge_assert_counts(space, 0, 0, 2 * BLOCK);
    assert_int_equal(huge_count_kernels(space, 4), 0);
    s = live_stats(space);
    assert_int_equal(s.faults, 2);
    assert_int_equal(s.pages_zero, 2 * BLOCK);
    assert_int_equal(
        host_smaps_kb(huge_block(space, 0), huge_block(space, 4), "Rss:"), 0);
    /* The kernel sees to the write, by one huge page or by small ones. */
    huge_set(huge_block(space, 0) + 5000, 7);
    assert_true(huge_is_zero(huge_block(space, 0), 4096));
    assert_int_equal(huge_get(huge_block(space, 0) + 5000), 7);
    assert_true(huge_is_zero(huge_block(space, 0) + 8192, 2 * HUGE - 8192));
    assert_int_equal(live_stats(space).faults, 2);
    assert_true(host_smaps_kb(huge_block(space, 0), huge_block(space, 4),
                              "Rss:") <= HUGE / 1024);
    /* Parts of it go, and come back, as of any other. */
    assert_int_equal(
        uf_madvise(space, huge_block(space, 1), HUGE / 2, MADV_DONTNEED), 0);
    huge_assert_counts(space, 0, 0, 2 * BLOCK - BLOCK / 2);
    huge_set(huge_block(space, 1) + 4096, 8);
    assert_int_equal(
        uf_munmap(space, huge_block(space, 1) + HUGE / 2, HUGE / 2), 0);
    assert_int_equal(live_read(huge_block(space, 1) + HUGE / 2, NULL, NULL),
                     SIGSEGV);
    assert_true(huge_is_zero(huge_block(space, 1) + 8192, HUGE / 2 - 8192));
    huge_destroy(space);
}

static void a_mapping_has_it_by_madvise_and_loses_it(void **state)
{
    struct uf_space *space =
        huge_space_with(0, UF_FORK_DEFAULT, NULL, 8 * BLOCK);

    (void)state;
    huge_set(huge_block(space, 0), 1);
    huge_assert_counts(space, 0, 0, 1);
    assert_int_equal(
        uf_madvise(space, huge_block(space, 1), 6 * HUGE, MADV_HUGEPAGE), 0);
    assert_int_equal(
        uf_madvise(space, huge_block(space, 3), HUGE, MADV_NOHUGEPAGE), 0);
    for (size_t i = 1; i < 7; i++)
        huge_set(huge_block(space, i), 1);
    huge_assert_counts(space, 5, 0, 2 + 5 * BLOCK);
    assert_int_equal(huge_count_kernels(space, 8), 5);
    huge_destroy(space);
}

static void nohugepage_is_above_the_space(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    assert_int_equal(
        uf_madvise(space, huge_block(space, 1), HUGE, MADV_NOHUGEPAGE), 0);
    for (size_t i = 0; i < 4; i++)
        huge_set(huge_block(space, i), 1);
    huge_assert_counts(space, 3, 0, 1 + 3 * BLOCK);
    assert_int_equal(huge_count_kernels(space, 4), 3);
    huge_destroy(space);
}

static void uf_space_smaps_shows_them(void **state)
{
    struct uf_space *space = huge_space(4);
    char text[4096];
    const char *line;

    (void)state;
    huge_set(huge_block(space, 0), 1);
    huge_set(huge_block(space, 2), 1);
    assert_true(uf_space_smaps(space, text, sizeof(text)) > 0);
    line = strstr(text, "AnonHugePages:");
    assert_non_null(line);
    assert_int_equal(strtoul(line + strlen("AnonHugePages:"), NULL, 10), 4096);
    huge_destroy(space);
}

/* With no huge pages for this process, nothing is different. */
static void nothing_is_different_without_huge_pages(void **state)
{
    struct uf_space *space;

    (void)state;
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    space = huge_space(2);
    huge_set(huge_block(space, 0), 1);
    huge_assert_counts(space, 0, 0, 1);
    huge_destroy(space);
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
}

/* ----------------------------------------------------------------- edges -- */

static void only_whole_blocks_are_taken(void **state)
{
    struct uf_space *space =
        huge_space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, NULL, 4 * BLOCK + 100);
    intptr_t p;

    (void)state;
    huge_set(live_page(space, 4 * BLOCK), 1); /* the break is in the middle */
    huge_assert_counts(space, 0, 0, 1);
    p = uf_mmap(space, huge_block(space, 8) + 4096, 2 * HUGE - 4096,
                PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
    assert_int_equal(p, huge_block(space, 8) + 4096);
    huge_set(huge_block(space, 8) + 8192, 1); /* begins after the block */
    huge_assert_counts(space, 0, 0, 2);
    huge_set(huge_block(space, 9), 1);
    huge_assert_counts(space, 1, 0, 2 + BLOCK);
    assert_true(uf_sbrk(space, (intptr_t)(HUGE - 100 * 4096)) > 0);
    huge_set(live_page(space, 5 * BLOCK - 1), 1); /* a page of it is resident */
    huge_assert_counts(space, 1, 0, 3 + BLOCK);
    huge_destroy(space);
}

static void a_guard_keeps_a_block_away(void **state)
{
    struct uf_space *space = huge_space(2);
    int err = uf_madvise(space, huge_block(space, 0) + HUGE / 2, page_size(),
                         MADV_GUARD_INSTALL);

    (void)state;
    if (err == 0) {
        huge_set(huge_block(space, 0), 1);
        huge_set(huge_block(space, 1), 1);
        huge_assert_counts(space, 1, 0, 1 + BLOCK);
        assert_int_equal(live_write(huge_block(space, 0) + HUGE / 2, 1, NULL),
                         SIGSEGV);
    }
    huge_destroy(space);
}

static void memory_that_is_not_plainly_writable(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    assert_int_equal(uf_mprotect(space, huge_block(space, 0), HUGE, PROT_READ),
                     0);
    assert_int_equal(uf_mprotect(space, huge_block(space, 1), HUGE,
                                 PROT_READ | PROT_WRITE | PROT_EXEC),
                     0);
    assert_int_equal(huge_get(huge_block(space, 0)), 0);
    assert_true(live_stats(space).resident < BLOCK);
    huge_set(huge_block(space, 1),
             1); /* cannot be moved to, and is filled all the same */
    assert_int_equal(live_stats(space).huge_installed, 0);
    assert_int_equal(live_stats(space).huge_fallback, 1);
    assert_true(huge_is_zero(huge_block(space, 1) + 4096, HUGE - 4096));
    huge_destroy(space);
}

/* ------------------------------------------------------- locked memory -- */

/* Locked memory is not moved to: it comes as small pages, all of it. */
static void locked_blocks_are_there(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    huge_await_ready(space, 32);
    assert_int_equal(uf_mlock(space, huge_block(space, 0), HUGE), 0);
    huge_assert_counts(space, 0, 1, BLOCK);
    assert_int_equal(
        host_smaps_kb(huge_block(space, 0), huge_block(space, 1), "Locked:"),
        HUGE / 1024);
    assert_int_equal(
        uf_mlock2(space, huge_block(space, 1), HUGE, UF_MLOCK_ONFAULT), 0);
    huge_assert_counts(space, 0, 1, BLOCK);
    huge_set(huge_block(space, 1) + HUGE / 2, 1);
    huge_assert_counts(space, 0, 2, 2 * BLOCK);
    assert_true(huge_is_zero(huge_block(space, 0), HUGE + HUGE / 2));
    assert_int_equal(uf_munlock(space, huge_block(space, 0), 2 * HUGE), 0);
    huge_set(huge_block(space, 2), 1); /* and is none of a slot's fault */
    huge_assert_counts(space, 1, 2, 3 * BLOCK);
    huge_destroy(space);
}

static void a_locked_space_with_the_policy(void **state)
{
    struct uf_space *space = huge_space_with(UF_SPACE_HUGE | UF_SPACE_LOCKED,
                                             UF_FORK_DEFAULT, NULL, 3 * BLOCK);

    (void)state;
    assert_int_equal(live_stats(space).resident, 3 * BLOCK);
    assert_true(huge_is_zero(huge_block(space, 0), 3 * HUGE));
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(live_stats(space).locked_vm, 3 * BLOCK);
    huge_destroy(space);
}

/* ------------------------------------------------------- parts of a block -- */

static void parts_of_a_block_go(void **state)
{
    struct uf_space *space = huge_space(8);
    struct uf_stats s;
    uintptr_t half = HUGE / 2;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < BLOCK; k++)
            huge_set(huge_block(space, i) + k * 4096, (unsigned char)(k + i));
    assert_int_equal(
        uf_madvise(space, huge_block(space, 0), half, MADV_DONTNEED), 0);
    assert_true(huge_is_zero(huge_block(space, 0), half));
    assert_int_equal(huge_get(huge_block(space, 0) + half), 0);
    assert_int_equal(huge_get(huge_block(space, 0) + half + 4096), 1);

    assert_int_equal(uf_munmap(space, huge_block(space, 1) + half, half), 0);
    assert_int_equal(huge_get(huge_block(space, 1) + half - 4096), 0);
    assert_int_equal(live_read(huge_block(space, 1) + half, NULL, NULL),
                     SIGSEGV);
    assert_int_equal(uf_mmap(space, huge_block(space, 1) + half, half,
                             PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0),
                     huge_block(space, 1) + half);
    assert_true(huge_is_zero(huge_block(space, 1) + half, half));

    assert_int_equal(uf_mprotect(space, huge_block(space, 2), half, PROT_READ),
                     0);
    assert_int_equal(live_write(huge_block(space, 2), 1, NULL), SIGSEGV);
    assert_int_equal(huge_get(huge_block(space, 2)), 2);
    huge_set(huge_block(space, 2) + half, 77);

    assert_int_equal(uf_mlock(space, huge_block(space, 3), half), 0);
    assert_int_equal(huge_get(huge_block(space, 3) + 4096), 4);
    assert_int_equal(uf_munlock(space, huge_block(space, 3), half), 0);

    assert_int_equal(uf_mremap(space, huge_block(space, 4), half, half,
                               MREMAP_MAYMOVE | MREMAP_FIXED,
                               huge_block(space, 20)),
                     huge_block(space, 20));
    assert_int_equal(huge_get(huge_block(space, 20) + 8 * 4096), 12);
    assert_int_equal(live_read(huge_block(space, 4), NULL, NULL), SIGSEGV);
    assert_int_equal(uf_mremap(space, huge_block(space, 5), HUGE, HUGE,
                               MREMAP_MAYMOVE | MREMAP_FIXED,
                               huge_block(space, 22)),
                     huge_block(space, 22));
    assert_int_equal(huge_get(huge_block(space, 22) + 8 * 4096), 13);

    s = live_stats(space);
    assert_int_equal(s.resident,
                     live_mincore(uf_space_base(space), huge_block(space, 32)));
    huge_destroy(space);
}

/* A block that went as a whole comes back as one. */
static void a_dropped_block_is_huge_again(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    for (size_t i = 0; i < 4; i++)
        huge_set(huge_block(space, i), 1);
    assert_int_equal(
        uf_madvise(space, huge_block(space, 1), 2 * HUGE, MADV_DONTNEED), 0);
    huge_assert_counts(space, 4, 0, 2 * BLOCK);
    huge_set(huge_block(space, 1), 0);
    huge_set(huge_block(space, 2), 0);
    assert_true(huge_is_zero(huge_block(space, 1), 2 * HUGE));
    huge_assert_counts(space, 6, 0, 4 * BLOCK);
    assert_int_equal(huge_count_kernels(space, 4), 4);
    assert_true(uf_sbrk(space, -(intptr_t)(2 * HUGE)) > 0);
    assert_true(uf_sbrk(space, (intptr_t)(2 * HUGE)) > 0);
    huge_set(huge_block(space, 2), 0);
    huge_set(huge_block(space, 3), 0);
    assert_true(huge_is_zero(huge_block(space, 2), 2 * HUGE));
    huge_assert_counts(space, 8, 0, 4 * BLOCK);
    huge_destroy(space);
}

/* ------------------------------------------------------------------ fork -- */

/* `first`: the first block, since a dead handle does not tell. */
static void child(struct uf_space *space, enum uf_fork policy, uintptr_t first)
{
    alarm(60);
    if (policy == UF_FORK_NONE) {
        NEED(live_read(first, NULL, NULL) == SIGSEGV);
        _exit(0);
    }
    NEED(huge_get(huge_block(space, 0)) == 1);
    NEED(huge_get(huge_block(space, 1)) == 0);
    huge_set(huge_block(space, 2), 3);
    huge_set(huge_block(space, 0), 9);
    NEED(huge_get(huge_block(space, 2) + 4096) == 0);
    if (policy == UF_FORK_ENGINE) {
        struct uf_stats s = {.size = sizeof(s)};

        do {
            NEED(uf_space_stats(space, &s) == 0);
            sched_yield();
        } while (s.huge_pool_ready < 32);
        huge_set(huge_block(space, 3), 1);
        NEED(uf_space_stats(space, &s) == 0);
        NEED(s.huge_installed >= 2);
    }
    NEED(uf_space_destroy(space) == 0);
    _exit(0);
}

static void fork_with(enum uf_fork policy)
{
    struct uf_space *space =
        huge_space_with(UF_SPACE_HUGE, policy, NULL, 4 * BLOCK);
    uintptr_t first = huge_block(space, 0);
    int status = -1;
    pid_t pid;

    huge_set(first, 1);
    pid = fork();
    if (pid == 0)
        child(space, policy, first);
    /* The pool is not shared with the child: pages move all the same. */
    huge_set(huge_block(space, 1), 1);
    assert_int_equal(live_stats(space).huge_installed, 2);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(huge_get(huge_block(space, 0)), 1);
    huge_set(huge_block(space, 3), 1);
    assert_int_equal(live_stats(space).huge_installed, 3);
    huge_destroy(space);
}

static void forks_keep_their_promises(void **state)
{
    (void)state;
    fork_with(UF_FORK_ZERO);
    fork_with(UF_FORK_NONE);
#if !defined(__SANITIZE_THREAD__) /* no threads in forked children there */
    fork_with(UF_FORK_ENGINE);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_space_with_the_policy_comes_in_huge_pages),
        cmocka_unit_test(what_is_only_read_takes_no_memory),
        cmocka_unit_test(a_mapping_has_it_by_madvise_and_loses_it),
        cmocka_unit_test(nohugepage_is_above_the_space),
        cmocka_unit_test(uf_space_smaps_shows_them),
        cmocka_unit_test(nothing_is_different_without_huge_pages),
        cmocka_unit_test(only_whole_blocks_are_taken),
        cmocka_unit_test(a_guard_keeps_a_block_away),
        cmocka_unit_test(memory_that_is_not_plainly_writable),
        cmocka_unit_test(locked_blocks_are_there),
        cmocka_unit_test(a_locked_space_with_the_policy),
        cmocka_unit_test(parts_of_a_block_go),
        cmocka_unit_test(a_dropped_block_is_huge_again),
        cmocka_unit_test(forks_keep_their_promises),
    };
    int skip = huge_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
