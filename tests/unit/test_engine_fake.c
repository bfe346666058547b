/* SPDX-License-Identifier: MIT */
/*
 * The whole engine, with real handler threads, on a simulated descriptor that
 * fails by chance or to order. Whatever it answers: every toucher ends
 * satisfied, refused or with SIGSEGV, and the counters add up.
 *
 *     UF_SEED=N UF_BUDGET=RUNS tests/test_unit_engine_fake
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault/engine.h"
#include "lib/fake_uffd.h"
#include "lib/live.h"
#include "ufault/ufault.h"

#define SPACES  3
#define PAGES   48
#define TOUCHES 200
/* No thread has such an id (PID_MAX_LIMIT), least of all a handler: that would
 * be a touch of its own. */
#define TID(n) ((pid_t)(5000000 + (n)))

#define NPAGERS  2
#define HANG_S   240
#define BUDGET   60
#define LEN      ((size_t)1 << 20)
#define OVERFLOW (DEFERRED_MAX + 50)

struct rig {
    struct fake_uffd *fake;
    struct uf_engine *engine;
    struct uf_space *spaces[SPACES];
    atomic_uint errors[5]; /* by enum uf_error_kind */
    uint64_t seed;
};

static void count_error(void *data, const struct uf_error *error)
{
    struct rig *rig = data;

    atomic_fetch_add(&rig->errors[error->kind], 1);
}

/* A pager that is as moody as the descriptor. Its mood depends on nothing but
 * its own calls. */
static ssize_t moody_fill(void *context, const struct uf_fill *r)
{
    atomic_ullong *state = context;
    uint64_t mood = atomic_fetch_add(state, 1) * UINT64_C(0x9e3779b97f4a7c15);

    mood >>= 56;
    memset(r->buffer, 1, r->len_bytes);
    if (mood < 40)
        return -EAGAIN;
    if (mood < 60)
        return -EIO;
    if (mood < 70)
        return 17; /* a lie */
    if (mood < 120)
        return (ssize_t)r->page_bytes;
    return (ssize_t)r->len_bytes;
}

static void rig_up(struct rig *rig, uint64_t seed, uint32_t nhandlers,
                   uint32_t defer_limit_ms)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .nhandlers = nhandlers,
                                  .defer_limit_ms = defer_limit_ms};
    struct uffd handle;

    memset(rig, 0, sizeof(*rig));
    rig->seed = seed ? seed : 1;
    rig->fake = fake_uffd_create();
    assert_non_null(rig->fake);
    handle = fake_uffd_handle(rig->fake);
    assert_int_equal(engine_create_on(&opts, &handle, &rig->engine), 0);
}

static void add_space(struct rig *rig, size_t i, struct uf_pager *pager,
                      uint32_t window_pages, bool hooks)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = LEN,
                                 .engine = rig->engine,
                                 .heap_pager = pager,
                                 .window_pages = window_pages,
                                 .on_error = hooks ? count_error : NULL,
                                 .hook_data = rig};

    assert_int_equal(uf_space_create(&opts, &rig->spaces[i]), 0);
}

static uintptr_t page_of(struct rig *rig, size_t space, size_t page)
{
    return uf_space_base(rig->spaces[space]) + page * page_size();
}

/* Moves the break of a space, and the simulated mapping with it. */
static void move_break(struct rig *rig, size_t i, size_t npages)
{
    uintptr_t old = uf_brk(rig->spaces[i], 0), to = page_of(rig, i, npages);

    assert_true(uf_brk(rig->spaces[i], to) == to);
    if (to > old)
        fake_map(rig->fake, (struct range){old, to});
    else
        fake_unmap(rig->fake, (struct range){to, old});
}

/* Faults that nobody waits for any more may still be in the queue, or in a
 * handler's hands. */
static void await_none_pending(struct uf_space *space)
{
    while (live_stats(space).pending > 0)
        sched_yield();
}

static void rig_down(struct rig *rig)
{
    for (size_t i = 0; i < SPACES; i++) {
        if (!rig->spaces[i])
            continue;
        live_assert_law(rig->spaces[i]);
        assert_int_equal(uf_space_destroy(rig->spaces[i]), 0);
    }
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
    fake_uffd_destroy(rig->fake);
}

/* --------------------------------------------------------------- by chance */

/* Touches at random, and now and then a break that moves. */
static void disturb(struct rig *rig)
{
    for (unsigned n = 0; n < TOUCHES; n++) {
        uint64_t r = fake_random(&rig->seed);
        size_t space = r % SPACES, page = (r >> 8) % PAGES;

        if (r >> 32 & 1 && n % 16 == 0)
            move_break(rig, space, page);
        else
            fake_touch(rig->fake, TID(n % 7), page_of(rig, space, page),
                       (r >> 16) & 1);
    }
}

