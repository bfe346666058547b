/* SPDX-License-Identifier: MIT */
/*
 * Windows that a disk delivers in parts: whoever walks the same file, wherever
 * they begin and whatever is dropped or unmapped meanwhile, sees its bytes; what
 * is on its way is not read for each of them anew; what ends inside a window
 * ends there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/direct_file.h"
#include "lib/live.h"
#include "ufault/store.h"

#define NTHREADS 4
#define ROUNDS   2

struct walker {
    pthread_t thread;
    uintptr_t base;
    size_t start, wrong;
};

static atomic_size_t walked; /* pages, by all of them */

static void *walk(void *arg)
{
    struct walker *w = arg;

    for (size_t i = 0; i < DIRECT_FILE_PAGES; i++) {
        size_t n = (w->start + i) % DIRECT_FILE_PAGES;
        const volatile unsigned char *page =
            (const volatile unsigned char *)(w->base + n * page_size());

        w->wrong += page[i % page_size()] != direct_file_byte(n);
        atomic_fetch_add(&walked, 1);
    }
    return NULL;
}

static void start_walkers(struct walker *walkers, uintptr_t base, size_t apart)
{
    for (size_t i = 0; i < NTHREADS; i++) {
        walkers[i] = (struct walker){.base = base, .start = i * apart};
        assert_int_equal(
            pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]), 0);
    }
}

static void join_walkers(struct walker *walkers)
{
    for (size_t i = 0; i < NTHREADS; i++) {
        pthread_join(walkers[i].thread, NULL);
        assert_int_equal(walkers[i].wrong, 0);
    }
}

/* Close behind each other, or each in a part of its own. */
static void walkers_see_the_file(void **state)
{
    static const size_t apart[] = {0, 3, 40, 700};
    struct uf_engine_opts several = {.size = sizeof(several), .nhandlers = 4};
    struct walker walkers[NTHREADS];
    struct uf_engine *engine;
    struct direct_file f;

    (void)state;
    assert_int_equal(uf_engine_create(&several, &engine), 0);
    direct_file_make(&f, "/tmp", DIRECT_FILE_PAGES * page_size());
    for (size_t i = 0; i < ROUNDS * 4; i++) {
        struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                     .engine = i % 2 ? engine : NULL,
                                     .window_pages = i % 3 == 2 ? 512 : 0};
        struct uf_space *space = live_space(&opts, 0);
        uintptr_t base = direct_file_map(space, &f);

        start_walkers(walkers, base, apart[i % 4]);
        join_walkers(walkers);
        assert_int_equal(live_stats(space).resident, DIRECT_FILE_PAGES);
        live_assert_law(space);
        /* A window that two ask for at the same moment may come twice. */
        assert_true(live_stats(space).pager_bytes <
                    2 * DIRECT_FILE_PAGES * page_size());
        assert_int_equal(uf_space_destroy(space), 0);
    }
    direct_file_end(&f);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

static atomic_bool over;

struct dropper {
    pthread_t thread;
    struct uf_space *space;
    uintptr_t base;
};

/* Each time somebody has come further; else nobody ever might. */
static void *drop(void *arg)
{
    struct dropper *d = arg;
    size_t seen = 0;

    for (size_t i = 1; !atomic_load(&over); i = i * 5 % DIRECT_FILE_PAGES) {
        size_t n = i < DIRECT_FILE_PAGES - 200 ? i : 1;

        while (atomic_load(&walked) == seen && !atomic_load(&over))
            sched_yield();
        seen = atomic_load(&walked);

        if (uf_madvise(d->space, d->base + n * page_size(), 200 * page_size(),
                       MADV_DONTNEED) != 0)
            abort();
    }
    return NULL;
}

static void what_is_dropped_comes_again(void **state)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20};
    struct walker walkers[NTHREADS];
    struct dropper dropper;
    struct direct_file f;

    (void)state;
    direct_file_make(&f, "/tmp", DIRECT_FILE_PAGES * page_size());
    dropper.space = live_space(&opts, 0);
    dropper.base = direct_file_map(dropper.space, &f);
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&dropper.thread, NULL, drop, &dropper), 0);
    for (int round = 0; round < ROUNDS; round++) {
        start_walkers(walkers, dropper.base, 37);
        join_walkers(walkers);
    }
    atomic_store(&over, true);
    pthread_join(dropper.thread, NULL);
    live_assert_law(dropper.space);
    assert_int_equal(uf_space_destroy(dropper.space), 0);
    direct_file_end(&f);
}

