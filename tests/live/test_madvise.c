/* SPDX-License-Identifier: MIT */
/*
 * madvise, advice by advice, on a space and on the kernel's own memory. Guards
 * and what children inherit have files of their own (test_guards.c,
 * test_madvise_fork.c).
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

#define RW (PROT_READ | PROT_WRITE)

#define HUGE_BYTES ((size_t)2 << 20)

/* -------------------------------------------------------------- contents -- */

static void dontneed_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 40, RW, 0);
    size_t page = page_size();

    pages_write(p, 40, 1);
    assert_int_equal(side_madvise(s, p + 10 * page, 15 * page, MADV_DONTNEED),
                     0);
    assert_int_equal(side_resident(s, p + 10 * page, 15), 0);
    assert_true(pages_are(p, 10, 1, 0));
    assert_true(pages_are(p + 25 * page, 15, 1, 25));
    assert_true(pages_are_zero(p + 10 * page, 15));
    pages_write(p, 40, 2);
    assert_true(pages_are(p, 40, 2, 0));
    /* Across a hole: the rest is dropped all the same. */
    assert_int_equal(side_munmap(s, p + 20 * page, page), 0);
    assert_int_equal(side_madvise(s, p, 40 * page, MADV_DONTNEED), -ENOMEM);
    assert_true(pages_are_zero(p, 20));
    assert_true(pages_are_zero(p + 21 * page, 19));
}

static void dontneed_makes_pages_new(void **state)
{
    (void)state;
    on_all_sides(dontneed_body);
}

/* Closed memory can be dropped, too, and is new when it opens. */
static void closed_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, 0);

    pages_write(p, 8, 1);
    assert_int_equal(side_mprotect(s, p, 8 * page_size(), PROT_NONE), 0);
    assert_int_equal(side_madvise(s, p, 4 * page_size(), MADV_DONTNEED), 0);
    assert_int_equal(side_mprotect(s, p, 8 * page_size(), RW), 0);
    assert_true(pages_are_zero(p, 4));
    assert_true(pages_are(p + 4 * page_size(), 4, 1, 4));
}

static void closed_memory_can_be_dropped(void **state)
{
    (void)state;
    on_all_sides(closed_body);
}

static void locked_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, MAP_LOCKED);
    size_t page = page_size();

    pages_write(p, 8, 1);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_DONTNEED), -EINVAL);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_FREE), -EINVAL);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_COLD), -EINVAL);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_PAGEOUT), -EINVAL);
    assert_true(pages_are(p, 8, 1, 0));
    assert_int_equal(side_madvise(s, p, 4 * page, MADV_DONTNEED_LOCKED), 0);
    assert_true(pages_are_zero(p, 4));
    assert_true(pages_are(p + 4 * page, 4, 1, 4));
}

static void locked_memory_is_dropped_only_by_dontneed_locked(void **state)
{
    (void)state;
    on_all_sides(locked_body);
}

/* FREE: the old bytes or zeros, page by page; a write makes a page stay. */
static void free_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 16, RW, 0);
    size_t page = page_size();

    pages_write(p, 16, 1);
    assert_int_equal(side_madvise(s, p, 16 * page, MADV_FREE), 0);
    for (size_t i = 0; i < 16; i++)
        assert_true(pages_are(p + i * page, 1, 1, i) ||
                    pages_are_zero(p + i * page, 1));
    pages_write(p, 16, 2);
    assert_true(pages_are(p, 16, 2, 0));
}

static void free_leaves_old_bytes_or_zeros(void **state)
{
    (void)state;
    on_all_sides(free_body);
}

/* REMOVE is for what is shared and writable: the file gets a hole. */
static void remove_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, 0);
    size_t page = page_size();
    int fd = pages_file(8, 3);

    pages_write(p, 8, 1);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_REMOVE), -EINVAL);
    assert_int_equal(
        side_mmap(s, p, 8 * page, RW, MAP_PRIVATE | MAP_FIXED, fd, 0), p);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_REMOVE), -EACCES);
    assert_int_equal(side_mmap(s, p, 8 * page, RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     p);
    pages_write(p, 8, 1);
    assert_int_equal(side_madvise(s, p + 2 * page, 3 * page, MADV_REMOVE), 0);
    assert_true(pages_are(p, 2, 1, 0));
    assert_true(pages_are_zero(p + 2 * page, 3));
    assert_true(pages_are(p + 5 * page, 3, 1, 5));
    close(fd);
}

static void remove_punches_a_hole_into_shared_memory(void **state)
{
    (void)state;
    on_all_sides(remove_body);
}

