/* SPDX-License-Identifier: MIT */
/*
 * Images of a space that runs: each is of one moment, whatever others do; nobody's
 * tracking is disturbed, and children get what they would without.
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

#include "lib/chain.h"
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

static unsigned checkpoints(void)
{
    const char *value = getenv("UF_CHECKPOINTS");

    return value && *value ? (unsigned)strtoul(value, NULL, 0) : 40;
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
            image = chain_checkpoint(space, chain_name(n % CHAIN_MAX), image,
                                     &result);
            assert_int_equal(result.tracked, n % CHAIN_MAX != 0);
            for (size_t i = 0; i < WRITERS; i++)
                expect_one_moment(image, &writers[i]);
            if (n % CHAIN_MAX == CHAIN_MAX - 1) { /* and a full one again */
                uf_image_close(image);
                image = NULL;
            }
        }
        atomic_store(&stop, true);
        for (size_t i = 0; i < WRITERS; i++)
            pthread_join(writers[i].thread, NULL);
        image = chain_checkpoint(space, chain_name(CHAIN_MAX), image, &result);
        for (size_t i = 0; i < WRITERS * 64; i++)
            assert_int_equal(word_in(image, i), *word(&writers[0], i));
        uf_image_close(image);
        ways_end(space);
        chain_unlink();
    }
}

/* ---- while others map ---- */

struct mapper {
    pthread_t thread;
    struct uf_space *space;
    size_t first; /* of 64 pages that are its own */
    atomic_bool *stop;
    bool failed;
};

static void *map_until_told(void *arg)
{
    struct mapper *m = arg;
    uintptr_t at = live_page(m->space, m->first);

    for (size_t n = 1; !atomic_load(m->stop) && !m->failed; n++) {
        size_t len = (1 + n * 7 % 60) * page_size();

        m->failed = uf_mmap(m->space, at, len, RW, ANON | MAP_FIXED, -1, 0) !=
                    (intptr_t)at;
        for (size_t i = 0; i < len && !m->failed; i += page_size())
            m->failed = live_write(at + i, (unsigned char)n, NULL) != 0;
        if (n % 3 == 0)
            m->failed |= uf_mprotect(m->space, at, len, PROT_READ) != 0;
        if (n % 5 == 0)
            m->failed |= uf_madvise(m->space, at, len, MADV_DONTFORK) != 0;
        if (n % 2 == 0)
            m->failed |= uf_munmap(m->space, at, len) != 0;
    }
    return NULL;
}

/* Mappings come and go meanwhile; each image opens, and the last one, at rest
 * again, is right. */
static void calls_go_on_meanwhile(void **state)
{
    struct uf_space *space = lot_space(91);
    struct uf_checkpoint_result result;
    struct uf_image *image = NULL;
    struct mapper mappers[2];
    atomic_bool stop = false;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mappers[i] = (struct mapper){
            .space = space, .first = 1000 + 100 * i, .stop = &stop};
        pthread_create(&mappers[i].thread, NULL, map_until_told, &mappers[i]);
    }
    for (unsigned n = 0; n < CHAIN_MAX; n++) {
        image = chain_checkpoint(space, chain_name(n), image, &result);
        assert_int_equal(uf_image_verify(image, NULL), 0);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(mappers[i].thread, NULL);
        assert_false(mappers[i].failed);
    }
    image = chain_checkpoint(space, chain_name(CHAIN_MAX), image, &result);
    assert_int_equal(result.tracked, 1);
    chain_expect(space, image);
    uf_image_close(image);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    chain_unlink();
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
        for (unsigned n = 0; n < CHAIN_MAX; n++) {
            live_write(live_page(space, 2 * n), 1, NULL);
            image = chain_checkpoint(space, chain_name(n), image, &result);
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
        image = chain_checkpoint(space, chain_name(CHAIN_MAX), image, &result);
        assert_int_equal(result.stored_pages, 2);
        uf_image_close(image);
        ways_end(space);
        chain_unlink();
    }
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
    image = chain_checkpoint(all, chain_name(0), NULL, &result);
    chain_expect(all, image);
    uf_image_close(image);
    image = chain_checkpoint(some, chain_name(1), NULL, &result);
    chain_expect(some, image);
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
    chain_unlink();
}

/* Nobody is told of the child that is used, and none is left. */
static void no_child_is_left(void **state)
{
    struct uf_space *space = live_space(NULL, 8);
    struct uf_checkpoint_result result;
    size_t fds = live_count_fds();

    (void)state;
    live_write(live_page(space, 1), 1, NULL);
    uf_image_close(chain_checkpoint(space, chain_name(0), NULL, &result));
    assert_int_equal(waitpid(-1, NULL, __WALL), -1);
    assert_int_equal(live_count_fds(), fds + 1); /* of the tracking */
    assert_true(result.pause_ns > 0);
    assert_int_equal(result.stored_pages, 1);
    assert_int_equal(uf_space_destroy(space), 0);
    chain_unlink();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_of_one_moment),
        cmocka_unit_test(calls_go_on_meanwhile),
        cmocka_unit_test(the_programs_tracking_stays_right),
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
