/* SPDX-License-Identifier: MIT */
/*
 * streams: what a thread's touches say about its next one. Each test lets
 * threads touch page numbers and looks at what is wanted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fault/streams.h"

#define MAX 512

static struct stream_wish touch(streams_t *streams, pid_t tid, uint64_t page)
{
    struct stream_touch t = {
        .tid = tid, .page = page, .pages_max = MAX, .pages_new = 1};
    struct stream_wish wish = streams_note(streams, &t);

    assert_true(wish.first <= page && page < wish.end);
    assert_true(wish.end - wish.first <= MAX);
    assert_true(wish.count >= 1 && wish.count <= STREAM_COUNT_MAX);
    return wish;
}

static void assert_wish(struct stream_wish wish, uint64_t first, uint64_t end)
{
    assert_int_equal(wish.first, first);
    assert_int_equal(wish.end, end);
    assert_int_equal(wish.count, 1);
}

static void a_lone_touch_wants_its_page(void **state)
{
    streams_t streams = NULL;

    (void)state;
    assert_wish(touch(&streams, 1, 1000), 1000, 1001);
    assert_wish(touch(&streams, 1, 5), 5, 6);
    assert_wish(touch(&streams, 1, 0), 0, 1);
    streams_destroy(&streams);
}

/* Each window begins where the last one ended, and reaches to the end of a
 * block twice as long. */
static void a_stream_doubles_to_the_most(void **state)
{
    streams_t streams = NULL;
    struct stream_wish wish;
    uint64_t at = 1000, size = 1;

    (void)state;
    touch(&streams, 1, at++);
    for (int i = 0; i < 20; i++) {
        wish = touch(&streams, 1, at);
        size = size < MAX ? size * 2 : MAX;
        assert_int_equal(wish.first, at);
        assert_int_equal(wish.end, (at / size + 1) * size);
        at = wish.end;
    }
    assert_int_equal(wish.end - wish.first, MAX);
    streams_destroy(&streams);
}

static void a_stream_goes_down_as_well(void **state)
{
    streams_t streams = NULL;
    struct stream_wish wish = touch(&streams, 1, 10000);
    uint64_t at = 9999;

    (void)state;
    for (int i = 0; i < 12; i++) {
        wish = touch(&streams, 1, at);
        assert_int_equal(wish.end, at + 1);
        at = wish.first - 1;
    }
    assert_int_equal(wish.end - wish.first, MAX);
    streams_destroy(&streams);
}

/* Down to page 0 and not beyond. */
static void a_stream_ends_at_the_first_page(void **state)
{
    streams_t streams = NULL;
    uint64_t at = 40;

    (void)state;
    touch(&streams, 1, at);
    while (at > 0)
        at = touch(&streams, 1, at - 1).first;
    assert_wish(touch(&streams, 1, 5000), 5000, 5001);
    streams_destroy(&streams);
}

/* The third of three touches at equal distances makes a strided stream. */
static void equal_distances_are_a_stream(void **state)
{
    static const int strides[] = {7, 2, 64, -3};

    (void)state;
    for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
        streams_t streams = NULL;
        int64_t stride = strides[i], at = 100000;
        struct stream_wish wish;

        assert_wish(touch(&streams, 1, (uint64_t)at), 100000, 100001);
        at += stride;
        assert_wish(touch(&streams, 1, (uint64_t)at), (uint64_t)at,
                    (uint64_t)at + 1);
        for (uint32_t count = 2; count <= STREAM_COUNT_MAX; count *= 2) {
            at += stride * (count == 2 ? 1 : count / 2);
            wish = touch(&streams, 1, (uint64_t)at);
            assert_int_equal(wish.count, count);
            assert_int_equal(wish.stride, stride);
            assert_int_equal(wish.end - wish.first, 1);
        }
        streams_destroy(&streams);
    }
}

/* Other lone touches near by, or many since, do not hide it. */
static void a_stride_is_from_the_nearest(void **state)
{
    static const uint64_t near[] = {5000, 5100, 5050, 5053};
    static const uint64_t old[] = {1000,  20000, 30000, 40000,
                                   50000, 60000, 1010};
    streams_t streams = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
        assert_wish(touch(&streams, 1, near[i]), near[i], near[i] + 1);
    assert_int_equal(touch(&streams, 1, 5056).count, 2);
    streams_destroy(&streams);
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        assert_wish(touch(&streams, 1, old[i]), old[i], old[i] + 1);
    assert_int_equal(touch(&streams, 1, 1020).count, 2);
    streams_destroy(&streams);
}

/* Three arrays at once: each has its own window. */
static void a_thread_has_several_streams(void **state)
{
    streams_t streams = NULL;
    uint64_t at[3] = {1000, 50000, 90000};

    (void)state;
    for (int i = 0; i < 3; i++)
        at[i] = touch(&streams, 1, at[i]).end;
    for (int round = 0; round < 12; round++)
        for (int i = 0; i < 3; i++) {
            struct stream_wish wish = touch(&streams, 1, at[i]);

            assert_int_equal(wish.first, at[i]);
            assert_true(round < 10 || wish.end - wish.first >= MAX / 2);
            at[i] = wish.end;
        }
    streams_destroy(&streams);
}

