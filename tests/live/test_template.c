/* SPDX-License-Identifier: MIT */
/*
 * Templates: a clone is its template, byte for byte, at any address; it does not
 * share what it writes; after a reset it is again what it was, whatever was done
 * to it. What the template holds is kept aside and compared, page by page.
 *
 *     UF_SEED=N UF_BUDGET=OPERATIONS tests/test_live_template
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "host/pages.h"
#include "lib/live.h"
#include "lib/warmed.h"
#include "ufault/template.h"

#define PAGES WARMED_PAGES
#define LEN   WARMED_LEN
#define HEAP  WARMED_HEAP

struct rig {
    char *bytes;
    struct uf_template *t;
    struct uf_engine *engine;
    struct uf_space_opts opts;
};

static void set_up(struct rig *rig)
{
    struct uf_engine_opts eopts = {.size = sizeof(eopts),
                                   .kind = live_engine_kind()};
    struct uf_space *space;

    rig->bytes = malloc(LEN);
    space = warmed_space(rig->bytes);
    assert_int_equal(uf_template_create(space, &rig->t), 0);
    warmed_expect(space, rig->bytes); /* as it was */
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_create(&eopts, &rig->engine), 0);
    rig->opts = (struct uf_space_opts){.size = sizeof(rig->opts),
                                       .engine = rig->engine};
}

static void tear_down(struct rig *rig)
{
    uf_template_unref(rig->t);
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
    free(rig->bytes);
}

static struct uf_space *clone_of(struct rig *rig)
{
    struct uf_space *space;

    assert_int_equal(uf_space_from_template(rig->t, &rig->opts, &space), 0);
    return space;
}

