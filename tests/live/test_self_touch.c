/* SPDX-License-Identifier: MIT */
/*
 * Code of the user's on a handler thread does what it must not: it touches a
 * space, or calls what waits for handlers. Found at once, reported, and nobody
 * hangs or reads wrong bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/live.h"

#define BAD 5

/* What the pager of a test touches when page BAD is asked for. */
struct crime {
    struct uf_space *_Atomic space;
    struct uf_engine *engine;
    size_t pages[8];
    size_t npages;
    atomic_int answer; /* of the call made instead of a touch */
};

static bool is_bad(const struct uf_fill *request)
{
    return request->offset == BAD * request->page_bytes;
}

static ssize_t touches(struct live_pager *p, const struct uf_fill *r)
{
    struct crime *crime = p->arg;

    /* Once: a page that was refused since is SIGBUS to handlers as well. */
    if (!is_bad(r) || atomic_exchange(&crime->answer, 1))
        return live_fill(r, r->len_bytes);
    for (size_t i = 0; i < crime->npages; i++)
        __atomic_load_n((char *)live_page(crime->space, crime->pages[i]),
                        __ATOMIC_RELAXED);
    return live_fill(r, r->len_bytes);
}

static struct uf_space *space_on(struct uf_engine *engine, struct live_pager *p,
                                 struct live_log *log, size_t npages)
{
    struct uf_space_opts opts = {.engine = engine,
                                 .heap_pager = p ? p->pager : NULL,
                                 .window_pages = 1,
                                 .on_error = log ? live_on_error : NULL,
                                 .hook_data = log};

    return live_space(&opts, npages);
}

static void assert_all_pattern(struct uf_space *space, size_t npages)
{
    for (size_t i = 0; i < npages; i++)
        if (i != BAD)
            assert_true(
                live_is_pattern(space, live_page(space, i), page_size()));
}

/* A fill that touches other pages of the space it fills, any number of them:
 * its own fault is refused, and the pages it touched hold the right bytes for
 * those who touch them afterwards. */
static void a_fill_that_touches_its_space_is_refused(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 8; n++) {
        static struct live_log log;
        struct crime crime = {.npages = n};
        struct live_pager p;
        struct uf_stats s;

        log = (struct live_log)LIVE_LOG_INIT;
        for (size_t i = 0; i < n; i++)
            crime.pages[i] = BAD + 1 + i;
        live_pager_init(&p, touches, &crime);
        crime.space = space_on(NULL, &p, &log, 16);
        assert_int_equal(live_read(live_page(crime.space, BAD), NULL, NULL),
                         SIGBUS);
        s = live_stats(crime.space);
        assert_int_equal(s.self_touches, n);
        assert_int_equal(s.pager_lies, 1);
        assert_int_equal(live_errors(&log, UF_ERROR_SELF_TOUCH), n);
        assert_int_equal(live_errors(&log, UF_ERROR_PAGER_LIED), 1);
        assert_string_equal(log.pager[UF_ERROR_SELF_TOUCH], "told");
        assert_int_equal(s.resident, live_mincore(live_page(crime.space, 0),
                                                  live_page(crime.space, 16)));
        assert_all_pattern(crime.space, 16);
        live_assert_law(crime.space);
        uf_space_destroy(crime.space);
        uf_pager_unref(p.pager);
    }
}

/* The very page that it was asked for. */
static void a_fill_that_touches_its_own_page_is_refused(void **state)
{
    static struct live_log log = LIVE_LOG_INIT;
    struct crime crime = {.pages = {BAD}, .npages = 1};
    struct live_pager p;

    (void)state;
    live_pager_init(&p, touches, &crime);
    crime.space = space_on(NULL, &p, &log, 16);
    live_read(live_page(crime.space, BAD), NULL, NULL);
    assert_int_equal(live_stats(crime.space).self_touches, 1);
    assert_all_pattern(crime.space, 16);
    live_assert_law(crime.space);
    uf_space_destroy(crime.space);
    assert_int_equal(live_errors(&log, UF_ERROR_SELF_TOUCH), 1);
    uf_pager_unref(p.pager);
}

/* Another space, zero-paged, of the same engine and of another one: reported
 * there; its page of zeros was right and stays. */
static void a_fill_that_touches_another_space_is_refused(void **state)
{
    (void)state;
    for (int other_engine = 0; other_engine < 2; other_engine++) {
        static struct live_log log, other_log;
        struct crime crime = {.pages = {3, 4}, .npages = 2};
        struct uf_engine *engines[2];
        struct uf_space *space;
        struct live_pager p;

        log = other_log = (struct live_log)LIVE_LOG_INIT;
        assert_int_equal(uf_engine_create(NULL, &engines[0]), 0);
        assert_int_equal(uf_engine_create(NULL, &engines[1]), 0);
        live_pager_init(&p, touches, &crime);
        space = space_on(engines[0], &p, &log, 16);
        crime.space = space_on(engines[other_engine], NULL, &other_log, 16);
        assert_int_equal(live_read(live_page(space, BAD), NULL, NULL), SIGBUS);
        assert_int_equal(live_stats(crime.space).self_touches, 2);
        assert_true(live_errors(&other_log, UF_ERROR_SELF_TOUCH) >= 1);
        assert_int_equal(live_errors(&log, UF_ERROR_PAGER_LIED), 1);
        assert_int_equal(live_stats(crime.space).resident, 2);
        assert_all_pattern(space, 16);
        live_assert_law(space);
        live_assert_law(crime.space);
        uf_space_destroy(space);
        uf_space_destroy(crime.space);
        uf_pager_unref(p.pager);
        assert_int_equal(uf_engine_destroy(engines[0]), 0);
        assert_int_equal(uf_engine_destroy(engines[1]), 0);
    }
}