/* Advice that changes nothing that can be read. */
static void harmless_body(struct side *s)
{
    static const int advice[] = {
        MADV_NORMAL,   MADV_RANDOM,       MADV_SEQUENTIAL, MADV_WILLNEED,
        MADV_COLD,     MADV_PAGEOUT,      MADV_DONTDUMP,   MADV_DODUMP,
        MADV_DONTFORK, MADV_DOFORK,       MADV_WIPEONFORK, MADV_KEEPONFORK,
        MADV_HUGEPAGE, MADV_NOHUGEPAGE,   MADV_MERGEABLE,  MADV_UNMERGEABLE,
        MADV_NORMAL,   MADV_POPULATE_READ};
    uintptr_t p = side_map(s, 0, 30, RW, 0);
    size_t page = page_size();

    pages_write(p, 10, 1);
    for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
        assert_int_equal(side_madvise(s, p + 5 * page, 20 * page, advice[i]),
                         0);
        assert_true(pages_are(p, 10, 1, 0));
        assert_int_equal(live_read(p + (11 + i) * page, NULL, NULL), 0);
        assert_int_equal(side_madvise(s, p + 28 * page, 4 * page, advice[i]),
                         -ENOMEM);
    }
    assert_true(pages_are_zero(p + 10 * page, 20));
}

static void other_advice_changes_no_bytes(void **state)
{
    (void)state;
    on_all_sides(harmless_body);
}

/* ----------------------------------------------------------- the host too --
 */

/* What the kernel acts on is set on its mapping; and is gone with the mapping.
 */
static void the_hosts_mapping_has_the_flag_as_long_as_ours(void **state)
{
    static const struct {
        int set, unset;
        const char *letters;
        uint32_t flag;
    } rows[] = {
        {MADV_DONTFORK, MADV_DOFORK, " dc", UF_VMA_DONTFORK},
        {MADV_WIPEONFORK, MADV_KEEPONFORK, " wf", UF_VMA_WIPEONFORK},
        {MADV_DONTDUMP, MADV_DODUMP, " dd", UF_VMA_DONTDUMP},
        {MADV_HUGEPAGE, MADV_NOHUGEPAGE, " hg", UF_VMA_HUGEPAGE},
        {MADV_MERGEABLE, MADV_UNMERGEABLE, " mg", UF_VMA_MERGEABLE},
    };
    struct uf_space *space = live_space(NULL, 0);
    struct side s = {.space = space, .base = uf_space_base(space)};
    size_t page = page_size();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uintptr_t p = side_map(&s, 4, 8, RW, 0), in = p + 2 * page;

        if (uf_madvise(space, in, 4 * page, rows[i].set) == -EINVAL)
            continue; /* a kernel without it */
        assert_true(host_has_flag(in, rows[i].letters));
        assert_true(host_has_flag(in + 3 * page, rows[i].letters));
        assert_false(host_has_flag(p, rows[i].letters));
        assert_false(host_has_flag(p + 6 * page, rows[i].letters));
        assert_int_equal(live_stats(space).map_count, 3);
        assert_int_equal(uf_madvise(space, in, page, rows[i].unset), 0);
        assert_false(host_has_flag(in, rows[i].letters));
        assert_true(host_has_flag(in + page, rows[i].letters));
        /* Unmapped, mapped again. */
        assert_int_equal(uf_munmap(space, in + page, page), 0);
        side_map(&s, 7, 1, RW, 0);
        assert_false(host_has_flag(in + page, rows[i].letters));
        assert_true(host_has_flag(in + 2 * page, rows[i].letters));
        /* Replaced. */
        side_map(&s, 4, 8, RW, 0);
        assert_false(host_has_flag(in + 2 * page, rows[i].letters));
        assert_int_equal(live_stats(space).map_count, 1);
        pages_write(p, 8, 1);
    }
    assert_int_equal(uf_munmap(space, s.base, 64 * page), 0);
    assert_int_equal(host_count_vmas(s.base, s.base + uf_space_len(space)), 1);
    assert_int_equal(uf_space_destroy(space), 0);
}

static int note_flags(void *data, const struct uf_vma_info *vma)
{
    *(uint32_t *)data = vma->flags;
    return 0;
}