/* Two threads that take turns are two streams, not one with strides. */
static void threads_do_not_mix(void **state)
{
    streams_t streams = NULL;
    uint64_t a = 1000, b = 1020;

    (void)state;
    a = touch(&streams, 1, a).end;
    b = touch(&streams, 2, b).end;
    for (int i = 0; i < 3; i++) {
        a = touch(&streams, 1, a).end;
        b = touch(&streams, 2, b).end;
    }
    assert_int_equal(a, 1008);
    assert_int_equal(b, 1032);
    streams_destroy(&streams);
}

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

/* A tenth of many pages, at random: hardly a page more than was touched. */
static void random_touches_bring_in_what_they_touch(void **state)
{
    enum { MANY = 1 << 18 };
    unsigned char *resident = calloc(MANY, 1);
    unsigned char *touched = calloc(MANY, 1);
    streams_t streams = NULL;
    size_t nresident = 0, ntouched = 0;
    uint32_t random = 1;

    (void)state;
    for (int i = 0; i < MANY / 10; i++) {
        uint64_t page = next_random(&random) % MANY;
        struct stream_wish wish;

        touched[page] = 1;
        if (resident[page])
            continue;
        wish = touch(&streams, 7, page);
        for (uint64_t p = wish.first; p < wish.end && p < MANY; p++)
            resident[p] = 1;
        for (uint32_t k = 1; k < wish.count; k++) {
            uint64_t p = page + (uint64_t)(wish.stride * (int64_t)k);

            if (p < MANY)
                resident[p] = 1;
        }
    }
    for (int i = 0; i < MANY; i++) {
        nresident += resident[i];
        ntouched += touched[i];
    }
    assert_true(nresident * 100 <= ntouched * 101);
    free(resident);
    free(touched);
    streams_destroy(&streams);
}

/* Pages that others brought in lie between: the stream is still one. */
static void a_stream_survives_what_was_there(void **state)
{
    streams_t streams = NULL;
    uint64_t at = 64;
    struct stream_wish wish;

    (void)state;
    at = touch(&streams, 1, at).end;
    for (int i = 0; i < 6; i++)
        at = touch(&streams, 1, at).end;
    wish = touch(&streams, 1, at + 5);
    assert_true(wish.end - wish.first > 16);
    streams_destroy(&streams);
}

/* A break that grows step by step cuts each window short; the stream goes on. */
static void a_window_that_was_cut_short_is_no_end(void **state)
{
    streams_t streams = NULL;
    struct stream_wish wish = {0};

    (void)state;
    for (uint64_t brk = 33, at = 0; brk < 33 * 100; brk += 33) {
        while (at < brk) {
            wish = touch(&streams, 1, at);
            if (wish.end > brk)
                streams_cut(&wish, at, brk);
            at = wish.end < brk ? wish.end : brk;
        }
    }
    assert_int_equal(wish.end - wish.first, MAX - wish.first % MAX);
    assert_true(wish.end - wish.first > 33);
    streams_destroy(&streams);
}

/* What is generous from the start is a block, and a stream at once, either way. */
static void a_new_touch_may_want_a_block(void **state)
{
    streams_t streams = NULL;
    struct stream_touch t = {
        .tid = 1, .page = 21, .pages_max = MAX, .pages_new = 16};

    (void)state;
    assert_wish(streams_note(&streams, &t), 16, 32);
    t.page = 32;
    assert_wish(streams_note(&streams, &t), 32, 64);
    t.page = 1000;
    assert_wish(streams_note(&streams, &t), 992, 1008);
    t.page = 991;
    assert_wish(streams_note(&streams, &t), 960, 992);
    streams_destroy(&streams);
}

/* A fault that came to nothing is the same one again, not the next. */
static void the_same_touch_wants_the_same(void **state)
{
    streams_t streams = NULL;
    struct stream_wish wish;

    (void)state;
    for (uint64_t at = 64; at < 80; at = wish.end) {
        wish = touch(&streams, 1, at);
        for (int n = 0; n < 3; n++)
            assert_wish(touch(&streams, 1, at), wish.first, wish.end);
    }
    streams_destroy(&streams);
}

/* More threads than slots: they forget each other, and nothing else. */
static void many_threads_share_the_table(void **state)
{
    streams_t streams = NULL;

    (void)state;
    for (pid_t tid = 0; tid < 5000; tid++) {
        uint64_t page = (uint64_t)tid * 1000;

        assert_wish(touch(&streams, tid, page), page, page + 1);
        assert_int_equal(touch(&streams, tid, page + 1).end,
                         page + 2 + page % 2);
    }
    streams_destroy(&streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_touch_wants_its_page),
        cmocka_unit_test(a_stream_doubles_to_the_most),
        cmocka_unit_test(a_stream_goes_down_as_well),
        cmocka_unit_test(a_stream_ends_at_the_first_page),
        cmocka_unit_test(equal_distances_are_a_stream),
        cmocka_unit_test(a_stride_is_from_the_nearest),
        cmocka_unit_test(a_thread_has_several_streams),
        cmocka_unit_test(threads_do_not_mix),
        cmocka_unit_test(random_touches_bring_in_what_they_touch),
        cmocka_unit_test(a_stream_survives_what_was_there),
        cmocka_unit_test(a_window_that_was_cut_short_is_no_end),
        cmocka_unit_test(a_new_touch_may_want_a_block),
        cmocka_unit_test(the_same_touch_wants_the_same),
        cmocka_unit_test(many_threads_share_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
