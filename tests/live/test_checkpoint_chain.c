/* SPDX-License-Identifier: MIT */
/*
 * Each checkpoint on the one before: all of them together have everything,
 * whatever was written, mapped, dropped or supplied by a pager in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/chain.h"
#include "lib/image_dir.h"
#include "lib/live.h"
#include "lib/lot.h"
#include "ufault/mman.h"

#define RW (PROT_READ | PROT_WRITE)

/* What a guest does between two. */
static void do_things(struct uf_space *space, unsigned n)
{
    for (unsigned i = 0; i < 3; i++)
        lot_map(space);
    assert_int_equal(live_write(live_page(space, n), (unsigned char)n, NULL),
                     0);
    assert_int_equal(
        uf_madvise(space, live_page(space, n + 1), page_size(), MADV_DONTNEED),
        0);
    uf_munmap(space, live_page(space, 400 + 150 * n), 90 * page_size());
    uf_mprotect(space, live_page(space, 0), page_size(), RW);
    uf_sbrk(space, (intptr_t)((n % 3) * 9 * page_size()) -
                       (intptr_t)(4 * page_size()));
}

/* Full, then each on the one before; in the middle a parent that is not the last,
 * an image that is saved at rest, and a tracking of the program's. */
static void a_chain_has_everything(void **state)
{
    (void)state;
    for (uint32_t seed = 60; seed < 66; seed++) {
        struct uf_checkpoint_result result;
        struct uf_space *space = lot_space(seed);
        struct uf_image *image = NULL;
        size_t resident = live_stats(space).resident;

        for (unsigned n = 0; n < CHAIN_MAX; n++) {
            if (n == 4) { /* a parent that is not the last one */
                uf_image_close(image);
                assert_int_equal(uf_image_open(chain_name(1), &image), 0);
            }
            image = chain_checkpoint(space, chain_name(n), image, &result);
            assert_int_equal(result.tracked, n != 0 && n != 4);
            if (n == 0)
                assert_int_equal(live_stats(space).resident, resident);
            chain_expect(space, image);
            do_things(space, n);
        }
        uf_image_close(image);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
        chain_unlink();
    }
}

/* At rest it is the same record. */
static void saving_uses_what_is_known(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_space *space = lot_space(71);
    struct uf_checkpoint_result result;
    struct uf_image *image;

    (void)state;
    how.parent = chain_checkpoint(space, chain_name(0), NULL, &result);
    for (unsigned n = 1; n < CHAIN_MAX; n++) {
        do_things(space, n);
        if (n % 2) {
            assert_int_equal(uf_image_save(space, chain_name(n), &how), 0);
            uf_image_close(how.parent);
            assert_int_equal(uf_image_open(chain_name(n), &image), 0);
        } else {
            image = chain_checkpoint(space, chain_name(n), how.parent, &result);
            assert_int_equal(result.tracked, 1);
        }
        chain_expect(space, image);
        how.parent = image;
    }
    uf_image_close(how.parent);
    assert_int_equal(uf_space_destroy(space), 0);
    chain_unlink();
}

/* ---- pagers ---- */

/* What was not touched is not read: the space's own image is the parent. */
static void from_an_image_only_what_changed(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .engine_kind = live_engine_kind()};
    struct uf_space *space = lot_space(81);
    struct uf_checkpoint_result result;
    struct uf_image *image;
    uint64_t faults;

    (void)state;
    image = chain_checkpoint(space, chain_name(0), NULL, &result);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    assert_int_equal(live_write(live_page(space, 3), 77, NULL), 0);
    assert_int_equal(live_write(live_page(space, 9), 77, NULL), 0);
    faults = live_stats(space).faults;
    for (unsigned n = 1; n < 4; n++) {
        image = chain_checkpoint(space, chain_name(n), image, &result);
        assert_int_equal(result.tracked, n > 1);
        assert_int_equal(result.stored_pages, n == 1 ? 2 : 1);
        assert_int_equal(live_stats(space).faults, faults);
        chain_expect(space, image);
        live_write(live_page(space, 3), (unsigned char)n, NULL);
        faults = live_stats(space).faults;
    }
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
    chain_unlink();
}

static void a_pagers_pages_are_asked_for(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_checkpoint_result result;
    struct uf_image *image = NULL;
    unsigned char *bytes = malloc(40 * page_size());
    struct uf_space *space;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    opts.window_pages = 1;
    space = live_space(&opts, 40);
    assert_int_equal(live_read(live_page(space, 7), NULL, NULL), 0);
    for (unsigned n = 0; n < 3; n++) {
        image = chain_checkpoint(space, chain_name(n), image, &result);
        assert_int_equal(result.stored_pages, n ? 1 : 40);
        assert_int_equal(live_stats(space).resident, 1);
        assert_int_equal(uf_image_read(image, 0, 40, bytes), 0);
        for (size_t i = 0; i < 40 * page_size(); i++)
            assert_int_equal(bytes[i], live_pattern(i));
        /* Dropped: the pager is asked again. */
        assert_int_equal(
            uf_madvise(space, live_page(space, 7), page_size(), MADV_DONTNEED),
            0);
        assert_int_equal(live_read(live_page(space, 7), NULL, NULL), 0);
    }
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
    free(bytes);
    chain_unlink();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_has_everything),
        cmocka_unit_test(saving_uses_what_is_known),
        cmocka_unit_test(from_an_image_only_what_changed),
        cmocka_unit_test(a_pagers_pages_are_asked_for),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("chains of checkpoints", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
