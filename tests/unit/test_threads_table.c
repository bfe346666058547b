/* SPDX-License-Identifier: MIT */
/*
 * threads: one record per thread id, in order, found by all and lost by none,
 * with and without memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/slab.h"
#include "trace/threads.h"

static struct thread_table table;

static int set_up(void **state)
{
    (void)state;
    memset(&table, 0, sizeof(table));
    thread_table_init(&table);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    thread_table_destroy(&table);
    return 0;
}

#define MANY 100

/* The same record for the same id; copied in order of first touch. */
static void records_are_in_order_of_first_touch(void **state)
{
    struct uf_thread_stats out[MANY];

    (void)state;
    for (int round = 1; round <= 2; round++)
        for (pid_t i = 0; i < MANY; i++)
            atomic_fetch_add(&thread_table_get(&table, 5000 - i)->faults_read,
                             (uint64_t)i);
    assert_int_equal(thread_table_copy(&table, out, MANY), MANY);
    for (pid_t i = 0; i < MANY; i++) {
        assert_int_equal(out[i].tid, 5000 - i);
        assert_int_equal(out[i].faults_read, 2 * i);
    }
}

/* Not more than there is room for is written; the count is the whole. */
static void a_short_copy_says_how_many_there_are(void **state)
{
    struct uf_thread_stats out[3] = {{.tid = -1}, {.tid = -1}, {.tid = -1}};

    (void)state;
    for (pid_t i = 1; i <= 40; i++)
        thread_table_get(&table, i);
    assert_int_equal(thread_table_copy(&table, NULL, 0), 40);
    assert_int_equal(thread_table_copy(&table, out, 2), 40);
    assert_int_equal(out[1].tid, 2);
    assert_int_equal(out[2].tid, -1);
}

/* Id 0, "not known", has one record, behind the others. */
static void an_unknown_thread_has_the_last_record(void **state)
{
    struct uf_thread_stats out[3];

    (void)state;
    assert_int_equal(thread_table_copy(&table, out, 3), 0);
    atomic_fetch_add(&thread_table_get(&table, 0)->faults_write, 4);
    thread_table_get(&table, 9);
    assert_int_equal(thread_table_copy(&table, out, 3), 2);
    assert_int_equal(out[0].tid, 9);
    assert_int_equal(out[1].tid, 0);
    assert_int_equal(out[1].faults_write, 4);
}

/* Without memory new threads share that record; old ones keep theirs. */
static void without_memory_threads_share_a_record(void **state)
{
    struct thread_record *first, *r;

    (void)state;
    first = thread_table_get(&table, 1);
    slab_inject_failure(1, 1000);
    for (pid_t i = 2; i <= THREAD_CHUNK_RECORDS; i++)
        assert_true(thread_table_get(&table, i) != &table.unknown);
    r = thread_table_get(&table, THREAD_CHUNK_RECORDS + 1);
    assert_true(r == &table.unknown);
    assert_true(thread_table_get(&table, 1) == first);
    slab_inject_failure(0, 0);
    assert_true(thread_table_get(&table, THREAD_CHUNK_RECORDS + 1) !=
                &table.unknown);
}

/* Records begin in the chunks that were lent, and these are not freed. */
static void lent_chunks_are_used_first(void **state)
{
    static struct thread_chunk lent[2];
    size_t live = slab_live_everywhere();

    (void)state;
    thread_table_lend(&table, lent, 2);
    for (pid_t i = 1; i <= 2 * THREAD_CHUNK_RECORDS; i++)
        thread_table_get(&table, i);
    assert_int_equal(slab_live_everywhere(), live);
    assert_int_equal(lent[1].records[THREAD_CHUNK_RECORDS - 1].tid,
                     2 * THREAD_CHUNK_RECORDS);
    thread_table_get(&table, 1000);
    assert_int_equal(slab_live_everywhere(), live + 1);
    thread_table_destroy(&table);
    assert_int_equal(slab_live_everywhere(), live);
    set_up(NULL);
}

#define WORKERS 4

static void *add_all(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++)
        for (pid_t i = 1; i <= MANY; i++)
            atomic_fetch_add(&thread_table_get(&table, i)->faults_read, 1);
    return NULL;
}

/* Several handlers meet new threads at once: no id twice, no count lost. */
static void concurrent_handlers_agree(void **state)
{
    struct uf_thread_stats out[MANY + 1];
    pthread_t threads[WORKERS];
    unsigned seen[MANY + 1] = {0};

    (void)state;
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_all, NULL), 0);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(thread_table_copy(&table, out, MANY + 1), MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(seen[out[i].tid]++, 0);
        assert_int_equal(out[i].faults_read, 20 * WORKERS);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_are_in_order_of_first_touch),
        TEST(a_short_copy_says_how_many_there_are),
        TEST(an_unknown_thread_has_the_last_record),
        TEST(without_memory_threads_share_a_record),
        TEST(lent_chunks_are_used_first),
        TEST(concurrent_handlers_agree),
    };

    return cmocka_run_group_tests_name("threads table", tests, NULL, NULL);
}
