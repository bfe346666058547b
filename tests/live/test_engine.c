/* SPDX-License-Identifier: MIT */
/*
 * Engines: making, sharing, stopping and unmaking them, with threads in the
 * middle of a fault, without descriptors and without memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"

#define PAGES 16

struct waiter {
    pthread_t thread;
    struct uf_space *space;
    size_t page;
    int signo;
};

static void *touch_page(void *arg)
{
    struct waiter *w = arg;

    w->signo = live_write(live_page(w->space, w->page), 1, NULL);
    return NULL;
}

static void start(struct waiter *w, struct uf_space *space, size_t page)
{
    *w = (struct waiter){.space = space, .page = page};
    assert_int_equal(pthread_create(&w->thread, NULL, touch_page, w), 0);
}

static void await_pending(struct uf_space *space, size_t n)
{
    while (live_stats(space).pending < n)
        ;
}

/* ------------------------------------------------------- faults in flight --
 */

struct slow {
    struct live_gate gate;
    atomic_int filled;
};

static ssize_t fill_slowly(struct live_pager *p, const struct uf_fill *r)
{
    struct slow *slow = p->arg;

    live_gate_pass(&slow->gate);
    atomic_store(&slow->filled, 1);
    return live_fill(r, r->len_bytes);
}

static void *destroy_space(void *arg)
{
    return (void *)(intptr_t)uf_space_destroy(arg);
}

/* One thread waits in a fill and others in the queue when the space goes:
 * destroy waits for the fill, and all of them get SIGSEGV, as on munmap. */
static void destroy_waits_for_fills_and_lets_waiters_go(void **state)
{
    struct slow slow = {.gate = LIVE_GATE_INIT};
    struct live_pager p;
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space;
    struct waiter w[5];
    pthread_t destroyer;
    void *answer;

    (void)state;
    live_pager_init(&p, fill_slowly, &slow);
    opts.heap_pager = p.pager;
    space = live_space(&opts, PAGES);
    for (size_t i = 0; i < 5; i++)
        start(&w[i], space, i);
    live_gate_await(&slow.gate, 1);
    await_pending(space, 5);
    assert_int_equal(pthread_create(&destroyer, NULL, destroy_space, space), 0);
    /* All but the one whose fill blocks are let go while it still does. */
    for (size_t i = 0; i < 5; i++)
        pthread_join(w[i].thread, NULL);
    assert_int_equal(atomic_load(&slow.filled), 0);
    live_gate_open(&slow.gate);
    pthread_join(destroyer, &answer);
    assert_int_equal((intptr_t)answer, 0);
    assert_int_equal(atomic_load(&slow.filled), 1);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(w[i].signo, SIGSEGV);
    uf_pager_unref(p.pager);
    assert_int_equal(atomic_load(&p.released), 1);
}

struct storm {
    pthread_t thread;
    struct uf_space *space;
    atomic_bool stop;
};

/* Touches until the space goes. */
static void *touch_until_gone(void *arg)
{
    struct storm *s = arg;

    for (size_t i = 0; !atomic_load(&s->stop); i = (i + 7) % PAGES)
        if (live_write(live_page(s->space, 0) + i * page_size(), 1, NULL))
            break;
    return NULL;
}

/* Made and unmade 200 times, with threads that touch until they meet a SIGSEGV
 * above the break or are told to stop. */
