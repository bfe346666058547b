/* SPDX-License-Identifier: MIT */
/*
 * slab: objects are zeroed, apart, aligned and used again; failures come when a
 * test asks for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"

static struct slab_cache small = SLAB_CACHE("small", 24);
static struct slab_cache large = SLAB_CACHE("large", 200);
static struct slab_cache huge = SLAB_CACHE("huge", 100000);

#define MANY 5000

/* Objects of one cache do not overlap, across chunks; all bytes are zero. */
static void objects_are_zeroed_and_apart(void **state)
{
    static unsigned char *objects[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = slab_alloc(&small);
        assert_non_null(objects[i]);
        for (size_t b = 0; b < small.object_size; b++)
            assert_int_equal(objects[i][b], 0);
        memset(objects[i], (int)(1 + i % 250), small.object_size);
    }
    assert_int_equal(slab_live(&small), MANY);
    for (size_t i = 0; i < MANY; i++)
        for (size_t b = 0; b < small.object_size; b++)
            assert_int_equal(objects[i][b], 1 + i % 250);
    for (size_t i = 0; i < MANY; i++)
        slab_free(&small, objects[i]);
    assert_int_equal(slab_live(&small), 0);
}

/* What was freed comes back, zeroed, before new memory is taken. */
static void a_freed_object_is_used_again(void **state)
{
    unsigned char *first = slab_alloc(&large), *again;

    (void)state;
    memset(first, 1, large.object_size);
    slab_free(&large, first);
    again = slab_alloc(&large);
    assert_true(again == first);
    for (size_t b = 0; b < large.object_size; b++)
        assert_int_equal(again[b], 0);
    slab_free(&large, again);
    slab_free(&large, NULL);
}

/* Two threads' records share no cache line; small ones are aligned to words. */
static void large_objects_have_lines_of_their_own(void **state)
{
    void *a = slab_alloc(&large), *b = slab_alloc(&large);
    void *c = slab_alloc(&small);

    (void)state;
    assert_true(is_aligned((uintptr_t)a, 64) && is_aligned((uintptr_t)b, 64));
    assert_true(is_aligned((uintptr_t)c, sizeof(void *)));
    slab_free(&large, a);
    slab_free(&large, b);
    slab_free(&small, c);
}

/* An object larger than a chunk has one of its own. */
static void an_object_may_exceed_a_chunk(void **state)
{
    char *a = slab_alloc(&huge), *b = slab_alloc(&huge);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    memset(a, 1, huge.object_size);
    assert_int_equal(b[0], 0);
    slab_free(&huge, a);
    slab_free(&huge, b);
}

/* The n-th from now and as many as asked for fail, of both kinds. */
static void failures_come_when_asked_for(void **state)
{
    void *objects[6];

    (void)state;
    slab_inject_failure(3, 2);
    for (size_t i = 0; i < 6; i++)
        objects[i] = i % 2 ? slab_pages(1) : slab_alloc(&small);
    assert_int_equal(slab_allocations(), 6);
    slab_inject_failure(0, 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(objects[i] == NULL, i == 2 || i == 3);
        if (i % 2)
            slab_pages_free(objects[i], 1);
        else
            slab_free(&small, objects[i]);
    }
    assert_int_equal(slab_live(&small), 0);
}

/* Pages are whole, zeroed and freed by the length they were asked for. */
static void pages_are_whole(void **state)
{
    size_t len = page_size() + 1;
    unsigned char *p = slab_pages(len);

    (void)state;
    assert_true(is_aligned((uintptr_t)p, page_size()));
    assert_int_equal(p[2 * page_size() - 1], 0);
    slab_pages_free(p, len);
    slab_pages_free(NULL, len);
}

#define WORKERS 4

static void *churn(void *arg)
{
    unsigned char *objects[50];
    uintptr_t wrong = 0;

    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 50; i++) {
            objects[i] = slab_alloc(&large);
            wrong += objects[i][0] != 0;
            objects[i][0] = *(unsigned char *)arg;
        }
        for (size_t i = 0; i < 50; i++) {
            wrong += objects[i][0] != *(unsigned char *)arg;
            slab_free(&large, objects[i]);
        }
    }
    return (void *)wrong;
}

/* Threads never get each other's objects. */
static void threads_share_a_cache(void **state)
{
    unsigned char names[WORKERS] = {1, 2, 3, 4};
    pthread_t threads[WORKERS];

    (void)state;
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &names[i]),
                         0);
    for (size_t i = 0; i < WORKERS; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(slab_live(&large), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_and_apart),
        cmocka_unit_test(a_freed_object_is_used_again),
        cmocka_unit_test(large_objects_have_lines_of_their_own),
        cmocka_unit_test(an_object_may_exceed_a_chunk),
        cmocka_unit_test(failures_come_when_asked_for),
        cmocka_unit_test(pages_are_whole),
        cmocka_unit_test(threads_share_a_cache),
    };

    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
