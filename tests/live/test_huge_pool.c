/* SPDX-License-Identifier: MIT */
/*
 * Where huge pages come from: a pool that may be empty, starved, small or not
 * there, a kernel that does not move them, small pages that are made huge later;
 * and threads that meet in a block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "fault/background.h"
#include "fault/engine.h"
#include "fault/huge.h"
#include "fault/pool.h"
#include "lib/fake_wrap.h"
#include "lib/hostcalls.h"
#include "lib/live.h"
#include "live/huge_space.h"
#include "mm/advice.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

/* -------------------------------------------------------------- fallback -- */

static void an_exhausted_pool_is_made_up_for_by_copies(void **state)
{
    struct uf_space *space = huge_space(4);
    struct huge_pool *pool = background_pool(space->background);
    void *taken[64];
    size_t n = 0;

    (void)state;
    assert_non_null(pool);
    /* All of it: what the thread is filling is taken a moment later. */
    while (n < 32)
        if ((taken[n] = pool_take(pool)))
            n++;
    huge_set(huge_block(space, 0), 1);
    huge_assert_counts(space, 0, 1, BLOCK);
    assert_int_equal(huge_count_kernels(space, 4), 0);
    assert_true(huge_is_zero(huge_block(space, 0) + 4096, HUGE - 4096));
    for (size_t i = 0; i < n; i++)
        pool_give_back(pool, taken[i], POOL_IN_PART);
    background_kick(space->background);
    huge_await_ready(space, 32); /* each has been mapped anew */
    huge_set(huge_block(space, 1), 1);
    huge_assert_counts(space, 1, 1, 2 * BLOCK);
    huge_destroy(space);
}

/* A policy by madvise, and no thread: who touches zeroes the page. */
static struct uf_space *space_without_thread(uint32_t flags, size_t nblocks)
{
    struct uf_space *space =
        huge_space_with(flags, UF_FORK_DEFAULT, NULL, nblocks * BLOCK);

    assert_int_equal(
        uf_madvise(space, huge_block(space, 0), nblocks * HUGE, MADV_HUGEPAGE),
        0);
    assert_null(background_running(space->engine));
    return space;
}

/* The kernel has none for a while: small pages, and huge ones again later. */
static void a_starved_pool_is_made_up_for_by_copies(void **state)
{
    struct uf_space *space = space_without_thread(0, 4);
    const struct huge_pool *pool = background_pool(space->background);

    (void)state;
    assert_int_equal(uf_populate(space, huge_block(space, 0), HUGE), 0);
    huge_assert_counts(space, 1, 0, BLOCK);
    host_fail(HOST_MADVISE, 1, ENOMEM);
    assert_int_equal(uf_populate(space, huge_block(space, 1), HUGE), 0);
    assert_int_equal(host_fail_end(), 1);
    huge_assert_counts(space, 1, 1, 2 * BLOCK);
    assert_true(huge_is_zero(huge_block(space, 1), HUGE));
    while (pool_starves_ns(pool) > 0)
        sched_yield();
    huge_set(huge_block(space, 2), 1);
    huge_assert_counts(space, 2, 1, 3 * BLOCK);
    huge_destroy(space);
}

static void a_small_pool_keeps_to_its_limit(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .huge_pool_bytes = 2 * HUGE};
    struct uf_engine *engine;
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    space = huge_space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, engine, 12 * BLOCK);
    for (size_t i = 0; i < 12; i++) {
        if (i % 4 == 0)
            huge_await_ready(space, 2);
        huge_set(huge_block(space, i), 1);
        assert_true(live_stats(space).huge_pool_ready <= 2);
    }
    assert_int_equal(live_stats(space).resident, 12 * BLOCK);
    huge_await_ready(space, 2);
    huge_destroy(space);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

static void a_pool_of_nothing_is_allowed(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .huge_pool_bytes = 1};
    struct uf_engine *engine;
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    space = huge_space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, engine, 2 * BLOCK);
    huge_set(huge_block(space, 0), 1);
    huge_assert_counts(space, 0, 1, BLOCK);
    huge_destroy(space);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

struct rig {
    struct fake_wrap wrap;
    struct uf_engine *engine;
    struct uf_space *space;
};

static void rig_up(struct rig *rig, bool can_move)
{
    struct uf_engine_opts opts = {.size = sizeof(opts)};
    struct uffd handle;

    memset(rig, 0, sizeof(*rig));
    assert_int_equal(fake_wrap_init(&rig->wrap), 0);
    handle = fake_wrap_handle(&rig->wrap);
    handle.can_move = can_move;
    assert_int_equal(engine_create_on(&opts, &handle, &rig->engine), 0);
    rig->space =
        huge_space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, rig->engine, 8 * BLOCK);
}

static void rig_down(struct rig *rig)
{
    huge_destroy(rig->space);
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
}