static void create_and_destroy_under_touches(void **state)
{
    (void)state;
    for (int n = 0; n < 200; n++) {
        struct storm s[3];
        struct uf_space *space = live_space(NULL, PAGES);

        for (size_t i = 0; i < 3; i++) {
            s[i].space = space;
            atomic_init(&s[i].stop, false);
            assert_int_equal(
                pthread_create(&s[i].thread, NULL, touch_until_gone, &s[i]), 0);
        }
        /* Every other time with the break jumping below them. */
        if (n % 2)
            for (size_t i = 0; i < 20; i++)
                uf_brk(space, live_page(space, i % PAGES));
        for (size_t i = 0; i < 3; i++)
            atomic_store(&s[i].stop, true);
        for (size_t i = 0; i < 3; i++)
            pthread_join(s[i].thread, NULL);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* --------------------------------------------------------------- sharing -- */

/* While it serves a space an engine cannot go; afterwards it can. */
static void an_engine_in_use_is_busy(void **state)
{
    struct uf_space_opts opts = {.len_bytes = 1 << 20};
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    space = live_space(&opts, 1);
    assert_true(uf_space_engine(space) == opts.engine);
    assert_int_equal(uf_engine_destroy(opts.engine), -EBUSY);
    assert_int_equal(live_write(live_page(space, 0), 1, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    assert_int_equal(uf_engine_destroy(NULL), 0);
}

#define MANY 1000

/* A thousand spaces on one engine, touched in no order, and gone in no order.
 */
static void a_thousand_spaces_share_an_engine(void **state)
{
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .nhandlers = 2};
    struct uf_space_opts opts = {.len_bytes = 1 << 20, .window_pages = 1};
    struct uf_space **spaces = calloc(MANY, sizeof(spaces[0]));

    (void)state;
    assert_non_null(spaces);
    assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
    for (size_t i = 0; i < MANY; i++)
        spaces[i] = live_space(&opts, 4);
    for (size_t i = 0; i < 4 * MANY; i++)
        *(volatile unsigned char *)live_page(
            spaces[i * 617 % MANY], i * 617 / MANY % 4) = (unsigned char)i;
    for (size_t i = 0; i < MANY; i++) {
        struct uf_space *space = spaces[i * 331 % MANY];

        assert_int_equal(live_stats(space).faults,
                         live_stats(space).pages_installed);
        assert_true(live_stats(space).faults > 0);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    free(spaces);
}

/* Handlers in any number and on a CPU of choice serve alike. */
static void handlers_and_cpu_are_options(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= 4; n++) {
        struct uf_engine_opts engine_opts = {
            .size = sizeof(engine_opts), .nhandlers = n, .cpu_plus_one = n % 2};
        struct uf_space_opts opts = {.window_pages = 1};
        struct waiter w[PAGES];
        struct uf_space *space;

        assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
        space = live_space(&opts, PAGES);
        for (size_t i = 0; i < PAGES; i++)
            start(&w[i], space, i);
        for (size_t i = 0; i < PAGES; i++) {
            pthread_join(w[i].thread, NULL);
            assert_int_equal(w[i].signo, 0);
        }
        assert_int_equal(live_stats(space).faults, PAGES);
        live_assert_law(space);
        uf_space_destroy(space);
        assert_int_equal(uf_engine_destroy(opts.engine), 0);
    }
}

/* Options that cannot be had. */
static void bad_engine_options_are_einval(void **state)
{
    const struct uf_engine_opts good = {.size = sizeof(good)};
    struct uf_engine_opts bad[5] = {good, good, good, good, good};
    struct uf_engine *engine = NULL;

    (void)state;
    bad[0].size = 1;
    bad[1].nhandlers = 65;
    bad[2].cpu_plus_one = 1000000;
    bad[3].tier_plus_one = 1 + UF_TIER_NONE;
    bad[4].tier_plus_one = 100;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(uf_engine_create(&bad[i], &engine), -EINVAL);
    assert_int_equal(uf_engine_create(&good, NULL), -EINVAL);
    assert_null(engine);
}

/* ------------------------------------------------------------ shortages -- */

/* At every number of descriptors too few: -EMFILE, and none is lost. */
static void too_few_descriptors_is_emfile(void **state)
{
    size_t before = live_count_fds();
    struct rlimit old, now;
    int err = -EMFILE;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (size_t spare = 0; err; spare++) {
        struct uf_engine *engine = NULL;

        now = old;
        now.rlim_cur = before + spare;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        err = uf_engine_create(NULL, &engine);
        setrlimit(RLIMIT_NOFILE, &old);
        assert_true(spare < 8);
        if (err)
            assert_int_equal(err, -EMFILE);
        else
            assert_int_equal(uf_engine_destroy(engine), 0);
        assert_int_equal(live_count_fds(), before);
    }
}

/* An engine, a space with a pager and one without, a fault in each, with the
 * n-th allocation (and `count` from there) failing. 0 or the first error. */
static int use_everything(unsigned long n, unsigned long count)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space[2] = {NULL, NULL};
    struct uf_engine *engine = NULL;
    struct live_pager p = {.pager = NULL};
    int err;

    live_pager_init(&p, NULL, NULL);
    slab_inject_failure(n, count);
    err = uf_engine_create(NULL, &engine);
    opts.engine = engine;
    for (size_t i = 0; i < 2 && !err; i++) {
        opts.heap_pager = i ? p.pager : NULL;
        err = uf_space_create(&opts, &space[i]);
        if (!err && uf_sbrk(space[i], (intptr_t)(4 * page_size())) < 0)
            err = -ENOMEM;
        /* Whatever is lacking now, a fault is answered. */
        if (!err && live_write(live_page(space[i], 1), 1, NULL))
            err = -EFAULT;
        if (!err && uf_populate(space[i], live_page(space[i], 0),
                                4 * page_size()) == -EFAULT)
            err = -EFAULT;
    }
    slab_inject_failure(0, 0);
    for (size_t i = 0; i < 2; i++) {
        if (space[i])
            live_assert_law(space[i]);
        assert_int_equal(uf_space_destroy(space[i]), 0);
    }
    assert_int_equal(uf_engine_destroy(engine), 0);
    uf_pager_unref(p.pager);
    return err;
}

/* Each allocation fails alone, and with all that follow: the documented errno,
 * nothing is lost, and the next try without failures works. */
static void without_memory_it_is_enomem_and_nothing_leaks(void **state)
{
    static const unsigned long counts[] = {1, ULONG_MAX / 2};

    (void)state;
    /* Cold first: what is made once for good is made here. */
    for (unsigned long n = 1; use_everything(n, 1) != 0; n++)
        ;
    for (size_t c = 0; c < 2; c++) {
        size_t live = slab_live_everywhere(), fds = live_count_fds();
        size_t maps = live_count_maps();
        unsigned long n;

        assert_int_equal(use_everything(0, 0), 0);
        for (n = 1; n <= 60; n++) {
            int err = use_everything(n, counts[c]);

            assert_true(err == 0 || err == -ENOMEM);
            assert_int_equal(slab_live_everywhere(), live);
            assert_int_equal(live_count_fds(), fds);
        }
        assert_int_equal(use_everything(n, counts[c]), 0);
        if (!LIVE_SANITIZED) /* the thread sanitizer maps as it likes */
            assert_true(live_count_maps() <= maps + 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_it_is_enomem_and_nothing_leaks),
        cmocka_unit_test(destroy_waits_for_fills_and_lets_waiters_go),
        cmocka_unit_test(create_and_destroy_under_touches),
        cmocka_unit_test(an_engine_in_use_is_busy),
        cmocka_unit_test(a_thousand_spaces_share_an_engine),
        cmocka_unit_test(handlers_and_cpu_are_options),
        cmocka_unit_test(bad_engine_options_are_einval),
        cmocka_unit_test(too_few_descriptors_is_emfile),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
