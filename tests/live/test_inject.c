/* SPDX-License-Identifier: MIT */
/*
 * Real threads asleep in real faults, behind a descriptor that answers with the
 * errnos and partial results that a quiet machine never shows. All wake up with
 * the right bytes, or with SIGBUS where that is what was ordered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "fault/engine.h"
#include "lib/fake_wrap.h"
#include "lib/live.h"

#define PAGES   128
#define THREADS 4

struct rig {
    struct fake_wrap wrap;
    struct uf_engine *engine;
    struct uf_space *space;
    struct live_pager p;
};

static void rig_up(struct rig *rig, uint32_t window_pages, bool with_pager,
                   uint32_t defer_limit_ms)
{
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .nhandlers = 2,
                                         .defer_limit_ms = defer_limit_ms};
    struct uf_space_opts opts = {.window_pages = window_pages};
    struct uffd handle;

    memset(rig, 0, sizeof(*rig));
    assert_int_equal(fake_wrap_init(&rig->wrap), 0);
    handle = fake_wrap_handle(&rig->wrap);
    assert_int_equal(engine_create_on(&engine_opts, &handle, &rig->engine), 0);
    live_pager_init(&rig->p, NULL, NULL);
    opts.engine = rig->engine;
    opts.heap_pager = with_pager ? rig->p.pager : NULL;
    rig->space = live_space(&opts, PAGES);
}

static void rig_down(struct rig *rig)
{
    struct uf_stats s;

    /* A fault whose thread was woken by another's may still wait its turn. */
    do
        s = live_stats(rig->space);
    while (s.pending > 0);
    live_assert_law(rig->space);
    assert_int_equal(uf_space_destroy(rig->space), 0);
    uf_pager_unref(rig->p.pager);
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
}

static void add(struct rig *rig, enum fake_op op, unsigned nth, int err,
                size_t pages_done)
{
    fake_script_add(&rig->wrap.script,
                    (struct fake_row){op, nth, err,
                                      pages_done
                                          ? (int64_t)(pages_done * page_size())
                                          : err});
}

struct toucher {
    pthread_t thread;
    struct uf_space *space;
    size_t first;
    bool write;
    int signo;
};

static void *touch_all(void *arg)
{
    struct toucher *t = arg;

    for (size_t i = 0; i < PAGES && !t->signo; i++) {
        uintptr_t byte =
            live_page(t->space, (t->first + i) % PAGES) + (t->first + 1) * 8;

        t->signo =
            t->write ? live_write(byte, 1, NULL) : live_read(byte, NULL, NULL);
    }
    return NULL;
}

/* THREADS threads touch everything; asserts that none got a signal. */
static void touch_by_threads(struct rig *rig, bool write)
{
    struct toucher t[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        t[i] = (struct toucher){
            .space = rig->space, .first = i * 37, .write = write};
        assert_int_equal(pthread_create(&t[i].thread, NULL, touch_all, &t[i]),
                         0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(t[i].thread, NULL);
        assert_int_equal(t[i].signo, 0);
    }
    assert_int_equal(
        live_mincore(live_page(rig->space, 0), live_page(rig->space, PAGES)),
        PAGES);
    assert_int_equal(live_stats(rig->space).resident, PAGES);
}

/* -EAGAIN, -ENOMEM, partial results and lost mappings on the first calls of
 * each kind: everybody goes on. */
static void passing_failures_are_survived(void **state)
{
    static const int errs[] = {-EAGAIN, -ENOMEM, -ENOENT, -EAGAIN};

    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        bool with_pager = kind % 3 == 2, write = kind % 3 == 1;
        struct rig rig;

        rig_up(&rig, kind < 3 ? 1 : 16, with_pager, 0);
        for (unsigned n = 0; n < 4; n++) {
            add(&rig, FAKE_COPY, 2 * n + 1, errs[n], 0);
            add(&rig, FAKE_ZEROPAGE, 2 * n + 1, errs[n], 0);
            add(&rig, FAKE_COPY, 2 * n + 2, -EAGAIN, 1 + n);
            add(&rig, FAKE_ZEROPAGE, 2 * n + 2, -EAGAIN, 1 + n);
        }
        touch_by_threads(&rig, write);
        if (with_pager)
            assert_true(live_is_pattern(rig.space, live_page(rig.space, 0),
                                        PAGES * page_size()));
        assert_int_equal(live_stats(rig.space).refused, 0);
        assert_true(live_stats(rig.space).deferred > 0);
        rig_down(&rig);
    }
}

