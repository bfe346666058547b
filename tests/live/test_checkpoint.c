/* SPDX-License-Identifier: MIT */
/*
 * Images of a space that runs: each is of one moment, and a chain of them has
 * everything, whatever was written, mapped, dropped or supplied by a pager in
 * between, and whatever children would not get.
 *
 *     UF_CHECKPOINTS=N tests/test_live_checkpoint
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/image_dir.h"
#include "lib/live.h"
#include "lib/lot.h"
#include "lib/ways.h"
#include "ufault/checkpoint.h"
#include "ufault/dirty.h"
#include "ufault/mman.h"

#define RW      (PROT_READ | PROT_WRITE)
#define ANON    (MAP_PRIVATE | MAP_ANONYMOUS)
#define WRITERS 3
#define STEPS   24 /* pages a writer goes through, in order */
#define CHAIN   8

/* The image `n` of a chain: two names in turn would be their own parents. */
static const char *name_of(unsigned n)
{
    static char names[CHAIN + 1][80];

    snprintf(names[n], sizeof(names[n]), "%s.%u", image_path, n);
    return names[n];
}

static void unlink_chain(void)
{
    for (unsigned n = 0; n <= CHAIN; n++)
        unlink(name_of(n));
}

static unsigned checkpoints(void)
{
    const char *value = getenv("UF_CHECKPOINTS");

    return value && *value ? (unsigned)strtoul(value, NULL, 0) : 40;
}

/* A checkpoint, opened. `parent` is closed. */
static struct uf_image *checkpoint(struct uf_space *space, const char *path,
                                   struct uf_image *parent,
                                   struct uf_checkpoint_result *result)
{
    struct uf_image_opts how = {
        .size = sizeof(how), .codec = UF_IMAGE_LZ4, .parent = parent};
    struct uf_image *image;

    result->size = sizeof(*result);
    assert_int_equal(uf_checkpoint(space, path, &how, result), 0);
    uf_image_close(parent);
    assert_int_equal(uf_image_open(path, &image), 0);
    return image;
}

/* ---- one moment ---- */

struct writer {
    pthread_t thread;
    struct uf_space *space;
    size_t first; /* of its pages */
    size_t sees;  /* a page that it reads before each round */
    atomic_bool *stop;
    atomic_ulong rounds;
};

static _Atomic uint64_t *word(const struct writer *w, size_t page)
{
    return (_Atomic uint64_t *)live_page(w->space, page);
}

/* Round n: what it sees goes to its last page but one, then n to each of its
 * pages in turn. */
static void *write_in_order(void *arg)
{
    struct writer *w = arg;

    for (uint64_t n = 1; !atomic_load(w->stop); n++) {
        atomic_store(word(w, w->first + STEPS), atomic_load(word(w, w->sees)));
        for (size_t i = 0; i < STEPS; i++)
            atomic_store(word(w, w->first + i), n);
        atomic_store(&w->rounds, n);
    }
    return NULL;
}

static uint64_t word_in(struct uf_image *image, size_t page)
{
    static uint64_t bytes[65536 / 8];

    assert_int_equal(uf_image_read(image, page, 1, bytes), 0);
    return bytes[0];
}

/* No page is ahead of one that is written before it, and what was seen is not
 * ahead of where it was read. */
static void expect_one_moment(struct uf_image *image, const struct writer *w)
{
    uint64_t first = word_in(image, w->first), before = first;

    for (size_t i = 1; i < STEPS; i++) {
        uint64_t here = word_in(image, w->first + i);

        assert_true(here <= before);
        assert_true(here + 1 >= first);
        before = here;
    }
    assert_true(word_in(image, w->first + STEPS) <= word_in(image, w->sees));
}

static void start_writers(struct writer *writers, struct uf_space *space,
                          atomic_bool *stop)
{
    for (size_t i = 0; i < WRITERS; i++) {
        size_t next = (i + 1) % WRITERS;

        writers[i] = (struct writer){.space = space,
                                     .first = i * 64,
                                     .sees = next * 64 + STEPS - 1,
                                     .stop = stop};
        pthread_create(&writers[i].thread, NULL, write_in_order, &writers[i]);
    }
    for (size_t i = 0; i < WRITERS; i++)
        while (atomic_load(&writers[i].rounds) == 0)
            sched_yield();
}

