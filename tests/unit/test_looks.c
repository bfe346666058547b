/* SPDX-License-Identifier: MIT */
/*
 * Looking into the page cache: what is said to be there is, or lately was; of a
 * block that is asked for often all is looked at, and then nothing for a while; of
 * one that is not all there what is asked, each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/sys.h"
#include "store/looks.h"

#define NPAGES (LOOKS_PAGES * 2 + 100) /* two blocks and a part of one */

static struct looks looks;
static unsigned char cache[NPAGES]; /* 1: it is there */
static unsigned calls, pages;       /* of mincore */
static uint64_t now;
static int fails;

/* The view is never looked into, so any addresses do. */
static char *view(void)
{
    return (char *)(uintptr_t)((size_t)1 << 40);
}

static int fake_mincore(void *addr, size_t len, unsigned char *vec)
{
    size_t first = (size_t)((char *)addr - view()) / page_size();
    size_t n = len / page_size();

    calls++;
    pages += (unsigned)n;
    assert_true(first + n <= NPAGES);
    for (size_t i = 0; i < n; i++)
        vec[i] = (unsigned char)(cache[first + i] | 0xfe); /* bits to come */
    errno = ENOMEM;
    return fails;
}

static int begin(void **state)
{
    static struct sys_calls fake;

    (void)state;
    fake = *sys;
    fake.mincore = fake_mincore;
    sys = &fake;
    return 0;
}

static int afresh(void **state)
{
    (void)state;
    memset(&looks, 0, sizeof(looks));
    memset(cache, 1, sizeof(cache));
    calls = pages = 0;
    fails = 0;
    now = 1000;
    return 0;
}

static bool ask(size_t first, size_t n)
{
    return looks_find(&looks, view(), NPAGES * page_size(), first * page_size(),
                      n * page_size(), now);
}

/* As often as it takes for the next question to be for all of the block. */
static void ask_often(size_t first)
{
    for (int i = 0; i < LOOKS_ASKED; i++)
        assert_true(ask(first, 1));
    assert_int_equal(calls, LOOKS_ASKED);
    assert_int_equal(pages, LOOKS_ASKED);
    calls = pages = 0;
}

static void a_block_is_looked_at_when_it_is_asked_for_often(void **state)
{
    (void)state;
    ask_often(7);
    assert_true(ask(400, 3));
    assert_int_equal(pages, LOOKS_PAGES);
    for (size_t i = 0; i < LOOKS_PAGES; i++)
        assert_true(ask(i, 1));
    assert_int_equal(calls, 1);
    assert_true(ask(LOOKS_PAGES, 1)); /* another's first */
    assert_int_equal(calls, 2);
    assert_int_equal(pages, LOOKS_PAGES + 1);
}

static void who_asks_seldom_pays_for_no_block(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 5 * LOOKS_ASKED; i++) {
        assert_true(ask(7, 1));
        assert_int_equal(pages, i);
        now += LOOKS_MS + 1;
    }
}

static void the_last_block_may_be_short(void **state)
{
    size_t last = (size_t)LOOKS_PAGES * 2;

    (void)state;
    ask_often(last);
    assert_true(ask(last + 99, 1));
    assert_int_equal(pages, 100);
    assert_true(ask(last + 50, 50));
    assert_int_equal(calls, 1);
}

static void what_is_not_there_is_found_out(void **state)
{
    (void)state;
    cache[33] = 0;
    ask_often(32);
    assert_true(ask(32, 1)); /* not the block, but the page */
    assert_false(ask(33, 1));
    assert_false(ask(32, 2));
    assert_true(ask(34, 8));
    assert_int_equal(calls, 2 + 3);
    fails = -1;
    assert_false(ask(34, 8));
    now += LOOKS_MS + 1;
    for (int i = 0; i <= LOOKS_ASKED; i++)
        assert_false(ask(34, 8));
}

static void what_is_across_blocks_is_looked_at(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(ask(LOOKS_PAGES - 4, 8));
    assert_int_equal(pages, 3 * 8);
    cache[LOOKS_PAGES] = 0;
    assert_false(ask(LOOKS_PAGES - 4, 8));
}

static void what_is_known_grows_old(void **state)
{
    (void)state;
    ask_often(1);
    assert_true(ask(1, 1));
    cache[2] = 0;
    now += LOOKS_MS;
    assert_true(ask(2, 1)); /* as it was */
    now++;
    assert_false(ask(2, 1));
    cache[2] = 1;
    now += LOOKS_MS + 1;
    calls = pages = 0;
    ask_often(2);
    assert_true(ask(2, 1));
    assert_int_equal(calls, 1);
}

#define TEST(name) cmocka_unit_test_setup(name, afresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_block_is_looked_at_when_it_is_asked_for_often),
        TEST(who_asks_seldom_pays_for_no_block),
        TEST(the_last_block_may_be_short),
        TEST(what_is_not_there_is_found_out),
        TEST(what_is_across_blocks_is_looked_at),
        TEST(what_is_known_grows_old),
    };

    return cmocka_run_group_tests_name("looks", tests, begin, NULL);
}
