/* SPDX-License-Identifier: MIT */
/*
 * deferred: nothing is lost or handed out twice, nothing before its time, and
 * one thread always stays outside foreign code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <string.h>

#include "fault/deferred.h"
#include "lib/fake_script.h"

static struct deferred_queue q;

static int set_up(void **state)
{
    (void)state;
    memset(&q, 0, sizeof(q));
    return deferred_init(&q);
}

static int tear_down(void **state)
{
    (void)state;
    deferred_destroy(&q);
    return 0;
}

static struct fault fault_at(uintptr_t addr)
{
    return (struct fault){.addr = addr, .attempts = 3, .deferred_ns = 9};
}

/* An empty queue has nothing due and no time to wait for. */
static void empty_waits_for_ever(void **state)
{
    struct fault f;

    (void)state;
    assert_int_equal(deferred_wait_ns(&q), -1);
    assert_false(deferred_take_due(&q, UINT64_MAX, &f));
}

/* What was put comes back as it was, not before it is due. */
static void a_fault_comes_back_when_due(void **state)
{
    struct fault f = fault_at(4096), got;

    (void)state;
    assert_true(deferred_put(&q, &f, 100));
    assert_false(deferred_take_due(&q, 99, &got));
    assert_int_equal(deferred_wait_ns(&q), 0); /* 100 ns is long ago */
    assert_true(deferred_take_due(&q, 100, &got));
    assert_memory_equal(&got, &f, sizeof(f));
    assert_false(deferred_take_due(&q, 100, &got));
}

/* The wait ends with the earliest, in whatever order they came. */
static void the_wait_is_for_the_earliest(void **state)
{
    uint64_t hour = UINT64_C(3600000000000), now = fault_clock_ns();
    struct fault f = fault_at(0);
    int64_t wait;

    (void)state;
    deferred_put(&q, &f, now + 3 * hour);
    deferred_put(&q, &f, now + hour);
    deferred_put(&q, &f, now + 2 * hour);
    wait = deferred_wait_ns(&q);
    assert_true(wait > 0 && (uint64_t)wait <= hour);
}

/* Room is for one more inside beside the one that stays outside. */
static void who_has_the_last_place_finds_no_room(void **state)
{
    struct fault f = fault_at(0);

    (void)state;
    assert_int_equal(deferred_enter(&q, 3, &f), ENTER_YES);
    assert_true(deferred_has_room(&q, 3));
    assert_false(deferred_has_room(&q, 2));
    assert_int_equal(deferred_enter(&q, 3, &f), ENTER_YES);
    assert_false(deferred_has_room(&q, 3));
    assert_true(deferred_has_room(&q, 4));
    assert_false(deferred_leave(&q, &f));
    assert_true(deferred_has_room(&q, 3));
    assert_false(deferred_leave(&q, &f));
}

/* Full is said, and all that went in come out once. */
static void a_full_queue_says_so_and_loses_nothing(void **state)
{
    static unsigned seen[DEFERRED_MAX];
    struct fault f;

    (void)state;
    for (uintptr_t i = 0; i < DEFERRED_MAX; i++) {
        f = fault_at(i);
        assert_true(deferred_put(&q, &f, i * 31 % DEFERRED_MAX));
    }
    assert_false(deferred_put(&q, &f, 0));
    for (uint64_t now = 0; now < DEFERRED_MAX; now++)
        while (deferred_take_due(&q, now, &f)) {
            assert_true(f.addr * 31 % DEFERRED_MAX <= now);
            seen[f.addr]++;
        }
    for (size_t i = 0; i < DEFERRED_MAX; i++)
        assert_int_equal(seen[i], 1);
    assert_true(deferred_put(&q, &f, 0));
}

/* Of n threads n - 1 get in; a thread alone never does. */
static void one_thread_stays_outside(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        struct fault f = fault_at(n);

        set_up(NULL);
        for (unsigned i = 1; i < n; i++)
            assert_int_equal(deferred_enter(&q, n, &f), ENTER_YES);
        assert_int_equal(deferred_enter(&q, n, &f), ENTER_LATER);
        for (unsigned i = 1; i < n; i++)
            assert_int_equal(deferred_leave(&q, &f), i == 1);
        if (n > 1)
            assert_false(deferred_leave(&q, &f));
        tear_down(NULL);
    }
    set_up(NULL);
}

/* Who leaves takes who waits, in order, round the ring; the place is theirs
 * before it is free. */
static void who_waits_is_served_in_order(void **state)
{
    uint64_t seed = 5, in = 0, out = 0;
    struct fault f = fault_at(0);

    (void)state;
    assert_int_equal(deferred_enter(&q, 2, &f), ENTER_YES);
    for (unsigned n = 0; n < 20000; n++) {
        if (fake_random(&seed) % 2 && in - out < DEFERRED_MAX) {
            f = fault_at(in++);
            assert_int_equal(deferred_enter(&q, 2, &f), ENTER_LATER);
        } else if (in > out) {
            assert_true(deferred_leave(&q, &f));
            assert_int_equal(f.addr, out++);
        }
    }
    while (in > out) {
        assert_true(deferred_leave(&q, &f));
        assert_int_equal(f.addr, out++);
    }
    assert_false(deferred_leave(&q, &f));
    assert_int_equal(deferred_enter(&q, 2, &f), ENTER_YES);
}

/* The ring is full: said, and nothing is overwritten. */
static void a_full_ring_says_so(void **state)
{
    struct fault f = fault_at(0);

    (void)state;
    assert_int_equal(deferred_enter(&q, 2, &f), ENTER_YES);
    for (uintptr_t i = 0; i < DEFERRED_MAX; i++) {
        f = fault_at(i);
        assert_int_equal(deferred_enter(&q, 2, &f), ENTER_LATER);
    }
    assert_int_equal(deferred_enter(&q, 2, &f), ENTER_FULL);
    for (uintptr_t i = 0; i < DEFERRED_MAX; i++) {
        assert_true(deferred_leave(&q, &f));
        assert_int_equal(f.addr, i);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_waits_for_ever),
        TEST(a_fault_comes_back_when_due),
        TEST(the_wait_is_for_the_earliest),
        TEST(who_has_the_last_place_finds_no_room),
        TEST(a_full_queue_says_so_and_loses_nothing),
        TEST(one_thread_stays_outside),
        TEST(who_waits_is_served_in_order),
        TEST(a_full_ring_says_so),
    };

    return cmocka_run_group_tests_name("deferred", tests, NULL, NULL);
}
