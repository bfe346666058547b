/* SPDX-License-Identifier: MIT */
/*
 * Pages that come in the background: without a fault, without anybody waiting
 * for them, and without keeping anybody who waits for another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "base/slab.h"
#include "fault/background.h"
#include "fault/engine.h"
#include "lib/live.h"
#include "mm/advice.h"

#define PAGES 1024
#define RW    (PROT_READ | PROT_WRITE)

static void await_resident(struct uf_space *space, size_t npages)
{
    while (live_stats(space).resident < npages)
        sched_yield();
}

static unsigned char byte_at(uintptr_t addr)
{
    return *(volatile unsigned char *)addr;
}

/* What a pager that fills with live_pattern has at 0 and on. */
static bool is_pattern(uintptr_t start, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i += 1024)
        if (byte_at(start + i) != live_pattern(i))
            return false;
    return true;
}

static uintptr_t map_pager(struct uf_space *space, struct live_pager *p,
                           size_t npages)
{
    intptr_t at = uf_mmap_pager(space, 0, npages * page_size(), RW, MAP_PRIVATE,
                                p->pager, 0);

    assert_true(at > 0);
    return (uintptr_t)at;
}

/* ----------------------------------------------------------------- zeros -- */

static void pages_of_zeros_come_without_a_fault(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);
    struct uf_stats s;

    (void)state;
    *(volatile char *)live_page(space, 100) = 7;
    assert_int_equal(uf_prefetch(space, live_page(space, 0), PAGES * 4096), 0);
    await_resident(space, PAGES);
    s = live_stats(space);
    assert_int_equal(s.prefetched, PAGES - 1);
    assert_int_equal(s.pages_installed, PAGES);
    assert_int_equal(s.faults, 1);
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(byte_at(live_page(space, i)), i == 100 ? 7 : 0);
        *(volatile char *)live_page(space, i) = 1;
    }
    assert_int_equal(live_stats(space).faults, 1);
    assert_int_equal(live_mincore(live_page(space, 0), live_page(space, PAGES)),
                     PAGES);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void with_the_huge_policy_they_come_in_blocks(void **state)
{
    struct uf_space_opts opts = {.address = live_aligned_address(),
                                 .flags = UF_SPACE_HUGE};
    struct uf_space *space = live_space(&opts, PAGES);

    (void)state;
    assert_int_equal(uf_prefetch(space, live_page(space, 0), PAGES * 4096), 0);
    await_resident(space, PAGES);
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* For plain memory madvise(2) has WILLNEED do nothing. */
static void willneed_brings_in_no_zeros(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);

    (void)state;
    assert_int_equal(
        uf_madvise(space, live_page(space, 0), PAGES * 4096, MADV_WILLNEED), 0);
    assert_int_equal(uf_prefetch(space, live_page(space, 0), 4096), 0);
    await_resident(space, 1);
    assert_int_equal(live_stats(space).resident, 1);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------------- giving way -- */

static size_t naps(const struct uf_space *space)
{
    struct background *background = background_running(space->engine);

    return background ? background_naps(background) : 0;
}

/* Blocks in a pager's fill until the gate opens. */
static ssize_t waits_at_gate(struct live_pager *p,
                             const struct uf_fill *request)
{
    live_gate_pass(p->arg);
    return live_fill(request, request->page_bytes);
}

static void *touch(void *arg)
{
    *(volatile char *)arg = 1;
    return NULL;
}

/* As long as one waits; in the end its pager is what it waits for. */
static void a_pending_fault_goes_first(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space = live_space(NULL, 4);
    struct live_pager p;
    pthread_t toucher;
    uintptr_t at;
    size_t before;

    (void)state;
    live_pager_init(&p, waits_at_gate, &gate);
    at = map_pager(space, &p, 4);
    assert_int_equal(pthread_create(&toucher, NULL, touch, (void *)at), 0);
    live_gate_await(&gate, 1);
    assert_int_equal(live_stats(space).pending, 1);
    before = naps(space);
    assert_int_equal(uf_prefetch(space, live_page(space, 0), 4096), 0);
    while (live_stats(space).prefetched == 0)
        sched_yield();
    assert_true(naps(space) >= before + BACKGROUND_GIVE_WAY);
    live_gate_open(&gate);
    pthread_join(toucher, NULL);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* Faults that are answered at once, of any space: it lets some time pass. */
static void faults_of_other_spaces_go_first(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .kind = live_engine_kind()};
    struct uf_space_opts space_opts = {0};
    struct uf_space *space, *other;
    size_t before;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &space_opts.engine), 0);
    space = live_space(&space_opts, 4);
    other = live_space(&space_opts, 4);
    before = naps(space);
    *(volatile char *)live_page(other, 0) = 1;
    assert_int_equal(uf_prefetch(space, live_page(space, 0), 4096), 0);
    await_resident(space, 1);
    assert_true(naps(space) > before);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_space_destroy(other), 0);
    assert_int_equal(uf_engine_destroy(space_opts.engine), 0);
}