static void each_is_of_one_moment(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct uf_space_opts opts = {0};
        struct uf_checkpoint_result result;
        struct writer writers[WRITERS];
        struct uf_image *image = NULL;
        struct uf_space *space;
        atomic_bool stop = false;

        if (!ways_are_here[way])
            continue;
        space = ways_space((enum way)way, &opts, WRITERS * 64);
        start_writers(writers, space, &stop);
        for (unsigned n = 0; n < checkpoints(); n++) {
            image = checkpoint(space, name_of(n % CHAIN), image, &result);
            assert_int_equal(result.tracked, n % CHAIN != 0);
            for (size_t i = 0; i < WRITERS; i++)
                expect_one_moment(image, &writers[i]);
            if (n % CHAIN == CHAIN - 1) { /* and a full one again */
                uf_image_close(image);
                image = NULL;
            }
        }
        atomic_store(&stop, true);
        for (size_t i = 0; i < WRITERS; i++)
            pthread_join(writers[i].thread, NULL);
        image = checkpoint(space, name_of(CHAIN), image, &result);
        for (size_t i = 0; i < WRITERS * 64; i++)
            assert_int_equal(word_in(image, i), *word(&writers[0], i));
        uf_image_close(image);
        ways_end(space);
        unlink_chain();
    }
}

/* ---- everything is in it ---- */

/* A space from the image is as this one is. */
static void expect_image(struct uf_space *space, struct uf_image *image)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .engine_kind = live_engine_kind()};
    struct uf_space *other;
    struct lot_look *here, *there;

    assert_int_equal(uf_image_verify(image, NULL), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &other), 0);
    here = lot_look(space, false);
    there = lot_look(other, false);
    lot_expect_same_maps(here, there);
    for (size_t i = 0; i < here->npages; i++) {
        unsigned char *bytes = there->bytes + i * page_size();

        if (here->prot[i] < 0 || !(here->prot[i] & PROT_READ))
            continue;
        assert_int_equal(
            uf_copy_in(other, bytes, live_page(other, i), page_size(), NULL),
            0);
        assert_int_equal(
            memcmp(bytes, (void *)live_page(space, i), page_size()), 0);
    }
    lot_forget(here);
    lot_forget(there);
    assert_int_equal(uf_space_destroy(other), 0);
}

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

        for (unsigned n = 0; n < CHAIN; n++) {
            if (n == 4) { /* a parent that is not the last one */
                uf_image_close(image);
                assert_int_equal(uf_image_open(name_of(1), &image), 0);
            }
            image = checkpoint(space, name_of(n), image, &result);
            assert_int_equal(result.tracked, n != 0 && n != 4);
            if (n == 0)
                assert_int_equal(live_stats(space).resident, resident);
            expect_image(space, image);
            do_things(space, n);
        }
        uf_image_close(image);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
        unlink_chain();
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
    how.parent = checkpoint(space, name_of(0), NULL, &result);
    for (unsigned n = 1; n < CHAIN; n++) {
        do_things(space, n);
        if (n % 2) {
            assert_int_equal(uf_image_save(space, name_of(n), &how), 0);
            uf_image_close(how.parent);
            assert_int_equal(uf_image_open(name_of(n), &image), 0);
        } else {
            image = checkpoint(space, name_of(n), how.parent, &result);
            assert_int_equal(result.tracked, 1);
        }
        expect_image(space, image);
        how.parent = image;
    }
    uf_image_close(how.parent);
    assert_int_equal(uf_space_destroy(space), 0);
    unlink_chain();
}