static void one_run(uint64_t seed)
{
    static const uint32_t windows[] = {1, 4, 64};
    atomic_ullong moods[NPAGERS] = {seed, seed + 99};
    struct uf_pager *pagers[NPAGERS];
    struct rig rig;

    rig_up(&rig, seed, (uint32_t)(1 + seed % 4),
           (uint32_t)(1 + seed % 3 * 100));
    for (size_t i = 0; i < NPAGERS; i++)
        assert_int_equal(uf_pager_callback(moody_fill, &moods[i], &pagers[i]),
                         0);
    add_space(&rig, 0, NULL, windows[seed % 3], false);
    add_space(&rig, 1, pagers[0], windows[(seed + 1) % 3], true);
    add_space(&rig, 2, pagers[1], windows[(seed + 2) % 3], false);
    for (size_t i = 0; i < SPACES; i++)
        move_break(&rig, i, PAGES);
    fake_script_chance(&rig.fake->script, seed * 77 + 1,
                       (unsigned)(10 + seed % 40));
    disturb(&rig);
    fake_await_all_answered(rig.fake);
    fake_script_chance(&rig.fake->script, 1, 0);
    rig_down(&rig);
    for (size_t i = 0; i < NPAGERS; i++)
        uf_pager_unref(pagers[i]);
}

/* Any errno at any call, moody pagers, breaks that move: all are answered. */
static void every_fault_is_answered_under_random_failures(void **state)
{
    uint64_t seed = fake_env("UF_SEED", 1);
    uint64_t runs = fake_env("UF_BUDGET", BUDGET);

    (void)state;
    for (uint64_t i = 0; i < runs; i++) {
        if (runs > BUDGET && i % 100 == 0)
            printf("seed %llu\n", (unsigned long long)(seed + i));
        one_run(seed + i);
    }
}

/* Nothing fails: faults, pages and touchers are as many as they should be. */
static void without_failures_the_counts_are_exact(void **state)
{
    struct uf_stats s;
    struct rig rig;

    (void)state;
    rig_up(&rig, 1, 2, 0);
    add_space(&rig, 0, NULL, 1, false);
    move_break(&rig, 0, PAGES);
    for (size_t i = 0; i < PAGES; i++)
        fake_touch(rig.fake, TID(7), page_of(&rig, 0, i), i % 2);
    fake_await_all_answered(rig.fake);
    s = live_stats(rig.spaces[0]);
    assert_int_equal(s.faults, fake_faults(rig.fake));
    assert_int_equal(s.faults_write, PAGES / 2);
    assert_int_equal(s.installed, PAGES);
    assert_int_equal(s.pages_zero, rig.fake->nzero);
    assert_int_equal(s.pages_installed, rig.fake->nzero + rig.fake->nprivate);
    assert_int_equal(s.resident, PAGES);
    rig_down(&rig);
}

/* -------------------------------------------------------------- deferring --
 */

/* More faults than the queue holds, all of which the kernel has no memory for:
 * none is lost, and all are served when it has. */
static void an_overflowing_queue_loses_nothing(void **state)
{
    size_t npages = LEN / page_size() - 1;
    struct uf_stats s;
    struct rig rig;

    (void)state;
    rig_up(&rig, 1, 2, 100000);
    add_space(&rig, 0, NULL, 1, false);
    move_break(&rig, 0, npages);
    fake_script_hold(&rig.fake->script, FAKE_COPY, -ENOMEM);
    for (size_t i = 0; i < OVERFLOW; i++)
        fake_touch(rig.fake, TID(i), page_of(&rig, 0, i % npages), true);
    fake_await_read(rig.fake, OVERFLOW + 20);
    assert_int_equal(fake_asleep(rig.fake), OVERFLOW);
    fake_script_hold(&rig.fake->script, FAKE_COPY, 0);
    fake_await_all_answered(rig.fake);
    await_none_pending(rig.spaces[0]);
    s = live_stats(rig.spaces[0]);
    assert_true(s.stale > 0); /* sent back for want of room */
    assert_true(s.deferred > OVERFLOW / 2);
    assert_int_equal(s.refused, 0);
    assert_int_equal(s.resident, npages);
    rig_down(&rig);
}

/* What cannot be answered within the limit is refused, and said so: reads and
 * writes, for either errno that means "not now". */
static void beyond_the_limit_a_fault_is_refused(void **state)
{
    static const int errs[] = {-ENOMEM, -EAGAIN};

    (void)state;
    for (size_t e = 0; e < 2; e++) {
        struct rig rig;
        size_t a, b;

        rig_up(&rig, 1, 2, 2);
        add_space(&rig, 0, NULL, 1, true);
        move_break(&rig, 0, PAGES);
        fake_script_hold(&rig.fake->script, FAKE_COPY, errs[e]);
        fake_script_hold(&rig.fake->script, FAKE_ZEROPAGE, errs[e]);
        a = fake_touch(rig.fake, TID(1), page_of(&rig, 0, 3), true);
        b = fake_touch(rig.fake, TID(2), page_of(&rig, 0, 4), false);
        fake_await_all_answered(rig.fake);
        assert_int_equal(fake_toucher_state(rig.fake, a), TOUCHER_REFUSED);
        assert_int_equal(fake_toucher_state(rig.fake, b), TOUCHER_REFUSED);
        await_none_pending(rig.spaces[0]);
        assert_int_equal(live_stats(rig.spaces[0]).refused, 2);
        assert_true(live_stats(rig.spaces[0]).deferred >= 2);
        assert_int_equal(atomic_load(&rig.errors[UF_ERROR_INSTALL]), 2);
        rig_down(&rig);
    }
}