static void a_kernel_without_move_copies(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, false);
    huge_set(huge_block(rig.space, 0), 1);
    huge_assert_counts(rig.space, 0, 1, BLOCK);
    assert_int_equal(fake_script_calls(&rig.wrap.script, FAKE_MOVE), 0);
    rig_down(&rig);
}

static void what_cannot_be_moved_is_copied(void **state)
{
    const int errors[] = {-EBUSY, -EINVAL, -ENOENT, -EAGAIN, -ENOMEM};
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    for (size_t i = 0; i < 5; i++)
        fake_script_add(&rig.wrap.script,
                        (struct fake_row){FAKE_MOVE, (unsigned)i + 1, errors[i],
                                          errors[i]});
    for (size_t i = 0; i < 5; i++) {
        huge_set(huge_block(rig.space, i) + 7 * 4096, 9);
        assert_true(
            huge_is_zero(huge_block(rig.space, i) + 8 * 4096, HUGE - 8 * 4096));
    }
    huge_assert_counts(rig.space, 0, 5, 5 * BLOCK);
    huge_set(huge_block(rig.space, 5), 1);
    huge_assert_counts(rig.space, 1, 5, 6 * BLOCK);
    rig_down(&rig);
}

/* Part has moved; the rest does, or is copied. */
static void what_moves_in_part_is_whole_all_the_same(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 1, -EAGAIN, 100 * 4096});
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 2, -EBUSY, -EBUSY});
    huge_set(huge_block(rig.space, 0) + HUGE / 2, 1);
    assert_true(huge_is_zero(huge_block(rig.space, 0), HUGE / 2));
    huge_assert_counts(rig.space, 0, 1, BLOCK);
    /* The slot it came from is as good as new. */
    huge_await_ready(rig.space, 32);
    huge_set(huge_block(rig.space, 1), 1);
    assert_int_equal(live_stats(rig.space).huge_installed, 1);
    rig_down(&rig);
}

/* Another thread was faster, says the kernel; it was not: the page comes. */
static void a_page_that_was_said_to_be_there_comes(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 1, -EEXIST, -EEXIST});
    huge_set(huge_block(rig.space, 0) + HUGE / 2, 1);
    assert_int_equal(huge_get(huge_block(rig.space, 0) + HUGE / 2), 1);
    assert_int_equal(huge_get(huge_block(rig.space, 0)), 0);
    rig_down(&rig);
}

/* ------------------------------------------------------------- promotion -- */

static void complete_blocks_are_promoted(void **state)
{
    struct uf_space *space = huge_space_with(UF_SPACE_HUGE | UF_SPACE_PROMOTE,
                                             UF_FORK_DEFAULT, NULL, 0);

    (void)state;
    /* A heap that grows a little at a time: no touch finds a whole block. */
    for (size_t i = 0; i < 3 * BLOCK; i += 16) {
        assert_true(uf_sbrk(space, 16 * 4096) > 0);
        for (size_t k = 0; k < 16; k++)
            huge_set(live_page(space, i + k), (unsigned char)(i + k));
    }
    while (live_stats(space).huge_promoted < 3)
        sched_yield();
    assert_int_equal(huge_count_kernels(space, 3), 3);
    huge_assert_counts(space, 0, 0, 3 * BLOCK);
    for (size_t i = 0; i < 3 * BLOCK; i++)
        assert_int_equal(huge_get(live_page(space, i)), (unsigned char)i);
    huge_destroy(space);
}

/* A complete block of small pages, whose policy came later. */
static void make_complete(struct uf_space *space, size_t n)
{
    assert_int_equal(
        uf_madvise(space, huge_block(space, n), HUGE, MADV_NOHUGEPAGE), 0);
    for (size_t i = 0; i < BLOCK; i++)
        huge_set(huge_block(space, n) + i * 4096, 1);
    assert_int_equal(
        uf_madvise(space, huge_block(space, n), HUGE, MADV_HUGEPAGE), 0);
}

static struct range block_range(struct uf_space *space, size_t n)
{
    return (struct range){huge_block(space, n), huge_block(space, n) + HUGE};
}

/* What may go away is tried again; what will not is counted. */
static void a_refused_promotion_is_not_lost(void **state)
{
    const int passing[] = {EAGAIN, EBUSY, ENOMEM};
    struct uf_space *space = space_without_thread(0, 4);

    (void)state;
    make_complete(space, 1);
    for (size_t i = 0; i < 3; i++) {
        host_fail(HOST_MADVISE, 1, passing[i]);
        assert_int_equal(huge_promote(space, block_range(space, 1)), -EAGAIN);
        assert_int_equal(host_fail_end(), 1);
        assert_int_equal(live_stats(space).huge_unpromoted, 0);
    }
    host_fail(HOST_MADVISE, 1, EINVAL);
    assert_int_equal(huge_promote(space, block_range(space, 1)), 0);
    assert_int_equal(host_fail_end(), 1);
    assert_int_equal(live_stats(space).huge_unpromoted, 1);
    assert_int_equal(huge_promote(space, block_range(space, 1)), 0);
    assert_int_equal(live_stats(space).huge_promoted, 1);
    assert_int_equal(huge_count_kernels(space, 4), 1);
    /* Huge already, or no longer complete: nothing to do, nothing counted. */
    assert_int_equal(huge_promote(space, block_range(space, 1)), 0);
    assert_int_equal(huge_promote(space, block_range(space, 2)), 0);
    assert_int_equal(live_stats(space).huge_promoted, 1);
    assert_int_equal(live_stats(space).huge_unpromoted, 1);
    huge_destroy(space);
}