/* Any passing errno on any call, by chance; 20 seeds. */
static void random_failures_are_survived(void **state)
{
    uint64_t seed = fake_env("UF_SEED", 1), runs = fake_env("UF_BUDGET", 20);

    (void)state;
    for (uint64_t i = 0; i < runs; i++) {
        struct toucher t[THREADS];
        struct rig rig;

        rig_up(&rig, i % 2 ? 1 : 32, (seed + i) % 3 == 0, 0);
        fake_script_chance(&rig.wrap.script, seed + i, 25);
        for (size_t k = 0; k < THREADS; k++) {
            t[k] = (struct toucher){
                .space = rig.space, .first = k * 37, .write = k % 2};
            assert_int_equal(
                pthread_create(&t[k].thread, NULL, touch_all, &t[k]), 0);
        }
        for (size_t k = 0; k < THREADS; k++) {
            pthread_join(t[k].thread, NULL);
            /* -EINVAL and -EFAULT are for good: SIGBUS, or SIGSEGV where the
             * page could not even be poisoned. */
            assert_true(t[k].signo == 0 || t[k].signo == SIGBUS ||
                        t[k].signo == SIGSEGV);
        }
        fake_script_chance(&rig.wrap.script, 1, 0);
        rig_down(&rig);
    }
}

/* No memory for longer than the limit: SIGBUS. A read as well: its second try
 * is a different operation. */
static void no_memory_for_too_long_is_sigbus(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, 1, false, 2);
    fake_script_hold(&rig.wrap.script, FAKE_COPY, -ENOMEM);
    fake_script_hold(&rig.wrap.script, FAKE_ZEROPAGE, -ENOMEM);
    assert_int_equal(live_write(live_page(rig.space, 3), 1, NULL), SIGBUS);
    assert_int_equal(live_read(live_page(rig.space, 4), NULL, NULL), SIGBUS);
    assert_true(live_stats(rig.space).deferred >= 2);
    fake_script_hold(&rig.wrap.script, FAKE_COPY, 0);
    fake_script_hold(&rig.wrap.script, FAKE_ZEROPAGE, 0);
    assert_int_equal(live_write(live_page(rig.space, 5), 1, NULL), 0);
    assert_int_equal(live_stats(rig.space).refused, 2);
    rig_down(&rig);
}

/* A kernel without UFFDIO_POISON: the page is closed, and the thread gets
 * SIGSEGV instead of hanging. */
static void without_poison_a_refusal_is_sigsegv(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, 1, false, 0);
    add(&rig, FAKE_COPY, 1, -EFAULT, 0);
    fake_script_hold(&rig.wrap.script, FAKE_POISON, -EINVAL);
    assert_int_equal(live_write(live_page(rig.space, 3), 1, NULL), SIGSEGV);
    assert_int_equal(live_write(live_page(rig.space, 4), 1, NULL), 0);
    assert_int_equal(live_stats(rig.space).refused, 1);
    rig_down(&rig);
}

/* Registering fails: the space cannot be had, and nothing is left of it. */
static void a_refused_registration_is_handed_on(void **state)
{
    static const int errs[] = {-EBUSY, -ENOMEM};
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space = NULL;
    struct rig rig;

    (void)state;
    rig_up(&rig, 1, false, 0);
    opts.engine = rig.engine;
    for (unsigned i = 0; i < 2; i++) {
        fake_script_hold(&rig.wrap.script, FAKE_REGISTER, errs[i]);
        assert_int_equal(uf_space_create(&opts, &space), errs[i]);
        assert_null(space);
    }
    fake_script_hold(&rig.wrap.script, FAKE_REGISTER, 0);
    assert_int_equal(uf_space_create(&opts, &space), 0);
    uf_space_destroy(space);
    rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passing_failures_are_survived),
        cmocka_unit_test(random_failures_are_survived),
        cmocka_unit_test(no_memory_for_too_long_is_sigbus),
        cmocka_unit_test(without_poison_a_refusal_is_sigsegv),
        cmocka_unit_test(a_refused_registration_is_handed_on),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}