/* The program's own tracking sees what it would see without. */
static void the_programs_tracking_stays_right(void **state)
{
    struct uf_checkpoint_result result;
    struct uf_range ranges[8];
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct uf_space_opts opts = {0};
        struct uf_image *image = NULL;
        struct uf_space *space;

        if (!ways_are_here[way])
            continue;
        space = ways_space((enum way)way, &opts, 64);
        assert_int_equal(uf_dirty_start(space), 0);
        for (unsigned n = 0; n < CHAIN; n++) {
            live_write(live_page(space, 2 * n), 1, NULL);
            image = checkpoint(space, name_of(n), image, &result);
            live_write(live_page(space, 2 * n + 20), 1, NULL);
            /* What was written before it, and after. */
            assert_int_equal(uf_dirty_collect(space, ranges, 8), 2);
            assert_int_equal(ranges[0].start, live_page(space, 2 * n));
            assert_int_equal(ranges[1].start, live_page(space, 2 * n + 20));
        }
        /* And the other way round: collecting takes nothing away. */
        assert_int_equal(result.stored_pages, 2);
        assert_int_equal(uf_dirty_stop(space), 0);
        live_write(live_page(space, 50), 1, NULL);
        image = checkpoint(space, name_of(CHAIN), image, &result);
        assert_int_equal(result.stored_pages, 2);
        uf_image_close(image);
        ways_end(space);
        unlink_chain();
    }
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
    image = checkpoint(space, name_of(0), NULL, &result);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
    assert_int_equal(live_write(live_page(space, 3), 77, NULL), 0);
    assert_int_equal(live_write(live_page(space, 9), 77, NULL), 0);
    faults = live_stats(space).faults;
    for (unsigned n = 1; n < 4; n++) {
        image = checkpoint(space, name_of(n), image, &result);
        assert_int_equal(result.tracked, n > 1);
        assert_int_equal(result.stored_pages, n == 1 ? 2 : 1);
        assert_int_equal(live_stats(space).faults, faults);
        expect_image(space, image);
        live_write(live_page(space, 3), (unsigned char)n, NULL);
        faults = live_stats(space).faults;
    }
    uf_image_close(image);
    assert_int_equal(uf_space_destroy(space), 0);
    unlink_chain();
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
        image = checkpoint(space, name_of(n), image, &result);
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
    unlink_chain();
}

/* ---- children ---- */

/* What children do not get is in the image, and they do not get it after. */
static void what_children_do_not_get(void **state)
{
    struct uf_space_opts opts = {.len_bytes = LOT_PAGES * page_size(),
                                 .fork = UF_FORK_NONE};
    struct uf_space *all = live_space(&opts, 8), *some;
    struct uf_checkpoint_result result;
    struct uf_image *image;
    int status = 0;
    pid_t child;

    (void)state;
    opts.fork = UF_FORK_ZERO;
    some = live_space(&opts, 8);
    for (size_t i = 0; i < 8; i++) {
        live_write(live_page(all, i), 5, NULL);
        live_write(live_page(some, i), 6, NULL);
    }
    assert_int_equal(
        uf_madvise(some, live_page(some, 1), page_size(), MADV_DONTFORK), 0);
    assert_int_equal(
        uf_madvise(some, live_page(some, 4), page_size(), MADV_WIPEONFORK), 0);
    image = checkpoint(all, name_of(0), NULL, &result);
    expect_image(all, image);
    uf_image_close(image);
    image = checkpoint(some, name_of(1), NULL, &result);
    expect_image(some, image);
    uf_image_close(image);
    child = fork();
    if (child == 0) {
        unsigned char byte = 1;
        bool gone = live_read(live_page(all, 2), NULL, NULL) == SIGSEGV &&
                    live_read(live_page(some, 1), NULL, NULL) == SIGSEGV;
        bool wiped =
            live_read(live_page(some, 4), &byte, NULL) == 0 && byte == 0;

        _exit(gone && wiped ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(uf_space_destroy(all), 0);
    assert_int_equal(uf_space_destroy(some), 0);
    unlink_chain();
}

/* Nobody is told of the child that is used, and none is left. */
static void no_child_is_left(void **state)
{
    struct uf_space *space = live_space(NULL, 8);
    struct uf_checkpoint_result result;
    size_t fds = live_count_fds();

    (void)state;
    live_write(live_page(space, 1), 1, NULL);
    uf_image_close(checkpoint(space, name_of(0), NULL, &result));
    assert_int_equal(waitpid(-1, NULL, __WALL), -1);
    assert_int_equal(live_count_fds(), fds + 1); /* of the tracking */
    assert_true(result.pause_ns > 0);
    assert_int_equal(result.stored_pages, 1);
    assert_int_equal(uf_space_destroy(space), 0);
    unlink_chain();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_of_one_moment),
        cmocka_unit_test(a_chain_has_everything),
        cmocka_unit_test(saving_uses_what_is_known),
        cmocka_unit_test(the_programs_tracking_stays_right),
        cmocka_unit_test(from_an_image_only_what_changed),
        cmocka_unit_test(a_pagers_pages_are_asked_for),
        cmocka_unit_test(what_children_do_not_get),
        cmocka_unit_test(no_child_is_left),
    };
    int skipped = live_begin();

    if (!skipped)
        skipped = ways_begin();
    return skipped ? skipped
                   : cmocka_run_group_tests_name("checkpoints", tests,
                                                 image_dir_set_up,
                                                 image_dir_tear_down);
}
