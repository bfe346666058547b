/* SPDX-License-Identifier: MIT */
/*
 * Which part of the host's figures belongs to a VMA: the rules of mm/usage.h on
 * made-up entries and page counts, in kB of 4 KiB pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/usage.h"

static size_t kb(size_t npages)
{
    return npages * (page_size() / 1024);
}

static struct smaps_entry entry;
static struct usage usage;

/* A host mapping of ten resident pages of its own, all written to. */
static void ten_dirty_pages(void)
{
    entry = (struct smaps_entry){.has = (1u << SMAPS_NFIELDS) - 1,
                                 .kernel_page_kb = 4,
                                 .thp_eligible = 0,
                                 .protection_key = -1};
    entry.kb[SMAPS_RSS] = kb(10);
    entry.kb[SMAPS_PSS] = kb(10);
    entry.kb[SMAPS_PSS_DIRTY] = kb(10);
    entry.kb[SMAPS_PRIVATE_DIRTY] = kb(10);
    entry.kb[SMAPS_REFERENCED] = kb(10);
    entry.kb[SMAPS_ANONYMOUS] = kb(10);
    usage_init(&usage);
}

static void assert_kb(enum smaps_field f, size_t npages)
{
    assert_true(usage_knows(&usage, f));
    assert_int_equal(usage.kb[f], kb(npages));
}

static void assert_unknown(enum smaps_field f)
{
    assert_false(usage_knows(&usage, f));
}

static void whole_entries_add_up(void **state)
{
    (void)state;
    ten_dirty_pages();
    usage_add_whole(&usage, &entry);
    usage_add_whole(&usage, &entry);
    for (int f = 0; f < SMAPS_NFIELDS; f++) {
        assert_true(usage_knows(&usage, (enum smaps_field)f));
        assert_int_equal(usage.kb[f], 2 * entry.kb[f]);
    }
    assert_int_equal(usage.kernel_page_kb, 4);
    assert_int_equal(usage.protection_key, -1);
}

/* What is true of all pages is true of ours. */
static void a_part_of_pages_that_are_alike(void **state)
{
    struct page_counts c = {
        .present = 5, .zero = 2, .exclusive = 3, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_RSS, 3);
    assert_kb(SMAPS_PSS, 3);
    assert_kb(SMAPS_PRIVATE_DIRTY, 3);
    assert_kb(SMAPS_PRIVATE_CLEAN, 0);
    assert_kb(SMAPS_REFERENCED, 3);
    assert_kb(SMAPS_ANONYMOUS, 3);
    assert_kb(SMAPS_SWAP, 0);
}

/* Half of them referenced: nobody knows which. */
static void a_part_of_pages_that_are_not_alike(void **state)
{
    struct page_counts c = {
        .present = 3, .exclusive = 3, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    entry.kb[SMAPS_REFERENCED] = kb(5);
    entry.kb[SMAPS_PRIVATE_DIRTY] = kb(6);
    entry.kb[SMAPS_PRIVATE_CLEAN] = kb(4);
    usage_add_part(&usage, &entry, &c);
    assert_unknown(SMAPS_REFERENCED);
    assert_unknown(SMAPS_PRIVATE_DIRTY);
    assert_unknown(SMAPS_PRIVATE_CLEAN);
    assert_kb(SMAPS_SHARED_CLEAN, 0);
    assert_kb(SMAPS_RSS, 3);
    assert_kb(SMAPS_ANONYMOUS, 3);
}

/* ... unless all of the entry's pages are in our part. */
static void a_part_that_has_all_the_pages(void **state)
{
    struct page_counts c = {
        .present = 12, .zero = 2, .exclusive = 10, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    entry.kb[SMAPS_REFERENCED] = kb(5);
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_REFERENCED, 5);
    assert_kb(SMAPS_RSS, 10);
}

/* A page is shared, or mapped here alone: the page tables say it. */
static void a_part_of_shared_pages(void **state)
{
    struct page_counts c = {
        .present = 4, .exclusive = 1, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    entry.kb[SMAPS_SHARED_DIRTY] = kb(8);
    entry.kb[SMAPS_PRIVATE_DIRTY] = kb(2);
    entry.kb[SMAPS_PSS] = kb(6);
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_SHARED_DIRTY, 3);
    assert_kb(SMAPS_PRIVATE_DIRTY, 1);
    assert_unknown(SMAPS_PSS);
    assert_kb(SMAPS_RSS, 4);
}

/* Before 6.7 a page of zeros is told by nothing being shared. */
static void pages_of_zeros_on_older_kernels(void **state)
{
    struct page_counts c = {.present = 5, .zero = 2, .exclusive = 3};

    (void)state;
    ten_dirty_pages();
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_RSS, 3);
    ten_dirty_pages();
    entry.kb[SMAPS_SHARED_DIRTY] = kb(1);
    entry.kb[SMAPS_PRIVATE_DIRTY] = kb(9);
    usage_add_part(&usage, &entry, &c);
    assert_unknown(SMAPS_RSS);
    assert_unknown(SMAPS_ANONYMOUS);
    assert_unknown(SMAPS_PRIVATE_DIRTY);
    assert_kb(SMAPS_PRIVATE_CLEAN, 0);
}