/* ---------------------------------------------------------------- pagers -- */

static void willneed_brings_in_what_a_pager_has(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct live_pager p;
    uintptr_t at;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    at = map_pager(space, &p, PAGES);
    assert_int_equal(uf_madvise(space, at, PAGES * 4096, MADV_WILLNEED), 0);
    await_resident(space, PAGES);
    assert_true(is_pattern(at, PAGES * 4096));
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

static ssize_t fails_on_odd_blocks(struct live_pager *p,
                                   const struct uf_fill *request)
{
    atomic_uint *fail = p->arg;

    if (atomic_load(fail) && (request->offset / 65536) % 2)
        return -EIO;
    return live_fill(request, request->page_bytes);
}

/* A page that cannot be had now is not refused: its touch asks again. */
static void a_failure_is_left_to_the_touch(void **state)
{
    struct live_log log = LIVE_LOG_INIT;
    struct uf_space_opts opts = {.on_error = live_on_error, .hook_data = &log};
    struct uf_space *space = live_space(&opts, 4);
    atomic_uint fail = 1;
    struct live_pager p;
    uintptr_t at;

    (void)state;
    live_pager_init(&p, fails_on_odd_blocks, &fail);
    at = map_pager(space, &p, 64);
    assert_int_equal(uf_prefetch(space, at, 64 * 4096), 0);
    await_resident(space, 32);
    while (live_stats(space).pager_failures < 32)
        sched_yield();
    assert_int_equal(live_stats(space).resident, 32);
    assert_int_equal(live_errors(&log, UF_ERROR_PAGER_FAILED), 0);
    atomic_store(&fail, 0);
    assert_true(is_pattern(at, 64 * 4096));
    assert_int_equal(live_stats(space).refused, 0);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* The first page's fill waits at a gate; others do not. */
static ssize_t blocks_at_first(struct live_pager *p,
                               const struct uf_fill *request)
{
    if (request->offset == 0)
        live_gate_pass(p->arg);
    return live_fill(request, request->page_bytes);
}

static void a_blocked_prefetch_keeps_no_fault_waiting(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space = live_space(NULL, 64);
    struct live_pager p;
    uintptr_t at;

    (void)state;
    live_pager_init(&p, blocks_at_first, &gate);
    at = map_pager(space, &p, PAGES);
    assert_int_equal(uf_prefetch(space, at, PAGES * 4096), 0);
    live_gate_await(&gate, 1);
    /* The background thread is inside the pager now, and stays there. */
    for (size_t i = 64; i < 512; i++)
        assert_int_equal(byte_at(at + i * 4096), live_pattern(i * 4096));
    *(volatile char *)live_page(space, 3) = 1;
    assert_int_equal(uf_munmap(space, at + 512 * 4096, 512 * 4096), 0);
    live_gate_open(&gate);
    await_resident(space, 512 + 1);
    assert_true(is_pattern(at, 512 * 4096));
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* provokes: uf_prefetch -EAGAIN */
static void too_many_ranges_are_refused(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space = live_space(NULL, 4);
    struct live_pager p;
    unsigned n = 0;
    uintptr_t at;
    int err;

    (void)state;
    live_pager_init(&p, blocks_at_first, &gate);
    at = map_pager(space, &p, PAGES);
    assert_int_equal(uf_prefetch(space, at, 4096), 0);
    live_gate_await(&gate, 1);
    while ((err = uf_prefetch(space, at + 4096, 4096)) == 0)
        n++;
    assert_int_equal(err, -EAGAIN);
    assert_int_equal(n, BACKGROUND_RANGES - 1);
    /* madvise does not say so. */
    assert_int_equal(uf_madvise(space, at, 4096, MADV_WILLNEED), 0);
    live_gate_open(&gate);
    await_resident(space, 2);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

static ssize_t calls_back(struct live_pager *p, const struct uf_fill *request)
{
    struct uf_space **space = p->arg;

    if (uf_prefetch(*space, uf_space_base(*space), 4096) != -EDEADLK)
        return -EIO;
    return live_fill(request, request->len_bytes);
}

/* provokes: uf_prefetch -EDEADLK */
static void a_pager_may_not_ask_for_pages(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct live_pager p;
    uintptr_t at;

    (void)state;
    live_pager_init(&p, calls_back, &space);
    at = map_pager(space, &p, 4);
    assert_int_equal(uf_prefetch(space, at, 4 * 4096), 0);
    await_resident(space, 4);
    assert_true(is_pattern(at, 4 * 4096));
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* --------------------------------------------------------- what may go -- */

/* provokes: uf_prefetch -EINVAL -ENOMEM */
static void what_is_wrong_is_said(void **state)
{
    struct uf_space *space = live_space(NULL, 8);

    (void)state;
    assert_int_equal(uf_prefetch(NULL, 4096, 4096), -EINVAL);
    assert_int_equal(uf_prefetch(space, live_page(space, 0) + 1, 1), -EINVAL);
    assert_int_equal(uf_prefetch(space, live_page(space, 0), SIZE_MAX - 100),
                     -EINVAL);
    assert_int_equal(uf_prefetch(space, live_page(space, 0), 0), 0);
    assert_int_equal(uf_prefetch(space, live_page(space, 4), 8 * 4096),
                     -ENOMEM);
    await_resident(space, 4); /* what is mapped comes */
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Wherever the hole is, what is mapped comes. */
static void holes_are_passed_over(void **state)
{
    const size_t holes[] = {0, 7, 15};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct uf_space *space = live_space(NULL, 16);
        uintptr_t hole = live_page(space, holes[i]);

        assert_int_equal(uf_munmap(space, hole, 4096), 0);
        assert_int_equal(uf_prefetch(space, live_page(space, 0), 16 * 4096),
                         -ENOMEM);
        await_resident(space, 15);
        assert_int_equal(live_mincore(hole, hole + 4096), 0);
        assert_int_equal(uf_prefetch(space, hole, 4096), -ENOMEM);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* The first starts a thread, which needs records. */
static void without_memory_nothing_is_begun(void **state)
{
    struct uf_space *space = live_space(NULL, 16);
    unsigned long n = 0;
    int err;

    (void)state;
    do {
        slab_inject_failure(++n, 1);
        err = uf_prefetch(space, live_page(space, 0), 16 * 4096);
        slab_inject_failure(0, 0);
        assert_true(err == 0 || err == -ENOMEM);
    } while (err);
    assert_true(n > 3);
    await_resident(space, 16);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void a_space_may_go_with_ranges_queued(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts)};
    struct uf_engine *engine;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    for (unsigned i = 0; i < 50; i++) {
        struct uf_space_opts space_opts = {.engine = engine};
        struct uf_space *space = live_space(&space_opts, PAGES);

        for (unsigned k = 0; k < 16; k++)
            assert_int_equal(
                uf_prefetch(space, live_page(space, k * 64), 64 * 4096), 0);
        if (i % 2)
            await_resident(space, 1 + i * 4);
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_int_equal(uf_engine_destroy(engine), 0);
}

static void a_range_may_go_while_queued(void **state)
{
    struct uf_space *space = live_space(NULL, PAGES);

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(uf_prefetch(space, live_page(space, 0), PAGES * 4096),
                         0);
        assert_int_equal(uf_munmap(space, live_page(space, 256), 512 * 4096),
                         0);
        assert_int_equal(
            live_mincore(live_page(space, 256), live_page(space, 768)), 0);
        assert_int_equal(uf_mmap(space, live_page(space, 256), 512 * 4096, RW,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                                 0),
                         live_page(space, 256));
        assert_int_equal(
            uf_madvise(space, live_page(space, 0), PAGES * 4096, MADV_DONTNEED),
            0);
    }
    assert_int_equal(uf_prefetch(space, live_page(space, 0), PAGES * 4096), 0);
    await_resident(space, PAGES);
    assert_int_equal(live_mincore(live_page(space, 0), live_page(space, PAGES)),
                     PAGES);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_zeros_come_without_a_fault),
        cmocka_unit_test(with_the_huge_policy_they_come_in_blocks),
        cmocka_unit_test(willneed_brings_in_no_zeros),
        cmocka_unit_test(willneed_brings_in_what_a_pager_has),
        cmocka_unit_test(a_failure_is_left_to_the_touch),
        cmocka_unit_test(a_blocked_prefetch_keeps_no_fault_waiting),
        cmocka_unit_test(too_many_ranges_are_refused),
        cmocka_unit_test(a_pager_may_not_ask_for_pages),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_pending_fault_goes_first),
        cmocka_unit_test(faults_of_other_spaces_go_first),
        cmocka_unit_test(holes_are_passed_over),
        cmocka_unit_test(without_memory_nothing_is_begun),
        cmocka_unit_test(a_space_may_go_with_ranges_queued),
        cmocka_unit_test(a_range_may_go_while_queued),
    };
    int skip = live_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
