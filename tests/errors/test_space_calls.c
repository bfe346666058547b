/* SPDX-License-Identifier: MIT */
/*
 * Calls on a space that must be refused: outside it, on no live space, twice,
 * from a handler thread, while faults are in flight.
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
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "lib/live.h"

/* ------------------------------------------------------------------ break --
 */

/* A break outside the space is answered with the unchanged one. */
static void a_break_outside_is_refused(void **state)
{
    struct uf_space *space = live_space(NULL, 2);
    uintptr_t base = uf_space_base(space), end = base + uf_space_len(space);
    uintptr_t before = uf_brk(space, 0);
    const uintptr_t outside[] = {
        1,
        base - 1,
        base - page_size(),
        end + 1,
        end + page_size(),
        (uintptr_t)1 << 47,
        UINTPTR_MAX,
        UINTPTR_MAX - page_size(),
        UINTPTR_MAX - page_size() + 1,
        UINTPTR_MAX - page_size() + 2, /* rounding up wraps to 0 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_true(uf_brk(space, outside[i]) == before);
    assert_int_equal(live_stats(space).brk_refused,
                     sizeof(outside) / sizeof(outside[0]));
    assert_int_equal(live_stats(space).total_vm, 2);
    /* The very end is inside. */
    assert_true(uf_brk(space, end) == end);
    assert_true(uf_brk(space, base) == base);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_sbrk -ENOMEM */
static void increments_that_cannot_be(void **state)
{
    struct uf_space *space = live_space(NULL, 2);
    uintptr_t brk = uf_brk(space, 0);
    const intptr_t increments[] = {
        INTPTR_MAX,
        INTPTR_MIN, /* wraps: glibc's sbrk refuses it too */
        (intptr_t)uf_space_len(space),
        -(intptr_t)brk - 1,
        (intptr_t)1 << 60,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(increments) / sizeof(increments[0]); i++)
        assert_int_equal(uf_sbrk(space, increments[i]), -ENOMEM);
    assert_true(uf_brk(space, 0) == brk);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Limits of 0: nothing can be mapped; what is there stays and may shrink as
 * far as RLIMIT_DATA allows it, which is to the start. */
static void limits_of_nothing(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    uintptr_t base = uf_space_base(space), brk = uf_brk(space, 0);
    uint64_t bytes = 1;

    (void)state;
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, 0), 0);
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_AS, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(uf_sbrk(space, 1), -ENOMEM);
    assert_true(uf_brk(space, brk - page_size()) == brk - page_size());
    assert_int_equal(uf_sbrk(space, 1), -ENOMEM);

    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED), 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_DATA, 0), 0);
    brk = uf_brk(space, 0);
    /* As in the kernel: a lower break is over the limit as well. */
    assert_true(uf_brk(space, brk - page_size()) == brk);
    assert_true(uf_brk(space, base + 1) == brk);
    assert_true(uf_brk(space, base) == base);
    assert_int_equal(uf_sbrk(space, 1), -ENOMEM);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* --------------------------------------------------------------- populate --
 */