/* How it will be read is our business: the host's mapping stays one. */
static void access_patterns_are_kept_here(void **state)
{
    struct uf_space *space = live_space(NULL, 1);
    uintptr_t p = uf_space_base(space);
    uint32_t flags = 0;

    (void)state;
    assert_int_equal(uf_madvise(space, p, page_size(), MADV_RANDOM), 0);
    uf_space_walk(space, note_flags, &flags);
    assert_true(flags & UF_VMA_RANDOM);
    assert_int_equal(uf_madvise(space, p, page_size(), MADV_SEQUENTIAL), 0);
    uf_space_walk(space, note_flags, &flags);
    assert_int_equal(flags & (UF_VMA_RANDOM | UF_VMA_SEQUENTIAL),
                     UF_VMA_SEQUENTIAL);
    assert_int_equal(uf_madvise(space, p, page_size(), MADV_NORMAL), 0);
    uf_space_walk(space, note_flags, &flags);
    assert_false(flags & (UF_VMA_RANDOM | UF_VMA_SEQUENTIAL));
    assert_false(host_has_flag(p, " rr"));
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------------- huge pages --
 */

/* COLLAPSE brings in what is missing and makes one huge page of it. */
static void collapse_body(struct side *s)
{
    size_t npages = HUGE_BYTES / page_size();
    uintptr_t p = side_map(s, 0, npages, RW, 0);
    int err;

    assert_true(is_aligned(p, HUGE_BYTES));
    pages_write(p, 100, 1);
    err = side_madvise(s, p, HUGE_BYTES, MADV_COLLAPSE);
    if (err) { /* none to be had now, or ever */
        assert_true(err == -EBUSY || err == -EAGAIN || err == -ENOMEM ||
                    err == -EINVAL);
        return;
    }
    assert_int_equal(host_smaps_kb(p, p + HUGE_BYTES, "AnonHugePages:"),
                     HUGE_BYTES / 1024);
    assert_true(pages_are(p, 100, 1, 0));
    assert_true(pages_are_zero(p + 100 * page_size(), npages - 100));
    assert_int_equal(side_resident(s, p, npages), npages);
    /* It is split where it must be. */
    assert_int_equal(side_munmap(s, p + 10 * page_size(), page_size()), 0);
    assert_int_equal(
        side_madvise(s, p + 50 * page_size(), page_size(), MADV_DONTNEED), 0);
    assert_true(pages_are(p, 10, 1, 0));
    assert_true(pages_are(p + 11 * page_size(), 39, 1, 11));
    assert_true(pages_are_zero(p + 50 * page_size(), 1));
    assert_unmapped(s, p + 10 * page_size());
}

static void collapse_makes_a_huge_page(void **state)
{
    (void)state;
    on_all_sides(collapse_body);
}

/* --------------------------------------------------------------- populate --
 */

static void populate_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 80, RW, 0);
    size_t page = page_size();

    assert_int_equal(side_madvise(s, p, 30 * page, MADV_POPULATE_READ), 0);
    assert_int_equal(
        side_madvise(s, p + 30 * page, 30 * page, MADV_POPULATE_WRITE), 0);
    assert_int_equal(side_resident(s, p, 60), 60);
    assert_true(pages_are_zero(p, 60));
    pages_write(p, 60, 1);
    /* What is there stays as it is. */
    assert_int_equal(side_madvise(s, p, 80 * page, MADV_POPULATE_WRITE), 0);
    assert_true(pages_are(p, 60, 1, 0));
    /* The protection must allow it; a hole stops it. */
    side_map(s, 0, 8, PROT_READ, 0);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_POPULATE_WRITE),
                     -EINVAL);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_POPULATE_READ), 0);
    side_map(s, 0, 8, PROT_NONE, 0);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_POPULATE_READ), -EINVAL);
    side_map(s, 0, 8, RW, 0);
    assert_int_equal(side_munmap(s, p + 4 * page, page), 0);
    assert_int_equal(side_madvise(s, p, 8 * page, MADV_POPULATE_WRITE),
                     -ENOMEM);
    assert_int_equal(side_resident(s, p, 4), 4);
    assert_int_equal(side_resident(s, p + 5 * page, 3), 0);
}

static void populate_makes_resident_what_may_be_touched(void **state)
{
    (void)state;
    on_all_sides(populate_body);
}

static void arguments_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 4, RW, 0);
    size_t page = page_size();

    assert_int_equal(side_madvise(s, p + 1, page, MADV_DONTNEED), -EINVAL);
    assert_int_equal(side_madvise(s, p, page, 7), -EINVAL);
    assert_int_equal(side_madvise(s, p, page, 999), -EINVAL);
    assert_int_equal(side_madvise(s, p, SIZE_MAX, MADV_DONTNEED), -EINVAL);
    assert_int_equal(side_madvise(s, p, 0 - p, MADV_DONTNEED), -EINVAL);
    assert_int_equal(side_madvise(s, p, 0, MADV_DONTNEED), 0);
    assert_int_equal(side_madvise(s, p + 4 * page, page, MADV_DONTNEED),
                     -ENOMEM);
    pages_write(p, 4, 1);
    assert_int_equal(side_madvise(s, p, 1, MADV_DONTNEED), 0);
    assert_true(pages_are_zero(p, 1));
    assert_true(pages_are(p + page, 3, 1, 1));
}

static void arguments_are_checked_as_by_the_kernel(void **state)
{
    (void)state;
    on_all_sides(arguments_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dontneed_makes_pages_new),
        cmocka_unit_test(closed_memory_can_be_dropped),
        cmocka_unit_test(locked_memory_is_dropped_only_by_dontneed_locked),
        cmocka_unit_test(free_leaves_old_bytes_or_zeros),
        cmocka_unit_test(remove_punches_a_hole_into_shared_memory),
        cmocka_unit_test(other_advice_changes_no_bytes),
        cmocka_unit_test(the_hosts_mapping_has_the_flag_as_long_as_ours),
        cmocka_unit_test(access_patterns_are_kept_here),
        cmocka_unit_test(collapse_makes_a_huge_page),
        cmocka_unit_test(populate_makes_resident_what_may_be_touched),
        cmocka_unit_test(arguments_are_checked_as_by_the_kernel),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("madvise", tests, NULL, NULL);
}