/* Pages of files are not anonymous. */
static void a_part_of_a_file(void **state)
{
    struct page_counts c = {
        .present = 4, .file = 3, .exclusive = 4, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    entry.kb[SMAPS_ANONYMOUS] = kb(2);
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_ANONYMOUS, 1);
}

/* A marker (poison, a guard) looks like swap. */
static void swap_and_markers(void **state)
{
    struct page_counts c = {.swapped = 3, .zero_is_known = true};

    (void)state;
    ten_dirty_pages();
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_SWAP, 0);
    ten_dirty_pages();
    entry.kb[SMAPS_SWAP] = kb(3);
    entry.kb[SMAPS_SWAP_PSS] = kb(2);
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_SWAP, 3);
    assert_kb(SMAPS_SWAP_PSS, 2);
    ten_dirty_pages();
    entry.kb[SMAPS_SWAP] = kb(2);
    usage_add_part(&usage, &entry, &c);
    assert_unknown(SMAPS_SWAP);
    c.swapped = 0;
    usage_init(&usage);
    usage_add_part(&usage, &entry, &c);
    assert_kb(SMAPS_SWAP, 0);
}

/* One unknown piece makes the sum unknown; what the kernel does not count is
 * not known either. */
static void unknown_stays_unknown(void **state)
{
    (void)state;
    ten_dirty_pages();
    usage_add_unknown(&usage, &entry);
    usage_add_whole(&usage, &entry);
    assert_unknown(SMAPS_RSS);
    assert_kb(SMAPS_LAZYFREE, 0);
    ten_dirty_pages();
    entry.has &= ~(1u << SMAPS_KSM);
    usage_add_whole(&usage, &entry);
    assert_unknown(SMAPS_KSM);
}

/* Without /proc: Rss by mincore(2), of memory that the kernel does not serve.
 */
static void without_proc(void **state)
{
    struct usage_source none = {NULL, NULL};
    char *p = mmap(NULL, 8 * page_size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vma vma = {.start = (uintptr_t)p,
                      .end = (uintptr_t)p + 8 * page_size()};

    (void)state;
    p[0] = p[5 * page_size()] = 1;
    usage_of(&none, &vma, &usage);
    assert_kb(SMAPS_RSS, 2);
    assert_unknown(SMAPS_ANONYMOUS);
    assert_unknown(SMAPS_REFERENCED);
    assert_null(usage_entry_at_start(&none, &vma));
    vma.flags = VMA_HOST;
    usage_of(&none, &vma, &usage);
    assert_unknown(SMAPS_RSS);
    munmap(p, 8 * page_size());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_entries_add_up),
        cmocka_unit_test(a_part_of_pages_that_are_alike),
        cmocka_unit_test(a_part_of_pages_that_are_not_alike),
        cmocka_unit_test(a_part_that_has_all_the_pages),
        cmocka_unit_test(a_part_of_shared_pages),
        cmocka_unit_test(pages_of_zeros_on_older_kernels),
        cmocka_unit_test(a_part_of_a_file),
        cmocka_unit_test(swap_and_markers),
        cmocka_unit_test(unknown_stays_unknown),
        cmocka_unit_test(without_proc),
    };

    return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