/* provokes: uf_populate -EINVAL -ENOMEM */
static void ranges_that_cannot_be_populated(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    uintptr_t base = uf_space_base(space);
    size_t page = page_size(), len = uf_space_len(space);

    (void)state;
    assert_int_equal(uf_populate(space, base + 1, page), -EINVAL);
    assert_int_equal(uf_populate(space, base - 1, page), -EINVAL);
    assert_int_equal(uf_populate(space, base, SIZE_MAX), -EINVAL);
    assert_int_equal(uf_populate(space, base, 0 - base), -EINVAL);
    assert_int_equal(uf_populate(space, 0 - page, page), -EINVAL);
    assert_int_equal(uf_populate(space, 0 - page, 2 * page), -EINVAL);
    assert_int_equal(live_stats(space).resident, 0);

    assert_int_equal(uf_populate(space, base - page, page), -ENOMEM);
    assert_int_equal(uf_populate(space, 0, page), -ENOMEM);
    assert_int_equal(uf_populate(space, base + 4 * page, page), -ENOMEM);
    assert_int_equal(uf_populate(space, base + len, page), -ENOMEM);
    assert_int_equal(live_stats(space).resident, 0);
    assert_int_equal(uf_populate(space, base + 2 * page, len), -ENOMEM);
    assert_int_equal(live_mincore(base + 2 * page, base + 4 * page), 2);
    assert_int_equal(uf_populate(space, base, 0), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static ssize_t fail_from_page_2(struct live_pager *p,
                                const struct uf_fill *request)
{
    (void)p;
    if (request->offset >= 2 * request->page_bytes)
        return -EIO;
    return live_fill(request, request->page_bytes);
}

/* provokes: uf_populate -EFAULT */
static void a_pager_that_fails_while_populating(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, fail_from_page_2, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 4);
    assert_int_equal(uf_populate(space, live_page(space, 0), 4 * page_size()),
                     -EFAULT);
    assert_true(live_is_pattern(space, live_page(space, 0), 2 * page_size()));
    assert_int_equal(live_read(live_page(space, 2), NULL, NULL), SIGBUS);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* ---------------------------------------------------------- no live space --
 */

static int visit_nothing(void *data, const struct uf_vma_info *vma)
{
    (void)data;
    (void)vma;
    return 0;
}

static void refused_by_all(struct uf_space *space)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    struct uf_thread_stats threads[1];
    uint64_t bytes;
    char text[8];

    assert_int_equal(uf_space_base(space), 0);
    assert_int_equal(uf_space_len(space), 0);
    assert_null(uf_space_engine(space));
    assert_int_equal(uf_brk(space, 0), 0);
    assert_int_equal(uf_sbrk(space, 0), -EINVAL);
    assert_int_equal(uf_sbrk(space, 1), -EINVAL);
    assert_int_equal(uf_populate(space, page_size(), page_size()), -EINVAL);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, 1), -EINVAL);
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_AS, &bytes), -EINVAL);
    assert_int_equal(uf_space_walk(space, visit_nothing, NULL), -EINVAL);
    assert_int_equal(uf_space_maps(space, text, sizeof(text)), -EINVAL);
    assert_int_equal(uf_space_smaps(space, text, sizeof(text)), -EINVAL);
    assert_int_equal(uf_space_status(space, text, sizeof(text)), -EINVAL);
    assert_int_equal(uf_space_stats(space, &stats), -EINVAL);
    assert_int_equal(uf_space_thread_stats(space, threads, 1), -EINVAL);
}

/* provokes: uf_sbrk -EINVAL
 * provokes: uf_populate -EINVAL
 * provokes: uf_space_set_limit -EINVAL
 * provokes: uf_space_get_limit -EINVAL
 * provokes: uf_space_walk -EINVAL
 * provokes: uf_space_maps -EINVAL
 * provokes: uf_space_smaps -EINVAL
 * provokes: uf_space_status -EINVAL
 * provokes: uf_space_stats -EINVAL
 * provokes: uf_space_thread_stats -EINVAL
 * provokes: uf_space_destroy -EINVAL */
