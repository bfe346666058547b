/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments: each is answered with the errno that the header documents,
 * outputs are not written, and what exists goes on as before.
 *
 * The comments "provokes: FUNCTION -ERRNO ..." are read by
 * tests/build/errno-coverage.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"

#define MANY(array) (sizeof(array) / sizeof((array)[0]))

/* Sizes that no option or result struct ever had. */
static const size_t wrong_sizes[] = {0, 1, 4, SIZE_MAX};

static ssize_t fill_nothing(void *context, const struct uf_fill *request)
{
    (void)context;
    (void)request;
    return -EIO;
}

/* ----------------------------------------------------------- uf_space_create
 * --
 */

static struct uf_space_opts good_opts(void)
{
    return (struct uf_space_opts){.size = sizeof(struct uf_space_opts),
                                  .len_bytes = (size_t)1 << 20};
}

static void refuse_opts(const struct uf_space_opts *opts)
{
    struct uf_space *space = (struct uf_space *)1;

    assert_int_equal(uf_space_create(opts, &space), -EINVAL);
    assert_ptr_equal(space, (struct uf_space *)1);
}

/* provokes: uf_space_create -EINVAL */
static void lengths_that_cannot_be(void **state)
{
    const size_t lengths[] = {
        0,
        1,
        page_size(),
        ((size_t)64 << 10) - page_size(),
        ((size_t)64 << 10) + 1,
        ((size_t)1 << 20) - 1,
        ((size_t)64 << 40) + page_size(),
        SIZE_MAX,
        SIZE_MAX - page_size() + 1,
        (size_t)1 << 63,
    };

    (void)state;
    for (size_t i = 0; i < MANY(lengths); i++) {
        struct uf_space_opts opts = good_opts();

        opts.len_bytes = lengths[i];
        refuse_opts(&opts);
    }
}

/* provokes: uf_space_create -EINVAL */
static void addresses_that_cannot_be(void **state)
{
    const uintptr_t addresses[] = {
        1,
        page_size() - 1,
        ((uintptr_t)1 << 40) + 1,
        UINTPTR_MAX - page_size() + 1, /* aligned, but it overflows */
        UINTPTR_MAX,
        (uintptr_t)0 - ((uintptr_t)1 << 20), /* ends at 0 */
    };

    (void)state;
    for (size_t i = 0; i < MANY(addresses); i++) {
        struct uf_space_opts opts = good_opts();

        opts.address = addresses[i];
        refuse_opts(&opts);
    }
}

/* provokes: uf_space_create -EINVAL */
static void options_that_nobody_knows(void **state)
{
    struct uf_space_opts opts = good_opts();

    (void)state;
    opts.window_pages = 513;
    refuse_opts(&opts);
    opts.window_pages = UINT32_MAX;
    refuse_opts(&opts);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        opts = good_opts();
        opts.flags = bit;
        if (bit > UF_SPACE_NO_AHEAD)
            refuse_opts(&opts);
    }
    opts = good_opts();
    opts.engine_kind = UF_ENGINE_AUTO + 1;
    refuse_opts(&opts);
    opts = good_opts();
    opts.fork = (enum uf_fork)(UF_FORK_ENGINE + 1);
    refuse_opts(&opts);
    refuse_opts(NULL);
    opts = good_opts();
    assert_int_equal(uf_space_create(&opts, NULL), -EINVAL);
}

/* provokes: uf_space_create -EINVAL */
static void zeros_in_the_child_of_a_pager(void **state)
{
    struct uf_space_opts opts = good_opts();
    struct uf_pager *pager;

    (void)state;
    assert_int_equal(uf_pager_callback(fill_nothing, NULL, &pager), 0);
    opts.heap_pager = pager;
    opts.fork = UF_FORK_ZERO;
    refuse_opts(&opts);
    uf_pager_unref(pager);
}

/* provokes: uf_space_create -EINVAL */
static void an_engine_that_is_gone(void **state)
{
    struct uf_space_opts opts = good_opts();

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    refuse_opts(&opts);
}

