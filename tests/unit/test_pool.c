/* SPDX-License-Identifier: MIT */
/*
 * The pool of huge pages, by itself: how many it holds, what becomes of what was
 * taken, and a kernel that has none to give.
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
#include <string.h>

#include "base/slab.h"
#include "fault/pool.h"
#include "lib/hostcalls.h"

#define LIMIT 3

static struct huge_pool *new_pool(void)
{
    struct huge_pool *pool = NULL;

    assert_int_equal(pool_create(LIMIT * huge_bytes() + 1, &pool), 0);
    return pool;
}

static bool is_zero(const char *page)
{
    for (size_t i = 0; i < huge_bytes(); i += 512)
        if (page[i] != 0)
            return false;
    return true;
}

static void it_never_holds_more_than_its_limit(void **state)
{
    struct huge_pool *pool = new_pool();
    void *taken[LIMIT];

    (void)state;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < LIMIT; i++)
            assert_true(pool_fill_one(pool));
        assert_false(pool_fill_one(pool));
        assert_int_equal(pool_ready(pool), LIMIT);
        assert_true(pool_is_full(pool));
        for (size_t i = 0; i < LIMIT; i++) {
            taken[i] = pool_take(pool);
            assert_non_null(taken[i]);
            for (size_t k = 0; k < i; k++)
                assert_ptr_not_equal(taken[i], taken[k]);
        }
        /* They count until they are given back. */
        assert_null(pool_take(pool));
        assert_false(pool_fill_one(pool));
        for (size_t i = 0; i < LIMIT; i++)
            pool_give_back(pool, taken[i], POOL_IN_PART);
        assert_int_equal(pool_ready(pool), 0);
    }
    pool_destroy(pool);
}

static void what_nothing_happened_to_is_ready_again(void **state)
{
    struct huge_pool *pool = new_pool();
    void *page = pool_take(pool); /* zeroed now */

    (void)state;
    assert_non_null(page);
    assert_int_equal(pool_ready(pool), 0);
    pool_give_back(pool, page, POOL_UNTOUCHED);
    assert_int_equal(pool_ready(pool), 1);
    assert_ptr_equal(pool_take(pool), page);
    assert_true(is_zero(page));
    pool_give_back(pool, page, POOL_UNTOUCHED);
    pool_destroy(pool);
}

/* Nobody is there to map it anew but who needs it. */
static void a_spoilt_one_is_mapped_anew_by_who_takes_it(void **state)
{
    struct huge_pool *pool = new_pool();
    char *taken[LIMIT];

    (void)state;
    for (size_t i = 0; i < LIMIT; i++) {
        taken[i] = pool_take(pool);
        memset(taken[i], 7, huge_bytes());
    }
    for (size_t i = 0; i < LIMIT; i++)
        pool_give_back(pool, taken[i], POOL_IN_PART);
    for (size_t i = 0; i < LIMIT; i++) {
        taken[i] = pool_take(pool);
        assert_non_null(taken[i]);
        assert_true(is_zero(taken[i]));
    }
    pool_give_back(pool, taken[0], POOL_IN_PART);
    host_fail(HOST_MMAP, 1, ENOMEM);
    assert_null(pool_take(pool));
    assert_int_equal(host_fail_end(), 1);
    assert_non_null(pool_take(pool));
    pool_destroy(pool);
}

static void starve(struct huge_pool *pool)
{
    host_fail(HOST_MADVISE, 1, ENOMEM);
    assert_null(pool_take(pool));
    assert_int_equal(host_fail_end(), 1);
    assert_true(pool_starves_ns(pool) > 0);
}

static void a_starved_pool_does_not_ask_for_a_while(void **state)
{
    struct huge_pool *pool = new_pool();
    void *page;

    (void)state;
    assert_int_equal(pool_starves_ns(pool), 0);
    starve(pool);
    host_fail(HOST_ANY, 1, ENOMEM);
    assert_null(pool_take(pool));
    assert_false(pool_fill_one(pool));
    assert_int_equal(host_fail_end(), 0); /* nothing was called */
    while (pool_starves_ns(pool) > 0)
        sched_yield();
    starve(pool); /* once more, and for longer */
    assert_true(pool_starves_ns(pool) > 1000000000u);
    while (pool_starves_ns(pool) > 0)
        sched_yield();
    page = pool_take(pool);
    assert_non_null(page);
    assert_true(is_zero(page));
    assert_true(pool_fill_one(pool));
    pool_destroy(pool);
}

static void zeros_are_shared(void **state)
{
    struct huge_pool *pool = new_pool();
    void *zeros[64];
    size_t n = 0;

    (void)state;
    while (n < 64 && (zeros[n] = pool_take_zeros(pool)))
        assert_true(is_zero(zeros[n++]));
    assert_true(n < 64);
    /* None of them is of the limit. */
    for (size_t i = 0; i < LIMIT; i++)
        assert_true(pool_fill_one(pool));
    for (size_t i = 0; i < n; i++)
        pool_give_back(pool, zeros[i], POOL_UNTOUCHED);
    assert_int_equal(pool_ready(pool), LIMIT);
    if (n > 0)
        assert_non_null(pool_take_zeros(pool));
    pool_destroy(pool);
}

static void what_cannot_be_made_is_not(void **state)
{
    struct huge_pool *pool = NULL;

    (void)state;
    assert_int_equal(pool_create(huge_bytes() - 1, &pool), -ENOMEM);
    slab_inject_failure(1, 1);
    assert_int_equal(pool_create(huge_bytes(), &pool), -ENOMEM);
    slab_inject_failure(0, 0);
    for (unsigned n = 1; n <= 2; n++) {
        host_fail(HOST_MADVISE, n, EINVAL);
        assert_int_equal(pool_create(huge_bytes(), &pool), -EINVAL);
        assert_int_equal(host_fail_end(), 1);
    }
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_never_holds_more_than_its_limit),
        cmocka_unit_test(what_nothing_happened_to_is_ready_again),
        cmocka_unit_test(a_spoilt_one_is_mapped_anew_by_who_takes_it),
        cmocka_unit_test(a_starved_pool_does_not_ask_for_a_while),
        cmocka_unit_test(zeros_are_shared),
        cmocka_unit_test(what_cannot_be_made_is_not),
    };

    host_calls_begin();
    if (!pool_is_of_use()) {
        printf("skipped: no huge pages\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