/* In the trace hook, and in the error hook that tells of it. */
static void touch_in_hook(struct live_log *log)
{
    struct crime *crime = log->arg;
    size_t n = crime->npages++;

    if (n < 3)
        __atomic_load_n((char *)live_page(crime->space, 8 + n),
                        __ATOMIC_RELAXED);
}

/* Hooks that touch the space, the last one in the error hook: reported, and no
 * pin is left that destroy would wait for. */
static void a_hook_that_touches_is_reported(void **state)
{
    static struct live_log log = LIVE_LOG_INIT;
    struct crime crime = {.npages = 0};
    struct uf_space_opts opts = {.window_pages = 1,
                                 .on_error = live_on_error,
                                 .on_fault = live_on_fault,
                                 .hook_data = &log};
    struct uf_space *space;
    struct uf_stats s;

    (void)state;
    log.also = touch_in_hook;
    log.arg = &crime;
    space = live_space(&opts, 16);
    crime.space = space;
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
    do
        s = live_stats(space);
    while (s.self_touches < 3);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(s.self_touches, 3);
    assert_true(live_errors(&log, UF_ERROR_SELF_TOUCH) >= 1);
}

/* ---------------------------------------------------------------- calls -- */

static ssize_t destroys_space(struct live_pager *p, const struct uf_fill *r)
{
    struct crime *crime = p->arg;

    atomic_store(&crime->answer, uf_space_destroy(crime->space));
    return live_fill(r, r->len_bytes);
}

static ssize_t destroys_engine(struct live_pager *p, const struct uf_fill *r)
{
    struct crime *crime = p->arg;

    atomic_store(&crime->answer, uf_engine_destroy(crime->engine));
    return live_fill(r, r->len_bytes);
}

static ssize_t populates(struct live_pager *p, const struct uf_fill *r)
{
    struct crime *crime = p->arg;

    atomic_store(
        &crime->answer,
        uf_populate(crime->space, live_page(crime->space, 0), page_size()));
    return live_fill(r, r->len_bytes);
}

/* Calls that would wait for the caller's own thread answer -EDEADLK. */
static void calls_that_would_deadlock_say_so(void **state)
{
    ssize_t (*const calls[])(struct live_pager *, const struct uf_fill *) = {
        destroys_space, destroys_engine, populates};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct crime crime = {.npages = 0};
        struct live_pager p;

        assert_int_equal(uf_engine_create(NULL, &crime.engine), 0);
        live_pager_init(&p, calls[i], &crime);
        crime.space = space_on(crime.engine, &p, NULL, 16);
        assert_true(live_is_pattern(crime.space, live_page(crime.space, 2),
                                    page_size()));
        assert_int_equal(atomic_load(&crime.answer), -EDEADLK);
        live_assert_law(crime.space);
        uf_space_destroy(crime.space);
        uf_pager_unref(p.pager);
        assert_int_equal(uf_engine_destroy(crime.engine), 0);
    }
}

static ssize_t moves_break(struct live_pager *p, const struct uf_fill *r)
{
    struct crime *crime = p->arg;
    struct uf_stats s = {.size = sizeof(s)};

    if (uf_sbrk(crime->space, (intptr_t)page_size()) < 0 ||
        uf_space_stats(crime->space, &s) < 0 ||
        uf_space_thread_stats(crime->space, NULL, 0) < 0)
        atomic_store(&crime->answer, 1);
    return live_fill(r, r->len_bytes);
}

/* What a pager may call, it may call: the break moves, statistics are read. */
static void calls_that_are_allowed_work(void **state)
{
    struct crime crime = {.npages = 0};
    struct live_pager p;

    (void)state;
    live_pager_init(&p, moves_break, &crime);
    crime.space = space_on(NULL, &p, NULL, 16);
    assert_all_pattern(crime.space, 16);
    assert_int_equal(atomic_load(&crime.answer), 0);
    assert_true(uf_brk(crime.space, 0) >= live_page(crime.space, 16 + 15));
    live_assert_law(crime.space);
    uf_space_destroy(crime.space);
    uf_pager_unref(p.pager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fill_that_touches_its_space_is_refused),
        cmocka_unit_test(a_fill_that_touches_its_own_page_is_refused),
        cmocka_unit_test(a_fill_that_touches_another_space_is_refused),
        cmocka_unit_test(a_hook_that_touches_is_reported),
        cmocka_unit_test(calls_that_would_deadlock_say_so),
        cmocka_unit_test(calls_that_are_allowed_work),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("self touch", tests, NULL, NULL);
}