/* A space that goes while faults of it are put off, and another one in its
 * place: they are not counted there. */
static void deferred_faults_die_with_their_space(void **state)
{
    uintptr_t base;
    struct rig rig;

    (void)state;
    for (unsigned n = 0; n < 20; n++) {
        rig_up(&rig, 1, 1 + n % 2, 100000);
        add_space(&rig, 0, NULL, 1, false);
        base = uf_space_base(rig.spaces[0]);
        move_break(&rig, 0, PAGES);
        fake_script_hold(&rig.fake->script, FAKE_COPY, -ENOMEM);
        for (size_t i = 0; i < PAGES; i++)
            fake_touch(rig.fake, TID(1), page_of(&rig, 0, i), true);
        while (live_stats(rig.spaces[0]).deferred < PAGES)
            sched_yield();
        /* As munmap would. */
        fake_unmap(rig.fake, (struct range){base, base + LEN});
        assert_int_equal(uf_space_destroy(rig.spaces[0]), 0);
        assert_int_equal(fake_asleep(rig.fake), 0);
        add_space(&rig, 0, NULL, 1, false);
        move_break(&rig, 0, PAGES);
        fake_script_hold(&rig.fake->script, FAKE_COPY, 0);
        fake_touch(rig.fake, TID(1), page_of(&rig, 0, PAGES - 1), true);
        fake_await_all_answered(rig.fake);
        while (atomic_load(&rig.engine->channels[0]->deferred.ntimed) > 0)
            sched_yield();
        live_assert_law(rig.spaces[0]);
        rig_down(&rig);
    }
}

/* --------------------------------------------------------------- teardown --
 */

/* The descriptor fails under the engine: each space's hook is told once, and
 * destroying does not hang. */
static void a_failed_descriptor_is_reported_and_ends(void **state)
{
    (void)state;
    for (uint32_t nhandlers = 1; nhandlers <= 4; nhandlers++) {
        struct rig rig;

        rig_up(&rig, 1, nhandlers, 0);
        for (size_t i = 0; i < SPACES; i++) {
            add_space(&rig, i, NULL, 1, true);
            move_break(&rig, i, PAGES);
            fake_touch(rig.fake, TID(1), page_of(&rig, i, 0), true);
        }
        fake_await_all_answered(rig.fake);
        fake_break(rig.fake);
        while (atomic_load(&rig.errors[UF_ERROR_ENGINE]) < SPACES)
            sched_yield();
        rig_down(&rig);
        assert_int_equal(atomic_load(&rig.errors[UF_ERROR_ENGINE]), SPACES);
    }
}

/* One of two: the other's handlers end as well, who wait at it in a poll. */
static void one_of_two_descriptors_fails(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .ndescriptors = 2};

    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        struct fake_uffd *fakes[2] = {fake_uffd_create(), fake_uffd_create()};
        struct uffd handles[2] = {fake_uffd_handle(fakes[0]),
                                  fake_uffd_handle(fakes[1])};
        struct rig rig = {.fake = fakes[0]};

        assert_int_equal(engine_create_on(&opts, handles, &rig.engine), 0);
        add_space(&rig, 0, NULL, 1, true);
        fake_break(fakes[broken]);
        while (atomic_load(&rig.errors[UF_ERROR_ENGINE]) < 1)
            sched_yield();
        assert_int_equal(uf_space_destroy(rig.spaces[0]), 0);
        assert_int_equal(uf_engine_destroy(rig.engine), 0);
        assert_int_equal(atomic_load(&rig.errors[UF_ERROR_ENGINE]), 1);
        fake_uffd_destroy(fakes[0]);
        fake_uffd_destroy(fakes[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_failures_the_counts_are_exact),
        cmocka_unit_test(every_fault_is_answered_under_random_failures),
        cmocka_unit_test(an_overflowing_queue_loses_nothing),
        cmocka_unit_test(beyond_the_limit_a_fault_is_refused),
        cmocka_unit_test(deferred_faults_die_with_their_space),
        cmocka_unit_test(a_failed_descriptor_is_reported_and_ends),
        cmocka_unit_test(one_of_two_descriptors_fails),
    };

    alarm(HANG_S);
    return cmocka_run_group_tests_name("engine, faked", tests, NULL, NULL);
}
