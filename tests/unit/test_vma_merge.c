/* SPDX-License-Identifier: MIT */
/*
 * Merging and splitting by calls, in each of the kernel's cases (mm/vma.c),
 * drawn (lib/drawn.h). Each row is: before, call, after.
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

#include "lib/drawn.h"

/* ------------------------------------------------------- mapping: merges -- */

struct mapping {
    const char *before;
    char kind;
    size_t first, end, offset;
    const char *after;
};

static const struct mapping mappings[] = {
    /* none, previous, next, both */
    {"AA    AA", 'A', 3, 5, 0, "AA AA AA"},
    {"AA    AA", 'A', 2, 4, 0, "AAAA  AA"},
    {"AA    AA", 'A', 4, 6, 0, "AA  AAAA"},
    {"AA  AA", 'A', 2, 4, 0, "AAAAAA"},
    /* other protection or flags */
    {"AA  AA", 'B', 2, 4, 0, "AABBAA"},
    {"AA  BB", 'B', 2, 4, 0, "AABBBB"},
    {"AA  AA", 'L', 2, 4, 0, "AALLAA"},
    {"LL  AA", 'A', 2, 4, 0, "LLAAAA"},
    {"AA  AA", 'S', 2, 4, 0, "AASSAA"},
    {"AA  SS", 'S', 2, 4, 0, "AASSSS"},
    {"RR  AA", 'A', 2, 4, 0, "RRAAAA"},
    {"NN  NN", 'N', 2, 4, 0, "NNNNNN"},
    {"NN  NN", 'A', 2, 4, 0, "NNAANN"},
    /* pagers and offsets */
    {"FF  FF", 'F', 2, 4, 2, "FFFFFF"},
    {"FF  FF", 'F', 2, 4, 9, "FF*F*F"},
    {"FF  GG", 'F', 2, 4, 2, "FFFFGG"},
    {"FF  GG", 'G', 2, 4, 2, "FFGGGG"},
    {"FF  FF", 'A', 2, 4, 2, "FFAAFF"},
    {"FF  FF", 'G', 2, 4, 2, "FFGGFF"},
    {"FF  bb", 'b', 2, 4, 2, "FFbbbb"},
    {"FF  FF", 'F', 2, 3, 2, "FFF FF"},
    /* over what is there: the same, trimmed, split, covered */
    {"AAAAAA", 'A', 2, 4, 0, "AAAAAA"},
    {"AAAAAA", 'B', 2, 4, 0, "AABBAA"},
    {"AAAAAA", 'B', 0, 2, 0, "BBAAAA"},
    {"AAAAAA", 'B', 4, 8, 0, "AAAABBBB"},
    {"BBAABB", 'B', 2, 4, 0, "BBBBBB"},
    {"BBAABB", 'B', 1, 5, 0, "BBBBBB"},
    {"FFFFFF", 'F', 2, 4, 2, "FFFFFF"},
    {"FFFFFF", 'F', 2, 4, 3, "FF*F*F"},
    {"A B F G L", 'A', 0, 9, 0, "AAAAAAAAA"},
    {"AA B FF", 'N', 1, 6, 0, "ANNNNNF"},
};

static void a_new_mapping_merges_with_its_like(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
        const struct mapping *m = &mappings[i];

        drawn_draw(m->before);
        drawn_expect(m->before);
        assert_int_equal(drawn_map(m->kind, m->first, m->end, m->offset),
                         drawn_at(m->first));
        drawn_expect(m->after);
    }
}

/* --------------------------------------------------- the kernel's cases -- */

/* vma_merge's drawings: P previous, A the range that changes, N next. */
struct change {
    const char *name;
    const char *before;
    size_t first, end;
    int prot;
    const char *after;
};

static const struct change changes[] = {
    {"no case: the middle", "AAAAAA", 2, 4, PROT_READ, "AABBAA"},
    {"no case: the head", "AAAAAA", 0, 2, PROT_READ, "BBAAAA"},
    {"no case: the tail", "AAAAAA", 4, 6, PROT_READ, "AAAABB"},
    {"no case: all of it", "AAAAAA", 0, 6, PROT_READ, "BBBBBB"},
    {"no case: nothing changes", "AAAAAA", 2, 4, DRAWN_RW, "AAAAAA"},
    {"case 4: the tail joins next", "BBBBBBAAAAAA", 4, 6, DRAWN_RW,
     "BBBBAAAAAAAA"},
    {"case 5: the head joins previous", "BBBBBBAAAAAA", 6, 8, PROT_READ,
     "BBBBBBBBAAAA"},
    {"case 6: all of it, both sides", "BBBBAAAABBBB", 4, 8, PROT_READ,
     "BBBBBBBBBBBB"},
    {"case 7: all of it joins previous", "BBBBAAAANNNN", 4, 8, PROT_READ,
     "BBBBBBBBNNNN"},
    {"case 8: all of it joins next", "NNNNAAAABBBB", 4, 8, PROT_READ,
     "NNNNBBBBBBBB"},
    {"across three", "AABBNN", 1, 5, PROT_READ, "ABBBBN"},
    {"across three, all join", "BBAANN", 0, 6, PROT_READ, "BBBBBB"},
    {"pagers: split", "FFFFFF", 2, 4, PROT_READ, "FFbbFF"},
    {"pagers: joined again", "FFbbFF", 2, 4, DRAWN_RW, "FFFFFF"},
    {"pagers: not with zeros", "AAbbAA", 2, 4, DRAWN_RW, "AAFFAA"},
    {"flags stay", "AALLAA", 1, 5, PROT_READ, "ABLLBA"},
};

