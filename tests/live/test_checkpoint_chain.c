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
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* ---- mappings that come and go meanwhile ---- */

#define COMES   4096 /* page of the mapping that comes and goes */
#define STAYS   16384
#define NSTAYS  4096
#define LENGTH  ((size_t)256 << 20)
#define NCHECKS 120

struct guest {
    struct uf_space *space;
    uintptr_t base;
    atomic_bool over;
};

static volatile uint64_t *word_at(const struct guest *g, size_t page)
{
    return (volatile uint64_t *)(g->base + page * page_size());
}

/* Writes n before, in and after a mapping that is there for a moment. */
static void *come_and_go(void *arg)
{
    struct guest *g = arg;
    uintptr_t place = g->base + COMES * page_size();

    for (uint64_t n = 1; !atomic_load(&g->over); n++) {
        *word_at(g, STAYS) = n;
        if (uf_mmap(g->space, place, 4 * page_size(), RW,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                    0) != (intptr_t)place)
            abort();
        *word_at(g, COMES) = n;
        *word_at(g, STAYS + 1) = n;
        usleep((useconds_t)(n * 37 % 600));
        if (uf_munmap(g->space, place, 4 * page_size()) != 0)
            abort();
        usleep((useconds_t)(n * 53 %
                            900)); /* gone for longer than a checkpoint looks */
    }
    return NULL;
}

static uint64_t word_of(struct uf_image *image, size_t page)
{
    static uint64_t words[65536 / sizeof(uint64_t)];

    assert_true(page_size() <= sizeof(words));
    assert_int_equal(uf_image_read(image, page, 1, words), 0);
    return words[0];
}

/* Where both words are n, the one between is n, or not mapped: zeros. Never the
 * one of the parent. */
static void what_goes_right_after_is_of_its_moment(void **state)
{
    struct uf_space_opts opts = {.len_bytes = LENGTH};
    struct guest g = {.space = live_space(&opts, 0)};
    struct uf_checkpoint_result result;
    struct uf_image *image = NULL;
    pthread_t thread;

    (void)state;
    g.base = uf_space_base(g.space);
    assert_true(uf_mmap(g.space, g.base + STAYS * page_size(),
                        NSTAYS * page_size(), RW,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) > 0);
    for (size_t i = 0; i < NSTAYS; i++)
        *word_at(&g, STAYS + i) = 1;
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &g), 0);
    for (unsigned n = 0; n < NCHECKS; n++) {
        uint64_t before, between, after; /* the moment */

        if (n % CHAIN_MAX == 0) {
            uf_image_close(image);
            image = NULL;
        }
        image = chain_checkpoint(g.space, chain_name(n % CHAIN_MAX), image,
                                 &result);
        before = word_of(image, STAYS);
        between = word_of(image, COMES);
        after = word_of(image, STAYS + 1);
        assert_in_range(before - after, 0, 1);
        assert_true(between == 0 || between == before);
    }
    atomic_store(&g.over, true);
    pthread_join(thread, NULL);
    uf_image_close(image);
    live_assert_law(g.space);
    assert_int_equal(uf_space_destroy(g.space), 0);
    chain_unlink();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_has_everything),
        cmocka_unit_test(saving_uses_what_is_known),
        cmocka_unit_test(from_an_image_only_what_changed),
        cmocka_unit_test(a_pagers_pages_are_asked_for),
        cmocka_unit_test(what_goes_right_after_is_of_its_moment),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("chains of checkpoints", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
