/* SPDX-License-Identifier: MIT */
/*
 * A space that was made from an image is that again after a reset, whatever was
 * done to it; what was not written stays where it is.
 *
 *     UF_SEED=N UF_BUDGET=OPERATIONS tests/test_live_image_reset
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
#include <unistd.h>

#include "lib/image_dir.h"
#include "lib/live.h"
#include "lib/warmed.h"
#include "lib/ways.h"
#include "ufault/checkpoint.h"
#include "ufault/dirty.h"
#include "ufault/mman.h"
#include "ufault/template.h"

#define RW (PROT_READ | PROT_WRITE)

/* A space from an image of a warmed one, whose bytes are put into `bytes`. */
static struct uf_space *space_from_image(enum way way, char *bytes)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .engine = ways_engine(way, 1)};
    struct uf_image *image;
    struct uf_space *space = warmed_space(bytes);

    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    uf_image_close(image);
    return space;
}

static void a_reset_brings_everything_back(void **state)
{
    char *bytes = malloc(WARMED_LEN);

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct uf_space *space;

        if (!ways_are_here[way])
            continue;
        space = space_from_image((enum way)way, bytes);
        warmed_try_resets(space, bytes);
        ways_end(space);
    }
    free(bytes);
}

/* The first reset begins to track; from then on only what was written goes. */
static void clean_pages_stay(void **state)
{
    char *bytes = malloc(WARMED_LEN);
    struct uf_space *space = space_from_image(WAY_ASYNC, bytes);
    uint64_t faults;

    (void)state;
    if (!ways_are_here[WAY_ASYNC])
        skip();
    warmed_expect(space, bytes);
    assert_int_equal(uf_space_reset(space), 0);
    assert_int_equal(live_stats(space).resident, 0);
    warmed_expect(space, bytes);
    faults = live_stats(space).resident;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(live_write(live_page(space, 200 + 10 * i), 1, NULL),
                         0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(uf_space_reset(space), 0);
        assert_int_equal(live_stats(space).resident, faults - 5);
    }
    warmed_expect(space, bytes);
    assert_int_equal(live_stats(space).resident, faults);
    ways_end(space);
    free(bytes);
}

/* The break moved, and was written behind: that is no reason to lay it out anew. */
static void a_heap_that_grew_is_cut(void **state)
{
    char *bytes = malloc(WARMED_LEN);
    struct uf_space *space = space_from_image(WAY_ASYNC, bytes);
    uint64_t mmaps;

    (void)state;
    assert_int_equal(uf_space_reset(space), 0);
    mmaps = live_stats(space).mmaps;
    for (int again = 0; again < 3; again++) {
        unsigned char byte = 1;

        assert_true(uf_sbrk(space, (intptr_t)(4 * page_size())) > 0);
        assert_int_equal(
            live_read(live_page(space, WARMED_HEAP + 2), &byte, NULL), 0);
        assert_int_equal(byte, 0);
        assert_int_equal(live_write(live_page(space, WARMED_HEAP + 2), 8, NULL),
                         0);
        assert_int_equal(uf_space_reset(space), 0);
        warmed_expect(space, bytes);
    }
    assert_int_equal(live_stats(space).mmaps, mmaps);
    ways_end(space);
    free(bytes);
}

/* A stack's pages were copied in, and are again. */
static void stacks_come_back(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    size_t len = 40 * page_size();
    uintptr_t at = live_page(space, 2000);
    struct uf_image *image;
    unsigned char byte;

    (void)state;
    assert_int_equal(
        uf_mmap(space, at, len, RW,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0),
        at);
    assert_int_equal(live_write(at + len - 1, 's', NULL), 0);
    assert_int_equal(uf_image_save(space, image_path, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_image_open(image_path, &image), 0);
    assert_int_equal(uf_space_from_image(image, NULL, &space), 0);
    uf_image_close(image);
    at = live_page(space, 2000);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(live_read(at + len - 1, &byte, NULL), 0);
        assert_int_equal(byte, 's');
        assert_int_equal(live_write(at + len - 1, 'x', NULL), 0);
        assert_int_equal(live_write(at - page_size(), 'y', NULL),
                         0); /* grows */
        assert_int_equal(uf_space_reset(space), 0);
    }
    assert_int_equal(uf_space_destroy(space), 0);
}

/* The program's tracking, checkpoints and resets at once: each is right. */
static void all_who_watch_are_right(void **state)
{
    char *bytes = malloc(WARMED_LEN);
    struct uf_checkpoint_result result = {.size = sizeof(result)};
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_range ranges[64];

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct uf_space *space;

        if (!ways_are_here[way])
            continue;
        space = space_from_image((enum way)way, bytes);
        assert_int_equal(uf_space_reset(space), 0);
        assert_int_equal(uf_dirty_start(space), 0);
        assert_int_equal(uf_checkpoint(space, image_other, NULL, &result), 0);
        assert_int_equal(uf_image_open(image_other, &how.parent), 0);
        assert_int_equal(live_write(live_page(space, 3), 1, NULL), 0);
        assert_int_equal(live_write(live_page(space, 70), 1, NULL), 0);
        assert_int_equal(uf_dirty_collect(space, ranges, 64), 2);
        assert_int_equal(uf_space_reset(space), 0);
        warmed_expect(space, bytes);
        /* They are not what they were when it was collected. */
        assert_int_equal(uf_dirty_collect(space, ranges, 64), 2);
        assert_int_equal(live_write(live_page(space, 5), 1, NULL), 0);
        assert_int_equal(uf_checkpoint(space, image_inner, NULL, &result), 0);
        unlink(image_inner);
        uf_image_close(how.parent);
        assert_int_equal(uf_space_reset(space), 0);
        warmed_expect(space, bytes);
        ways_end(space);
    }
    free(bytes);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, image_dir_clear)
    const struct CMUnitTest tests[] = {
        TEST(a_reset_brings_everything_back), TEST(clean_pages_stay),
        TEST(a_heap_that_grew_is_cut),        TEST(stacks_come_back),
        TEST(all_who_watch_are_right),
    };
    int skipped = live_begin();

    if (!skipped)
        skipped = ways_begin();
    return skipped ? skipped
                   : cmocka_run_group_tests_name("resets to images", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