static void no_space_and_a_destroyed_one(void **state)
{
    struct uf_space *space = live_space(NULL, 1);

    (void)state;
    refused_by_all(NULL);
    assert_int_equal(uf_space_destroy(NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    refused_by_all(space);
    assert_int_equal(uf_space_destroy(space), -EINVAL);
}

/* Destroying twice is answered until a new space has taken the record: then
 * the handle is the new one's. */
static void a_record_is_used_again(void **state)
{
    struct uf_space *old = live_space(NULL, 0), *new;

    (void)state;
    assert_int_equal(uf_space_destroy(old), 0);
    assert_int_equal(uf_space_destroy(old), -EINVAL);
    new = live_space(NULL, 0);
    assert_ptr_equal(new, old);
    assert_int_equal(uf_space_destroy(new), 0);
}

/* provokes: uf_space_set_limit -EINVAL
 * provokes: uf_space_get_limit -EINVAL
 * provokes: uf_space_walk -EINVAL
 * provokes: uf_space_maps -EINVAL
 * provokes: uf_space_thread_stats -EINVAL */
static void outputs_and_limits_that_are_none(void **state)
{
    struct uf_space *space = live_space(NULL, 1);
    enum uf_limit none = (enum uf_limit)(UF_LIMIT_MAP_COUNT + 1);
    uint64_t bytes = 5;

    (void)state;
    assert_int_equal(uf_space_set_limit(space, none, 1), -EINVAL);
    assert_int_equal(uf_space_get_limit(space, none, &bytes), -EINVAL);
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_AS, NULL), -EINVAL);
    assert_int_equal(bytes, 5);
    assert_int_equal(uf_space_walk(space, NULL, NULL), -EINVAL);
    assert_int_equal(uf_space_maps(space, NULL, 1), -EINVAL);
    assert_true(uf_space_maps(space, NULL, 0) > 0);
    assert_int_equal(uf_space_smaps(space, NULL, 1), -EINVAL);
    assert_int_equal(uf_space_status(space, NULL, 1), -EINVAL);
    assert_int_equal(uf_space_thread_stats(space, NULL, 1), -EINVAL);
    assert_int_equal(uf_space_thread_stats(space, NULL, 0), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* --------------------------------------------------- from a handler thread --
 */

/* Atomic: a fault orders nothing, as far as a sanitizer can see. */
struct answers {
    struct uf_space *_Atomic space;
    struct uf_engine *_Atomic engine;
    atomic_int destroy, engine_destroy, populate;
};

static void call_from_hook(void *data, const struct uf_fault_event *event)
{
    struct answers *a = data;

    a->destroy = uf_space_destroy(a->space);
    a->engine_destroy = uf_engine_destroy(a->engine);
    a->populate = uf_populate(a->space, align_down(event->address, page_size()),
                              page_size());
}

/* provokes: uf_space_destroy -EDEADLK
 * provokes: uf_engine_destroy -EDEADLK
 * provokes: uf_populate -EDEADLK */
static void calls_that_a_handler_may_not_make(void **state)
{
    struct answers a = {.destroy = 0};
    struct uf_space_opts opts = {.on_fault = call_from_hook, .hook_data = &a};

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    a.engine = opts.engine;
    a.space = live_space(&opts, 1);
    live_write(live_page(a.space, 0), 1, NULL);
    /* Waits for the hook. */
    assert_int_equal(uf_space_destroy(a.space), 0);
    assert_int_equal(uf_engine_destroy(a.engine), 0);
    assert_int_equal(atomic_load(&a.destroy), -EDEADLK);
    assert_int_equal(atomic_load(&a.engine_destroy), -EDEADLK);
    assert_int_equal(atomic_load(&a.populate), -EDEADLK);
}

/* ------------------------------------------------------- faults in flight --
 */

struct flight {
    struct live_gate gate;
    struct uf_space *space;
    uintptr_t page; /* of the last toucher */
    int signo[4];
    atomic_int next;
};

static ssize_t wait_at_gate(struct live_pager *p, const struct uf_fill *request)
{
    struct flight *flight = p->arg;

    live_gate_pass(&flight->gate);
    return live_fill(request, request->len_bytes);
}

static void *touch_one(void *arg)
{
    struct flight *flight = arg;
    int i = atomic_fetch_add(&flight->next, 1);

    flight->signo[i] =
        live_read(flight->page + (size_t)i * page_size(), NULL, NULL);
    return NULL;
}

static void *destroy_space(void *arg)
{
    struct flight *flight = arg;

    return (void *)(intptr_t)uf_space_destroy(flight->space);
}

/* Destroy waits for the fill; who waited for the page gets SIGSEGV. */
static void destroy_with_faults_in_flight(void **state)
{
    struct flight flight = {.gate = LIVE_GATE_INIT};
    struct uf_space_opts opts = {.window_pages = 1};
    pthread_t touchers[4], destroyer;
    struct live_pager p;
    void *result;

    (void)state;
    live_pager_init(&p, wait_at_gate, &flight);
    opts.heap_pager = p.pager;
    flight.space = live_space(&opts, 4);
    flight.page = live_page(flight.space, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&touchers[i], NULL, touch_one, &flight),
                         0);
    live_gate_await(&flight.gate, 1);
    assert_int_equal(pthread_create(&destroyer, NULL, destroy_space, &flight),
                     0);
    live_gate_open(&flight.gate);
    pthread_join(destroyer, &result);
    assert_int_equal((intptr_t)result, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(touchers[i], NULL);
    /* A page may have been in before the destroyer came. */
    for (int i = 0; i < 4; i++)
        assert_true(flight.signo[i] == SIGSEGV || flight.signo[i] == 0);
    uf_pager_unref(p.pager);
    assert_int_equal(atomic_load(&p.released), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_break_outside_is_refused),
        cmocka_unit_test(increments_that_cannot_be),
        cmocka_unit_test(limits_of_nothing),
        cmocka_unit_test(ranges_that_cannot_be_populated),
        cmocka_unit_test(a_pager_that_fails_while_populating),
        cmocka_unit_test(no_space_and_a_destroyed_one),
        cmocka_unit_test(a_record_is_used_again),
        cmocka_unit_test(outputs_and_limits_that_are_none),
        cmocka_unit_test(calls_that_a_handler_may_not_make),
        cmocka_unit_test(destroy_with_faults_in_flight),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("space calls", tests, NULL, NULL);
}