static void a_clone_is_its_template(void **state)
{
    struct uf_space *a, *b;
    struct rig rig;
    unsigned char byte = 0;

    (void)state;
    set_up(&rig);
    a = clone_of(&rig);
    b = clone_of(&rig);
    assert_int_not_equal(uf_space_base(a), uf_space_base(b));
    assert_int_equal(uf_space_len(a), LEN);
    warmed_expect(a, rig.bytes);
    assert_int_equal(live_write(live_page(a, 3), 77, NULL), 0);
    warmed_expect(b, rig.bytes);
    /* Its heap grows with memory of the engine's. */
    assert_true(uf_sbrk(a, (intptr_t)(4 * page_size())) > 0);
    assert_int_equal(live_read(live_page(a, HEAP + 3), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_write(live_page(a, HEAP + 3), 5, NULL), 0);
    assert_int_equal(live_read(live_page(a, 110), &byte, NULL), 0);
    assert_int_equal(live_write(live_page(a, 110), 1, NULL), SIGSEGV);
    assert_int_equal(live_read(live_page(a, 121), &byte, NULL), SIGSEGV);
    assert_int_equal(live_read(live_page(a, 150), &byte, NULL), SIGSEGV);
    live_assert_law(a);
    assert_int_equal(uf_space_destroy(a), 0);
    assert_int_equal(uf_space_destroy(b), 0);
    assert_true(uf_template_bytes(rig.t) >= 80 * page_size());
    assert_true(uf_template_bytes(rig.t) <= 130 * page_size());
    tear_down(&rig);
}

/* After anything at all it is what it was. */
static void a_reset_brings_everything_back(void **state)
{
    struct uf_space *space;
    struct rig rig;

    (void)state;
    set_up(&rig);
    space = clone_of(&rig);
    warmed_try_resets(space, rig.bytes);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

static struct page_counts count_pages(struct range part)
{
    struct page_counts counts;
    struct pages *pages;

    assert_int_equal(pages_open(&pages), 0);
    assert_int_equal(pages_count(pages, part, &counts), 0);
    pages_close(pages);
    return counts;
}

/* What was not written stays where it is. */
static void clean_pages_stay(void **state)
{
    struct page_counts counts;
    struct uf_space *space;
    struct range part;
    struct rig rig;

    (void)state;
    set_up(&rig);
    space = clone_of(&rig);
    part = (struct range){live_page(space, 200), live_page(space, 300)};
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(live_read(live_page(space, 200 + i), NULL, NULL), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(live_write(live_page(space, 200 + 10 * i), 1, NULL),
                         0);
    assert_int_equal(uf_space_reset(space), 0);
    counts = count_pages(part);
    assert_int_equal(counts.present, 100);
    assert_int_equal(counts.file, 95); /* five were copied back */
    warmed_expect(space, rig.bytes);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

/* Other pages are written each time: the clone does not end with a copy of all
 * of its template. */
static void copies_do_not_pile_up(void **state)
{
    struct uf_space *space;
    struct range part;
    struct rig rig;
    size_t most = 0, own = 0;

    (void)state;
    set_up(&rig);
    space = clone_of(&rig);
    part = (struct range){live_page(space, 200), live_page(space, 300)};
    for (size_t round = 0; round < 20; round++) {
        struct page_counts counts;

        for (size_t i = 0; i < 5; i++)
            live_write(live_page(space, 200 + 5 * round + i), 1, NULL);
        assert_int_equal(uf_space_reset(space), 0);
        counts = count_pages(part);
        own = counts.present - counts.file;
        most = own > most ? own : most;
    }
    assert_in_range(most, 50, 80);
    assert_true(own < most);
    warmed_expect(space, rig.bytes);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

/* No guest sees a byte of the one before, wherever that put it. */
/* Where the guest before may have had its heap. */
static void expect_growth_is_zeros(struct uf_space *space)
{
    const size_t len = 64 * page_size();
    intptr_t at = uf_sbrk(space, (intptr_t)len);

    if (at < 0)
        return; /* a mapping is in the way */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(((const char *)at)[i], 0);
    assert_true(uf_sbrk(space, -(intptr_t)len) > 0);
}

static void a_pool_leaks_nothing(void **state)
{
    struct uf_pool *pool;
    struct rig rig;
    uint64_t seed = 3;

    (void)state;
    set_up(&rig);
    assert_int_equal(uf_pool_create(rig.t, &rig.opts, 2, &pool), 0);
    assert_int_equal(uf_pool_ready(pool), 2);
    for (int round = 0; round < 50; round++) {
        struct uf_space *guests[3];

        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(uf_pool_get(pool, &guests[i]), 0);
            warmed_expect(guests[i], rig.bytes);
        }
        expect_growth_is_zeros(guests[round % 3]);
        assert_int_equal(uf_pool_ready(pool), 0);
        for (size_t i = 0; i < 3; i++) {
            for (size_t page = 0; page < PAGES; page++)
                live_write(live_page(guests[i], page) + 99, 0xee, NULL);
            for (int n = 0; n < 20; n++)
                warmed_do(guests[i], &seed);
            /* More than is kept: it goes. */
            assert_int_equal(uf_pool_put(pool, guests[i]), 0);
        }
        assert_int_equal(uf_pool_ready(pool), 2);
    }
    uf_pool_destroy(pool);
    tear_down(&rig);
}

struct taker {
    pthread_t thread;
    struct uf_pool *pool;
    const char *bytes;
    unsigned wrong;
};

static void *take_and_put(void *arg)
{
    struct taker *t = arg;

    for (int round = 0; round < 100; round++) {
        struct uf_space *guest;

        if (uf_pool_get(t->pool, &guest) != 0) {
            t->wrong++;
            continue;
        }
        if (memcmp((void *)live_page(guest, 0), t->bytes, HEAP * page_size()))
            t->wrong++;
        memset((void *)live_page(guest, 0), 0x5a, HEAP * page_size());
        if (uf_pool_put(t->pool, guest) != 0)
            t->wrong++;
    }
    return NULL;
}

static void threads_share_a_pool(void **state)
{
    struct taker takers[4];
    struct uf_pool *pool;
    struct rig rig;

    (void)state;
    set_up(&rig);
    assert_int_equal(uf_pool_create(rig.t, &rig.opts, 3, &pool), 0);
    for (size_t i = 0; i < 4; i++) {
        takers[i] = (struct taker){.pool = pool, .bytes = rig.bytes};
        pthread_create(&takers[i].thread, NULL, take_and_put, &takers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(takers[i].thread, NULL);
        assert_int_equal(takers[i].wrong, 0);
    }
    assert_true(uf_pool_ready(pool) > 0);
    uf_pool_destroy(pool);
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clone_is_its_template),
        cmocka_unit_test(a_reset_brings_everything_back),
        cmocka_unit_test(clean_pages_stay),
        cmocka_unit_test(copies_do_not_pile_up),
        cmocka_unit_test(a_pool_leaks_nothing),
        cmocka_unit_test(threads_share_a_pool),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