static void mprotect_splits_and_merges_in_each_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const struct change *c = &changes[i];

        drawn_draw(c->before);
        if (drawn_protect(c->first, c->end, c->prot) != 0)
            fail_msg("%s", c->name);
        /* A locked VMA's kind does not show its protection. */
        if (strchr(c->before, 'L') == NULL)
            drawn_expect(c->after);
        else
            assert_int_equal(drawn->vmas.count, 5);
    }
}

static void madvise_splits_and_merges(void **state)
{
    (void)state;
    drawn_draw("AAAAAA");
    assert_int_equal(drawn_advise(2, 4, MADV_RANDOM), 0);
    drawn_expect("AARRAA");
    assert_int_equal(drawn_advise(0, 2, MADV_RANDOM), 0);
    drawn_expect("RRRRAA");
    assert_int_equal(drawn_advise(3, 6, MADV_RANDOM), 0);
    drawn_expect("RRRRRR");
    assert_int_equal(drawn_advise(5, 6, MADV_NORMAL), 0);
    assert_int_equal(drawn_advise(0, 1, MADV_NORMAL), 0);
    drawn_expect("ARRRRA");
    assert_int_equal(drawn_advise(0, 6, MADV_NORMAL), 0);
    drawn_expect("AAAAAA");
    /* Across a hole: both sides. */
    drawn_draw("AAA AAA");
    assert_int_equal(drawn_advise(1, 6, MADV_RANDOM), -ENOMEM);
    drawn_expect("ARR RRA");
}

static void mlock_splits_and_merges(void **state)
{
    (void)state;
    drawn_draw("AAAAAA");
    assert_int_equal(drawn_lock(2, 4), 0);
    drawn_expect("AALLAA");
    assert_int_equal(drawn_lock(0, 6), 0);
    drawn_expect("LLLLLL");
    assert_int_equal(drawn_unlock(3, 6), 0);
    drawn_expect("LLLAAA");
    assert_int_equal(drawn_unlock(0, 6), 0);
    drawn_expect("AAAAAA");
    drawn_draw("AAA AAA");
    assert_int_equal(drawn_lock(1, 6), -ENOMEM);
    drawn_expect("ALL AAA");
    assert_int_equal(drawn_unlock(1, 6), -ENOMEM);
    drawn_expect("AAA AAA");
}

static void munmap_trims_and_splits(void **state)
{
    (void)state;
    drawn_draw("AAAAAA");
    assert_int_equal(drawn_unmap(2, 4), 0);
    drawn_expect("AA  AA");
    assert_int_equal(drawn_unmap(0, 1), 0);
    drawn_expect(" A  AA");
    assert_int_equal(drawn_unmap(5, 9), 0);
    drawn_expect(" A  A");
    assert_int_equal(drawn_unmap(2, 4), 0); /* nothing */
    drawn_expect(" A  A");
    assert_int_equal(drawn_unmap(0, DRAWN_COLUMNS), 0);
    drawn_expect("");
    drawn_draw("FFFFFF");
    assert_int_equal(drawn_unmap(2, 4), 0);
    assert_int_equal(drawn_map('F', 2, 4, 2), drawn_at(2));
    drawn_expect("FFFFFF");
}

/* ------------------------------------------------------------------ moves --
 */

static void what_moves_stays_apart_from_what_was_there(void **state)
{
    (void)state;
    /* The host's mapping is another, so it is not one with its neighbours. */
    drawn_draw("AA    AA");
    assert_int_equal(drawn_move(0, 2, 4), drawn_at(4));
    drawn_expect("    AA*A");
    /* Two parts that moved together are one again. */
    drawn_draw("AAAA");
    assert_int_equal(drawn_move(0, 2, 10), drawn_at(10));
    assert_int_equal(drawn_move(2, 2, 12), drawn_at(12));
    drawn_expect("          AAAA");
    /* The rest of a split stays. */
    drawn_draw("FFFFFF");
    assert_int_equal(drawn_move(2, 2, 10), drawn_at(10));
    drawn_expect("FF  FF    FF");
    assert_int_equal(vma_set_lookup(&drawn->vmas, drawn_at(10))->offset,
                     2 * page_size());
    /* Home again: at its offset, between its own. */
    assert_int_equal(drawn_move(10, 2, 2), drawn_at(2));
    drawn_expect("FF*F*F");
}

static void what_grows_is_one_with_what_it_was(void **state)
{
    (void)state;
    drawn_draw("AA   BB");
    assert_int_equal(drawn_resize(0, 2, 4), drawn_at(0));
    drawn_expect("AAAA BB");
    assert_int_equal(drawn_resize(0, 4, 6), -ENOMEM);
    assert_int_equal(drawn_resize(0, 4, 5), drawn_at(0));
    drawn_expect("AAAAABB");
    assert_int_equal(drawn_resize(0, 5, 1), drawn_at(0));
    drawn_expect("A    BB");
    /* Up to its like: merged. */
    drawn_draw("AA  AA");
    assert_int_equal(drawn_resize(0, 2, 4), drawn_at(0));
    drawn_expect("AAAAAA");
    drawn_draw("FF  FF");
    assert_int_equal(drawn_resize(0, 2, 4), drawn_at(0));
    drawn_expect("FFFFFF");
    drawn_draw("FF  GG");
    assert_int_equal(drawn_resize(0, 2, 4), drawn_at(0));
    drawn_expect("FFFFGG");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, drawn_setup, drawn_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_mapping_merges_with_its_like),
        TEST(mprotect_splits_and_merges_in_each_case),
        TEST(madvise_splits_and_merges),
        TEST(mlock_splits_and_merges),
        TEST(munmap_trims_and_splits),
        TEST(what_moves_stays_apart_from_what_was_there),
        TEST(what_grows_is_one_with_what_it_was),
    };

    return cmocka_run_group_tests_name("merging by calls", tests, NULL, NULL);
}