/* provokes: uf_space_create -EEXIST */
static void an_address_that_is_taken(void **state)
{
    size_t page = page_size(), len = (size_t)1 << 20;
    struct uf_space_opts opts = good_opts();
    struct uf_space *space = NULL;
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(p != MAP_FAILED);
    p[0] = 7;
    /* All of it, its first page alone, its last page alone. */
    for (int i = 0; i < 3; i++) {
        opts.address = (uintptr_t)p + (i == 1   ? page - len
                                       : i == 2 ? len - page
                                                : 0);
        assert_int_equal(uf_space_create(&opts, &space), -EEXIST);
        assert_null(space);
    }
    assert_int_equal(p[0], 7);
    munmap(p, len);
}

/* provokes: uf_space_create -ENOMEM */
static void an_address_beyond_all_memory(void **state)
{
    struct uf_space_opts opts = good_opts();
    struct uf_space *space = NULL;

    (void)state;
    if (LIVE_SANITIZED) {
        print_message("a sanitizer's mmap changes such an address\n");
        skip();
    }
    opts.address = (uintptr_t)1 << 62;
    assert_int_equal(uf_space_create(&opts, &space), -ENOMEM);
    assert_null(space);
}

/* ------------------------------------------------------------ struct sizes --
 */

/* provokes: uf_space_create -EINVAL
 * provokes: uf_engine_create -EINVAL
 * provokes: uf_pager_create -EINVAL
 * provokes: uf_probe -EINVAL
 * provokes: uf_space_stats -EINVAL
 * provokes: uf_stats_text -EINVAL
 * provokes: uf_stats_json -EINVAL */