/* Zeros take the place of a mapping that is on its way. */
static void a_new_mapping_stays_as_it_is(void **state)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                 .window_pages = 512};
    struct direct_file f;

    (void)state;
    direct_file_make(&f, "/tmp", DIRECT_FILE_PAGES * page_size());
    for (size_t round = 0; round < 30; round++) {
        struct uf_space *space = live_space(&opts, 0);
        uintptr_t base = direct_file_map(space, &f),
                  half = base + 256 * page_size();

        /* The window of the touch is [base, base + 512 pages). */
        assert_int_equal(live_read(base + round % 32 * page_size(), NULL, NULL),
                         0);
        assert_true(uf_mmap(space, half, 256 * page_size(), PROT_READ,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                            0) == (intptr_t)half);
        for (size_t n = 0; n < 512; n++) {
            unsigned char byte = 1;

            assert_int_equal(live_read(base + n * page_size(), &byte, NULL), 0);
            assert_int_equal(byte, n < 256 ? direct_file_byte(n) : 0);
        }
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
    direct_file_end(&f);
}

static void the_end_is_inside_a_window(void **state)
{
    static const size_t lengths[] = {100, 33, 256, 500};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                     .window_pages = 512};
        size_t len_bytes = lengths[i] * page_size() - 7;
        struct uf_space *space = live_space(&opts, 0);
        struct direct_file f;
        uintptr_t base;

        direct_file_make(&f, "/tmp", len_bytes);
        base = direct_file_map(space, &f);
        for (size_t n = 0; n < 512; n++) {
            uintptr_t page = base + (n * 37 + i) % 512 * page_size();
            size_t at = (page - base) / page_size();
            unsigned char byte = 0;

            assert_int_equal(live_read(page, &byte, NULL),
                             at < lengths[i] ? 0 : SIGBUS);
            if (at < lengths[i])
                assert_int_equal(byte, direct_file_byte(at));
        }
        assert_int_equal(*(unsigned char *)(base + len_bytes), 0);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
        direct_file_end(&f);
    }
}

/* What was read ahead in one space is another's, whose engine did not begin it:
 * the threads that did have ended. */
static void a_stream_goes_on_in_another_space(void **state)
{
    struct uf_engine_opts eopts = {.size = sizeof(eopts)};
    struct direct_file f;

    (void)state;
    direct_file_make(&f, "/tmp", DIRECT_FILE_PAGES * page_size());
    for (size_t round = 0; round < 10; round++) {
        for (size_t n = 0, window = 256; n < DIRECT_FILE_PAGES;
             n += 2 * window) {
            struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                         .window_pages = 256};
            struct uf_space *space;
            uintptr_t base;

            assert_int_equal(uf_engine_create(&eopts, &opts.engine), 0);
            space = live_space(&opts, 0);
            base = direct_file_map(space, &f);
            for (size_t i = n; i < n + 2 * window; i++) {
                unsigned char byte = 0;

                assert_int_equal(live_read(base + i * page_size(), &byte, NULL),
                                 0);
                assert_int_equal(byte, direct_file_byte(i));
            }
            live_assert_law(space);
            assert_int_equal(uf_space_destroy(space), 0);
            assert_int_equal(uf_engine_destroy(opts.engine), 0);
        }
    }
    direct_file_end(&f);
}

/* ---------------------------------------------------------------- hooks -- */

struct meeting {
    pthread_t thread;
    uintptr_t last; /* the end of the window */
    sem_t go, done;
    atomic_bool armed;
};

static void *touch_the_last(void *arg)
{
    struct meeting *m = arg;

    sem_wait(&m->go);
    live_read(m->last, NULL, NULL);
    sem_post(&m->done);
    return NULL;
}

/* Waits for a thread that waits for the same window. */
static void wait_for_the_other(void *data, const struct uf_fault_event *event)
{
    struct meeting *m = data;

    (void)event;
    if (!atomic_exchange(&m->armed, false))
        return;
    sem_post(&m->go);
    sem_wait(&m->done);
}

static void a_hook_may_wait_for_another_thread(void **state)
{
    struct meeting m = {.armed = true};
    struct uf_space_opts opts = {.len_bytes = (size_t)32 << 20,
                                 .window_pages = 512,
                                 .on_fault = wait_for_the_other,
                                 .hook_data = &m};
    struct uf_space *space;
    struct direct_file f;
    uintptr_t base;

    (void)state;
    sem_init(&m.go, 0, 0);
    sem_init(&m.done, 0, 0);
    direct_file_make(&f, "/tmp", DIRECT_FILE_PAGES * page_size());
    space = live_space(&opts, 0);
    base = direct_file_map(space, &f);
    m.last = base + 500 * page_size();
    assert_int_equal(pthread_create(&m.thread, NULL, touch_the_last, &m), 0);
    assert_int_equal(live_read(base, NULL, NULL), 0);
    pthread_join(m.thread, NULL);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    direct_file_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walkers_see_the_file),
        cmocka_unit_test(what_is_dropped_comes_again),
        cmocka_unit_test(a_new_mapping_stays_as_it_is),
        cmocka_unit_test(the_end_is_inside_a_window),
        cmocka_unit_test(a_stream_goes_on_in_another_space),
        cmocka_unit_test(a_hook_may_wait_for_another_thread),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