static void blocks_beyond_the_queue_are_counted(void **state)
{
    struct uf_space *space = space_without_thread(0, 4);

    (void)state;
    for (size_t i = 0; i < BACKGROUND_BLOCKS; i++)
        background_promote(space->background, space, block_range(space, 0));
    assert_int_equal(live_stats(space).huge_unpromoted, 0);
    background_promote(space->background, space, block_range(space, 0));
    assert_int_equal(live_stats(space).huge_unpromoted, 1);
    huge_destroy(space);
}

/* --------------------------------------------------------------- threads -- */

#define TOUCHERS 4
#define BLOCKS   16

struct storm {
    struct uf_space *space;
    atomic_bool stop;
    atomic_uint wrong;
};

struct toucher {
    pthread_t thread;
    struct storm *storm;
    unsigned number;
};

/* Each thread has a page of every block; all meet in the block. */
static void *touch_all(void *arg)
{
    struct toucher *t = arg;

    for (unsigned round = 0; round < 4; round++)
        for (size_t i = 0; i < BLOCKS; i++) {
            uintptr_t at = huge_block(t->storm->space, i) + t->number * 4096;

            if (round > 0 && huge_get(at) != t->number + 1)
                atomic_fetch_add(&t->storm->wrong, 1);
            huge_set(at, (unsigned char)(t->number + 1));
        }
    return NULL;
}

/* Maps, touches and unmaps blocks, and halves of them, beside. */
static void *come_and_go(void *arg)
{
    struct storm *storm = arg;

    while (!atomic_load(&storm->stop)) {
        intptr_t p = uf_mmap(storm->space, 0, 2 * HUGE, PROT_READ | PROT_WRITE,
                             ANON, -1, 0);

        if (p <= 0)
            continue;
        huge_set((uintptr_t)p, 1);
        huge_set((uintptr_t)p + HUGE, 1);
        uf_munmap(storm->space, (uintptr_t)p + HUGE / 2, HUGE);
        if (huge_get((uintptr_t)p) != 1)
            atomic_fetch_add(&storm->wrong, 1);
        uf_munmap(storm->space, (uintptr_t)p, 2 * HUGE);
    }
    return NULL;
}

/* Touches what is unmapped meanwhile, if there is still anything. */
static void threads_meet_in_a_block(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .nhandlers = 3};
    struct toucher touchers[TOUCHERS];
    struct uf_engine *engine;
    struct storm storm = {.wrong = 0};
    pthread_t other;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    storm.space = huge_space_with(UF_SPACE_HUGE | UF_SPACE_PROMOTE,
                                  UF_FORK_DEFAULT, engine, BLOCKS * BLOCK);
    assert_int_equal(pthread_create(&other, NULL, come_and_go, &storm), 0);
    for (unsigned i = 0; i < TOUCHERS; i++) {
        touchers[i] = (struct toucher){.storm = &storm, .number = i};
        assert_int_equal(
            pthread_create(&touchers[i].thread, NULL, touch_all, &touchers[i]),
            0);
    }
    for (unsigned i = 0; i < TOUCHERS; i++)
        pthread_join(touchers[i].thread, NULL);
    atomic_store(&storm.stop, true);
    pthread_join(other, NULL);
    assert_int_equal(atomic_load(&storm.wrong), 0);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_true(huge_is_zero(huge_block(storm.space, i) + TOUCHERS * 4096,
                                 HUGE - TOUCHERS * 4096));
    assert_int_equal(
        live_stats(storm.space).resident,
        live_mincore(huge_block(storm.space, 0), huge_block(storm.space, 32)));
    huge_destroy(storm.space);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exhausted_pool_is_made_up_for_by_copies),
        cmocka_unit_test(a_starved_pool_is_made_up_for_by_copies),
        cmocka_unit_test(a_small_pool_keeps_to_its_limit),
        cmocka_unit_test(a_pool_of_nothing_is_allowed),
        cmocka_unit_test(a_kernel_without_move_copies),
        cmocka_unit_test(what_cannot_be_moved_is_copied),
        cmocka_unit_test(what_moves_in_part_is_whole_all_the_same),
        cmocka_unit_test(a_page_that_was_said_to_be_there_comes),
        cmocka_unit_test(complete_blocks_are_promoted),
        cmocka_unit_test(a_refused_promotion_is_not_lost),
        cmocka_unit_test(blocks_beyond_the_queue_are_counted),
        cmocka_unit_test(threads_meet_in_a_block),
    };
    int skip = huge_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
