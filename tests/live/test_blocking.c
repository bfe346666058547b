/* SPDX-License-Identifier: MIT */
/*
 * Fills that block: only who waits for their pages waits with them, and a map
 * that changes meanwhile makes what they bring stale.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>

#include "lib/live.h"

#define BAD 5

static struct uf_space *space_with(struct live_pager *p, uint32_t window_pages,
                                   size_t npages)
{
    struct uf_space_opts opts = {.heap_pager = p->pager,
                                 .window_pages = window_pages};

    return live_space(&opts, npages);
}

static void end(struct uf_space *space, struct live_pager *p)
{
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p->pager);
    assert_int_equal(atomic_load(&p->released), 1);
}

static bool page_is_pattern(struct uf_space *space, size_t n)
{
    return live_is_pattern(space, live_page(space, n), page_size());
}

static size_t page_of(const struct uf_fill *request)
{
    return (size_t)(request->offset / request->page_bytes);
}

static bool asks_for(const struct uf_fill *request, size_t page)
{
    size_t first = page_of(request);

    return page >= first &&
           page < first + request->len_bytes / request->page_bytes;
}

static ssize_t block_at_bad(struct live_pager *p, const struct uf_fill *r)
{
    if (asks_for(r, BAD))
        live_gate_pass(p->arg);
    return live_fill(r, r->len_bytes);
}

struct blocked {
    pthread_t thread;
    struct uf_space *space;
    size_t page;
    int signo;
};

static void *touch_one(void *arg)
{
    struct blocked *b = arg;

    b->signo = live_read(live_page(b->space, b->page), NULL, NULL);
    return NULL;
}

static void start(struct blocked *b, struct uf_space *space, size_t page)
{
    *b = (struct blocked){.space = space, .page = page};
    assert_int_equal(pthread_create(&b->thread, NULL, touch_one, b), 0);
}

/* A fill that blocks keeps nobody waiting but those of its pages: another space
 * of the engine is served meanwhile; with a handler to spare, so are other
 * pages of the same one. */
static void a_blocking_fill_blocks_nobody_else(void **state)
{
    (void)state;
    for (uint32_t nhandlers = 1; nhandlers <= 4; nhandlers++) {
        struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                             .nhandlers = nhandlers};
        struct uf_space_opts opts = {.window_pages = 1}, other_opts;
        struct live_gate gate = LIVE_GATE_INIT;
        struct uf_space *space, *other;
        struct live_pager p;
        struct blocked b;

        live_pager_init(&p, block_at_bad, &gate);
        assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
        other_opts = opts;
        opts.heap_pager = p.pager;
        space = live_space(&opts, 16);
        other = live_space(&other_opts, 64);
        start(&b, space, BAD);
        live_gate_await(&gate, 1);
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(live_write(live_page(other, i), 1, NULL), 0);
        for (size_t i = 0; i < 16 && nhandlers >= 3; i++)
            if (i != BAD)
                assert_true(page_is_pattern(space, i));
        live_gate_open(&gate);
        pthread_join(b.thread, NULL);
        assert_int_equal(b.signo, 0);
        assert_true(page_is_pattern(space, BAD));
        live_assert_law(other);
        uf_space_destroy(other);
        end(space, &p);
        assert_int_equal(uf_engine_destroy(opts.engine), 0);
    }
}

/* Faults that wait for a handler to be free are all served when it is. */
static void faults_that_wait_for_a_handler_are_served(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space;
    struct blocked b[12];
    struct live_pager p;

    (void)state;
    live_pager_init(&p, block_at_bad, &gate);
    space = space_with(&p, 1, 16);
    start(&b[0], space, BAD);
    live_gate_await(&gate, 1);
    for (size_t i = 1; i < 12; i++)
        start(&b[i], space, i < 6 ? BAD : i);
    while (live_stats(space).pending < 2)
        ;
    live_gate_open(&gate);
    for (size_t i = 0; i < 12; i++) {
        pthread_join(b[i].thread, NULL);
        assert_int_equal(b[i].signo, 0);
    }
    for (size_t i = 0; i < 16; i++)
        assert_true(page_is_pattern(space, i));
    end(space, &p);
}

/* The map changed while the fill ran: what it brings is dropped, and the thread
 * finds out by itself. */
static void a_fill_of_a_page_that_went_is_stale(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space;
    struct live_pager p;
    struct blocked b;

    (void)state;
    live_pager_init(&p, block_at_bad, &gate);
    space = space_with(&p, 1, 16);
    start(&b, space, BAD);
    live_gate_await(&gate, 1);
    uf_brk(space, live_page(space, 1));
    live_gate_open(&gate);
    pthread_join(b.thread, NULL);
    assert_int_equal(b.signo, SIGSEGV);
    assert_int_equal(live_stats(space).stale, 1);
    assert_int_equal(live_stats(space).resident, 0);
    end(space, &p);
}

/* The break moves up while a fill runs: nothing was taken away, so what it
 * brings is good. */
static void a_rising_break_leaves_fills_good(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space;
    struct live_pager p;
    struct blocked b;

    (void)state;
    live_pager_init(&p, block_at_bad, &gate);
    space = space_with(&p, 1, 16);
    start(&b, space, BAD);
    live_gate_await(&gate, 1);
    uf_brk(space, live_page(space, 32));
    live_gate_open(&gate);
    pthread_join(b.thread, NULL);
    assert_int_equal(b.signo, 0);
    assert_int_equal(live_stats(space).stale, 0);
    assert_int_equal(atomic_load(&p.calls), 1);
    end(space, &p);
}

/* Faults that were read together with one whose fill blocks: on another space
 * and on other pages of the same one, they are served all the same. */
static void faults_of_one_batch_do_not_wait_for_each_other(void **state)
{
    (void)state;
    for (int n = 0; n < 20; n++) {
        struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                             .nhandlers = 3};
        struct uf_space_opts opts = {.window_pages = 1}, other_opts;
        struct live_gate gate = LIVE_GATE_INIT;
        struct uf_space *space, *other;
        struct blocked b[9];
        struct live_pager p;

        live_pager_init(&p, block_at_bad, &gate);
        assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
        other_opts = opts;
        opts.heap_pager = p.pager;
        space = live_space(&opts, 16);
        other = live_space(&other_opts, 16);
        /* All at once, so that some are read in one go. */
        for (size_t i = 0; i < 9; i++)
            start(&b[i], i % 2 ? other : space, i % 2 ? i : BAD + i);
        live_gate_await(&gate, 1);
        for (size_t i = 1; i < 9; i++) {
            pthread_join(b[i].thread, NULL);
            assert_int_equal(b[i].signo, 0);
        }
        live_gate_open(&gate);
        pthread_join(b[0].thread, NULL);
        assert_int_equal(b[0].signo, 0);
        live_assert_law(other);
        uf_space_destroy(other);
        end(space, &p);
        assert_int_equal(uf_engine_destroy(opts.engine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocking_fill_blocks_nobody_else),
        cmocka_unit_test(faults_of_one_batch_do_not_wait_for_each_other),
        cmocka_unit_test(faults_that_wait_for_a_handler_are_served),
        cmocka_unit_test(a_fill_of_a_page_that_went_is_stale),
        cmocka_unit_test(a_rising_break_leaves_fills_good),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("blocking", tests, NULL, NULL);
}
