/* SPDX-License-Identifier: MIT */
/*
 * The limit of mappings (UF_LIMIT_MAP_COUNT, as vm.max_map_count) at each kind
 * of split: refused with the kernel's errno, and nothing has changed; drawn
 * (lib/drawn.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>

#include "lib/drawn.h"

/* Each kind of split at the limit: refused, with the kernel's errno, and
 * nothing has changed. One mapping fewer, and it is allowed. */
static void splits_stop_at_the_limit(void **state)
{
    (void)state;
    drawn_draw("AAAAAA B N");
    drawn_limit(3);
    assert_int_equal(drawn_unmap(2, 4), -ENOMEM);
    assert_int_equal(drawn_protect(2, 4, PROT_READ), -ENOMEM);
    assert_int_equal(drawn_protect(0, 2, PROT_READ), -ENOMEM);
    assert_int_equal(drawn_protect(4, 6, PROT_READ), -ENOMEM);
    assert_int_equal(drawn_lock(2, 4), -ENOMEM);
    assert_int_equal(drawn_lock(4, 6), -ENOMEM);
    assert_int_equal(drawn_advise(2, 4, MADV_RANDOM), -EAGAIN);
    assert_int_equal(drawn_advise(0, 2, MADV_RANDOM), -EAGAIN);
    assert_int_equal(drawn_map('B', 2, 4, 0), -ENOMEM);
    assert_int_equal(drawn_move(2, 2, 12), -ENOMEM);
    drawn_expect("AAAAAA B N");
    /* What needs no more of them: trimming, whole VMAs, dropping. */
    assert_int_equal(drawn_protect(7, 8, DRAWN_RW), 0);
    assert_int_equal(drawn_protect(7, 8, PROT_READ), 0);
    assert_int_equal(drawn_advise(0, 6, MADV_RANDOM), 0);
    assert_int_equal(drawn_advise(0, 6, MADV_NORMAL), 0);
    assert_int_equal(drawn_advise(2, 4, MADV_DONTNEED), 0);
    assert_int_equal(drawn_unmap(0, 2), 0);
    assert_int_equal(drawn_unmap(5, 6), 0);
    drawn_expect("  AAA  B N");
    assert_int_equal(drawn_resize(2, 3, 2), drawn_at(2));
    assert_int_equal(drawn_resize(2, 2, 5), drawn_at(2));
    drawn_expect("  AAAAAB N");
    /* A new mapping is refused only above the limit, as in the kernel. */
    assert_int_equal(drawn_map('A', 20, 21, 0), drawn_at(20));
    assert_int_equal(drawn_map('A', 22, 23, 0), -ENOMEM);
    drawn_expect("  AAAAAB N          A");
}

static void one_below_the_limit_one_split_is_allowed(void **state)
{
    (void)state;
    drawn_draw("AAAAAA B N");
    drawn_limit(4);
    assert_int_equal(drawn_protect(2, 4, PROT_READ), -ENOMEM); /* two more */
    assert_int_equal(drawn_advise(2, 4, MADV_RANDOM), -EAGAIN);
    assert_int_equal(drawn_lock(2, 4), -ENOMEM);
    drawn_expect("AAAAAA B N");
    assert_int_equal(drawn_protect(4, 6, PROT_READ), 0);
    drawn_expect("AAAABB B N");
    assert_int_equal(drawn_protect(4, 6, DRAWN_RW), 0);
    assert_int_equal(drawn_unmap(2, 4), 0);
    drawn_expect("AA  AA B N");
    drawn_limit(6);
    drawn_draw("AAAAAA B N");
    assert_int_equal(drawn_protect(2, 4, PROT_READ), 0);
    drawn_expect("AABBAA B N");
}

/* mremap wants room for what it might split, whether it does or not. */
static void moves_keep_a_distance_from_the_limit(void **state)
{
    (void)state;
    drawn_draw("AA");
    drawn_limit(6);
    assert_int_equal(drawn_move(0, 2, 10), -ENOMEM);
    drawn_limit(7);
    assert_int_equal(drawn_move(0, 2, 10), drawn_at(10));
    drawn_expect("          AA");
}

/* Half-way: what comes before the VMA that may not be split has changed. */
static void the_limit_stops_a_change_half_way(void **state)
{
    (void)state;
    drawn_draw("AA SSSS");
    drawn_limit(2);
    assert_int_equal(drawn_protect(0, 2, PROT_READ), 0);
    assert_int_equal(drawn_protect(0, 5, DRAWN_RW), -ENOMEM); /* the hole */
    drawn_expect("AA SSSS");
    drawn_draw("BBSSSS");
    assert_int_equal(drawn_advise(0, 4, MADV_RANDOM), -EAGAIN);
    assert_true(vma_set_lookup(&drawn->vmas, drawn_at(0))->flags &
                VMA_RAND_READ);
    assert_false(vma_set_lookup(&drawn->vmas, drawn_at(2))->flags &
                 VMA_RAND_READ);
    assert_int_equal(drawn->vmas.count, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, drawn_setup, drawn_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(splits_stop_at_the_limit),
        TEST(one_below_the_limit_one_split_is_allowed),
        TEST(moves_keep_a_distance_from_the_limit),
        TEST(the_limit_stops_a_change_half_way),
    };

    return cmocka_run_group_tests_name("limit of mappings", tests, NULL, NULL);
}