static void sizes_that_nobody_knows(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct uf_engine *engine = NULL;
    struct uf_pager *pager = NULL;
    char text[8];

    (void)state;
    for (size_t i = 0; i < MANY(wrong_sizes); i++) {
        struct uf_space_opts space_opts = good_opts();
        struct uf_engine_opts engine_opts = {.size = wrong_sizes[i]};
        struct uf_pager_ops ops = {
            .size = wrong_sizes[i], .name = "p", .fill = fill_nothing};
        struct uf_probe probe = {.size = wrong_sizes[i]};
        struct uf_stats stats = {.size = wrong_sizes[i]};

        space_opts.size = wrong_sizes[i];
        refuse_opts(&space_opts);
        assert_int_equal(uf_engine_create(&engine_opts, &engine), -EINVAL);
        assert_int_equal(uf_pager_create(&ops, NULL, &pager), -EINVAL);
        assert_int_equal(uf_probe(&probe), -EINVAL);
        assert_int_equal(uf_space_stats(space, &stats), -EINVAL);
        assert_int_equal(uf_stats_text(&stats, text, sizeof(text)), -EINVAL);
        assert_int_equal(uf_stats_json(&stats, text, sizeof(text)), -EINVAL);
    }
    assert_null(engine);
    assert_null(pager);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_probe -EINVAL
 * provokes: uf_stats_text -EINVAL
 * provokes: uf_stats_json -EINVAL
 * provokes: uf_space_stats -EINVAL */
static void no_struct_at_all(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct uf_stats stats = {.size = sizeof(stats)};
    char text[8];

    (void)state;
    assert_int_equal(uf_probe(NULL), -EINVAL);
    assert_int_equal(uf_space_stats(space, NULL), -EINVAL);
    assert_int_equal(uf_stats_text(NULL, text, sizeof(text)), -EINVAL);
    assert_int_equal(uf_stats_json(NULL, text, sizeof(text)), -EINVAL);
    assert_int_equal(uf_stats_text(&stats, NULL, 1), -EINVAL);
    assert_int_equal(uf_stats_json(&stats, NULL, 1), -EINVAL);
    assert_true(uf_stats_text(&stats, NULL, 0) > 0);
    assert_true(uf_stats_json(&stats, NULL, 0) > 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ---------------------------------------------------------------- engines --
 */

static void refuse_engine(struct uf_engine_opts opts)
{
    struct uf_engine *engine = (struct uf_engine *)1;

    opts.size = sizeof(opts);
    assert_int_equal(uf_engine_create(&opts, &engine), -EINVAL);
    assert_ptr_equal(engine, (struct uf_engine *)1);
}

/* provokes: uf_engine_create -EINVAL */
static void engine_options_that_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(uf_engine_create(NULL, NULL), -EINVAL);
    refuse_engine((struct uf_engine_opts){.nhandlers = 65});
    refuse_engine((struct uf_engine_opts){.nhandlers = UINT32_MAX});
    refuse_engine((struct uf_engine_opts){.ndescriptors = 17});
    refuse_engine((struct uf_engine_opts){.ndescriptors = UINT32_MAX});
    refuse_engine(
        (struct uf_engine_opts){.kind = UF_ENGINE_SIGNAL, .ndescriptors = 2});
    refuse_engine((struct uf_engine_opts){.cpu_plus_one = UINT32_MAX});
    refuse_engine((struct uf_engine_opts){.cpu_plus_one = 1u << 20});
    refuse_engine((struct uf_engine_opts){.tier_plus_one = UF_TIER_NONE + 1});
    refuse_engine(
        (struct uf_engine_opts){.tier_plus_one = UF_TIER_USER_MODE + 2});
    refuse_engine((struct uf_engine_opts){.tier_plus_one = UINT32_MAX});
}

/* provokes: uf_engine_destroy -EBUSY -EINVAL */
static void an_engine_in_use_and_one_gone(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_space *space;
    unsigned char byte = 1;

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    space = live_space(&opts, 1);
    assert_int_equal(uf_engine_destroy(opts.engine), -EBUSY);
    assert_int_equal(live_read(live_page(space, 0), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), -EINVAL);
    assert_int_equal(uf_engine_tier(opts.engine), UF_TIER_NONE);
    assert_int_equal(uf_engine_destroy(NULL), 0);
}

/* ----------------------------------------------------------------- pagers --
 */

/* provokes: uf_pager_create -EINVAL
 * provokes: uf_pager_callback -EINVAL */
static void pagers_that_cannot_be(void **state)
{
    const struct uf_pager_ops good = {
        .size = sizeof(good), .name = "good", .fill = fill_nothing};
    struct uf_pager *pager = (struct uf_pager *)1;
    struct uf_pager_ops ops = good;

    (void)state;
    assert_int_equal(uf_pager_create(NULL, NULL, &pager), -EINVAL);
    assert_int_equal(uf_pager_create(&good, NULL, NULL), -EINVAL);
    ops.name = NULL;
    assert_int_equal(uf_pager_create(&ops, NULL, &pager), -EINVAL);
    ops = good;
    ops.fill = NULL;
    assert_int_equal(uf_pager_create(&ops, NULL, &pager), -EINVAL);
    ops = good;
    ops.flags = UF_PAGER_SIGNAL_SAFE << 1;
    assert_int_equal(uf_pager_create(&ops, NULL, &pager), -EINVAL);
    assert_int_equal(uf_pager_callback(NULL, NULL, &pager), -EINVAL);
    assert_int_equal(uf_pager_callback(fill_nothing, NULL, NULL), -EINVAL);
    assert_ptr_equal(pager, (struct uf_pager *)1);
    uf_pager_unref(NULL);
    assert_null(uf_pager_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_that_cannot_be),
        cmocka_unit_test(addresses_that_cannot_be),
        cmocka_unit_test(options_that_nobody_knows),
        cmocka_unit_test(zeros_in_the_child_of_a_pager),
        cmocka_unit_test(an_engine_that_is_gone),
        cmocka_unit_test(an_address_that_is_taken),
        cmocka_unit_test(an_address_beyond_all_memory),
        cmocka_unit_test(sizes_that_nobody_knows),
        cmocka_unit_test(no_struct_at_all),
        cmocka_unit_test(engine_options_that_cannot_be),
        cmocka_unit_test(an_engine_in_use_and_one_gone),
        cmocka_unit_test(pagers_that_cannot_be),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
