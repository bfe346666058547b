/* SPDX-License-Identifier: MIT */
/*
 * First touches of a zero-paged space, for real: what is installed, by how many
 * faults, for whom; and that the counters say what the kernel says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/live.h"

#define WINDOW 64

static struct uf_space *space_of(uint32_t window_pages, size_t npages)
{
    struct uf_space_opts opts = {.window_pages = window_pages};

    return live_space(&opts, npages);
}

/* The pages of the space's heap that the kernel has, and that we say it has. */
static void assert_resident(struct uf_space *space, size_t npages)
{
    struct uf_stats s = live_stats(space);

    assert_int_equal(s.resident, npages);
    assert_int_equal(live_mincore(uf_space_base(space),
                                  uf_space_base(space) + uf_space_len(space)),
                     npages);
}

/* ------------------------------------------------------------- one touch -- */

/* A read touch maps the shared zero page: one fault, no memory of our own. */
static void a_read_maps_the_zero_page(void **state)
{
    struct uf_space *space = space_of(1, 4);
    unsigned char byte = 1;
    struct uf_stats s;

    (void)state;
    assert_int_equal(live_read(live_page(space, 1), &byte, NULL), 0);
    s = live_stats(space);
    assert_int_equal(byte, 0);
    assert_int_equal(s.faults_read, 1);
    assert_int_equal(s.faults_write, 0);
    assert_int_equal(s.pages_installed, 1);
    assert_int_equal(s.pages_zero, 1);
    assert_resident(space, 1);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* A write touch gets a private page in one fault, not zero page and copy. */
static void a_write_is_one_fault(void **state)
{
    struct uf_space *space = space_of(1, 4);
    long before;
    struct uf_stats s;

    (void)state;
    live_write(live_page(space, 0), 1, NULL);
    before = live_kernel_faults();
    *(volatile char *)live_page(space, 1) = 1;
    *(volatile char *)live_page(space, 1) = 2;
    if (LIVE_KERNEL_COUNTS)
        assert_int_equal(live_kernel_faults() - before, 1);
    s = live_stats(space);
    assert_int_equal(s.faults_write, 2);
    assert_int_equal(s.faults_read, 0);
    assert_int_equal(s.pages_zero, 0);
    assert_resident(space, 2);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* A page that was read first and is written then is the kernel's affair: it
 * copies the zero page and asks nobody. */
static void a_write_after_a_read_is_no_fault_of_ours(void **state)
{
    struct uf_space *space = space_of(1, 1);
    unsigned char byte;

    (void)state;
    live_read(live_page(space, 0), &byte, NULL);
    live_write(live_page(space, 0), 7, NULL);
    live_read(live_page(space, 0), &byte, NULL);
    assert_int_equal(byte, 7);
    assert_int_equal(live_stats(space).faults, 1);
    uf_space_destroy(space);
}

/* Above the break, below a lowered break: SIGSEGV at the touched byte, and no
 * fault reaches us. */
static void outside_the_break_is_sigsegv(void **state)
{
    struct uf_space *space = space_of(0, 4);
    uintptr_t above = live_page(space, 4) + 123;
    siginfo_t info;

    (void)state;
    assert_int_equal(live_read(above, NULL, &info), SIGSEGV);
    assert_true((uintptr_t)info.si_addr == above);
    assert_int_equal(live_write(above, 1, NULL), SIGSEGV);
    live_write(live_page(space, 3), 1, NULL);
    uf_brk(space, live_page(space, 2));
    assert_int_equal(live_write(live_page(space, 3), 1, NULL), SIGSEGV);
    assert_int_equal(live_stats(space).faults, 1);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* ---------------------------------------------------------------- window -- */

/* Window 1: a fault and a page per touch; the kernel counts the same. */
static void a_window_of_one_is_a_fault_a_page(void **state)
{
    const size_t npages = 256;
    struct uf_space *space = space_of(1, npages);
    struct uf_stats s;
    long before;

    (void)state;
    live_write(live_page(space, 0), 1, NULL);
    before = live_kernel_faults();
    for (size_t i = 1; i < npages; i++)
        *(volatile char *)live_page(space, i) = 1;
    if (LIVE_KERNEL_COUNTS)
        assert_int_equal(live_kernel_faults() - before, npages - 1);
    s = live_stats(space);
    assert_int_equal(s.faults, npages);
    assert_int_equal(s.installed, npages);
    assert_int_equal(s.pages_installed, npages);
    assert_int_equal(s.pages_prefetched, 0);
    assert_int_equal(s.installs, npages);
    assert_resident(space, npages);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* Window 64: a fault per aligned block, whose other pages are prefetched. */
static void a_window_of_64_is_a_fault_a_block(void **state)
{
    const size_t blocks = 8;
    struct uf_space_opts opts = {.window_pages = WINDOW,
                                 .address = live_aligned_address()};
    struct uf_space *space = live_space(&opts, blocks * WINDOW);
    struct uf_stats s;
    long before;

    (void)state;
    live_write(live_page(space, 0), 1, NULL);
    before = live_kernel_faults();
    for (size_t i = WINDOW; i < blocks * WINDOW; i++)
        *(volatile char *)live_page(space, i) = 1;
    if (LIVE_KERNEL_COUNTS)
        assert_int_equal(live_kernel_faults() - before, blocks - 1);
    s = live_stats(space);
    assert_int_equal(s.faults, blocks);
    assert_int_equal(s.pages_installed, blocks * WINDOW);
    assert_int_equal(s.pages_prefetched, blocks * (WINDOW - 1));
    assert_resident(space, blocks * WINDOW);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* The window ends at the break, and starts again above it when it rises. */
static void a_window_ends_at_the_break(void **state)
{
    struct uf_space_opts opts = {.window_pages = WINDOW,
                                 .address = live_aligned_address()};
    struct uf_space *space = live_space(&opts, 10);

    (void)state;
    live_write(live_page(space, 9), 1, NULL);
    assert_resident(space, 10);
    uf_brk(space, live_page(space, 20));
    assert_resident(space, 10);
    live_write(live_page(space, 15), 1, NULL);
    assert_resident(space, 20);
    assert_int_equal(live_stats(space).faults, 2);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* The window is the hole between resident pages: nothing twice. */
static void a_window_ends_at_resident_pages(void **state)
{
    struct uf_space_opts opts = {.window_pages = WINDOW,
                                 .address = live_aligned_address()};
    struct uf_space *space = live_space(&opts, WINDOW);
    struct uf_stats s;

    (void)state;
    live_write(live_page(space, 0), 1, NULL);
    uf_brk(space, live_page(space, 10));
    uf_brk(space, live_page(space, WINDOW));
    assert_resident(space, 10);
    live_write(live_page(space, 30), 1, NULL);
    s = live_stats(space);
    assert_int_equal(s.faults, 2);
    assert_int_equal(s.installs, 2);
    assert_int_equal(s.pages_installed, WINDOW + WINDOW - 10);
    assert_int_equal(s.pages_dropped, WINDOW - 10);
    assert_resident(space, WINDOW);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* A page that went with the break and came back is new: zeros, a fault. */
static void a_page_that_comes_back_is_new(void **state)
{
    struct uf_space *space = space_of(1, 4);
    unsigned char byte = 9;

    (void)state;
    live_write(live_page(space, 2), 5, NULL);
    live_write(live_page(space, 0), 6, NULL);
    uf_brk(space, live_page(space, 1));
    uf_brk(space, live_page(space, 4));
    live_read(live_page(space, 2), &byte, NULL);
    assert_int_equal(byte, 0);
    live_read(live_page(space, 0), &byte, NULL);
    assert_int_equal(byte, 6);
    assert_int_equal(live_stats(space).faults, 3);
    uf_space_destroy(space);
}

/* -------------------------------------------------------- kernel's touches --
 */

/* read(2) into and write(2) from untouched pages are served. */
static void touches_by_system_calls_are_served(void **state)
{
    struct uf_space *space = space_of(1, 64);
    size_t len = 16 * page_size();
    char *to = (char *)live_page(space, 3), *from;
    int fds[2], zero;

    (void)state;
    if (uf_engine_tier(uf_space_engine(space)) == UF_TIER_USER_MODE ||
        live_engine_kind() == UF_ENGINE_SIGNAL) {
        uf_space_destroy(space);
        skip();
    }
    zero = open("/dev/zero", O_RDONLY);
    assert_true(zero >= 0);
    assert_int_equal(read(zero, to, len), len);
    close(zero);
    assert_int_equal(pipe(fds), 0);
    from = (char *)live_page(space, 40);
    assert_int_equal(write(fds[1], from, 8 * page_size()), 8 * page_size());
    assert_int_equal(read(fds[0], from + 10 * page_size(), page_size()),
                     page_size());
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(live_stats(space).faults, 16 + 8 + 1);
    assert_resident(space, 16 + 8 + 1);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* --------------------------------------------------------------- threads -- */

#define THREADS 6

struct toucher {
    pthread_t thread;
    struct uf_space *space;
    size_t first, step, count;
    pid_t tid;
    long kernel_faults;
    unsigned sum;
    bool write;
};

static void *touch_pages(void *arg)
{
    struct toucher *t = arg;
    unsigned sum = 0;
    long before;

    t->tid = live_tid();
    before = live_kernel_faults();
    for (size_t i = 0; i < t->count; i++) {
        unsigned char *p =
            (unsigned char *)live_page(t->space, t->first + i * t->step);

        if (t->write)
            __atomic_store_n(p, 1, __ATOMIC_RELAXED);
        else
            sum |= __atomic_load_n(p, __ATOMIC_RELAXED);
    }
    t->sum = sum;
    t->kernel_faults = live_kernel_faults() - before;
    return NULL;
}

static void run_touchers(struct toucher *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&t[i].thread, NULL, touch_pages, &t[i]),
                         0);
    for (size_t i = 0; i < n; i++)
        pthread_join(t[i].thread, NULL);
}

/* Each thread's own pages: its record has exactly its faults, by its tid. */
static void each_thread_has_its_own_record(void **state)
{
    const size_t each = 50;
    struct uf_space *space = space_of(1, THREADS * each);
    struct uf_thread_stats records[THREADS + 1];
    struct toucher t[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        t[i] = (struct toucher){.space = space,
                                .first = i,
                                .step = THREADS,
                                .count = each - i,
                                .write = i % 2 == 0};
    run_touchers(t, THREADS);
    assert_int_equal(uf_space_thread_stats(space, records, THREADS + 1),
                     THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        size_t r = 0;

        while (r < THREADS && records[r].tid != t[i].tid)
            r++;
        assert_true(r < THREADS);
        assert_int_equal(records[r].faults_write, t[i].write ? each - i : 0);
        assert_int_equal(records[r].faults_read, t[i].write ? 0 : each - i);
        assert_int_equal(records[r].pages_installed, each - i);
        assert_true(records[r].fault_ns > 0);
        if (LIVE_KERNEL_COUNTS)
            assert_int_equal(t[i].kernel_faults, each - i);
    }
    live_assert_law(space);
    uf_space_destroy(space);
}

/* All threads at the same pages: each page goes in once; a fault more than
 * pages is one that found its page there or was folded. */
static void threads_at_the_same_pages_share_them(void **state)
{
    const size_t npages = 400;
    struct uf_space *space = space_of(1, npages);
    struct toucher t[THREADS];
    struct uf_stats s;

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        t[i] = (struct toucher){
            .space = space, .step = 1, .count = npages, .write = true};
    run_touchers(t, THREADS);
    s = live_stats(space);
    assert_int_equal(s.pages_installed, npages);
    assert_int_equal(s.installed, npages);
    assert_int_equal(s.faults - npages, s.present + s.folded);
    assert_int_equal(s.refused + s.stale, 0);
    assert_resident(space, npages);
    live_assert_law(space);
    uf_space_destroy(space);
}

/* The same with windows and several handlers: installs overlap, none is lost,
 * resident is what the kernel has. */
static void overlapping_windows_add_up(void **state)
{
    const size_t npages = 1000;
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .nhandlers = 3};
    struct uf_space_opts opts = {.window_pages = 16};
    struct toucher t[THREADS];
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
    space = live_space(&opts, npages);
    for (size_t i = 0; i < THREADS; i++)
        t[i] = (struct toucher){.space = space,
                                .first = i,
                                .step = 1,
                                .count = npages - THREADS,
                                .write = i % 3 != 0};
    run_touchers(t, THREADS);
    live_read(live_page(space, npages - 1), NULL, NULL);
    assert_int_equal(live_stats(space).pages_installed, npages);
    assert_resident(space, npages);
    live_assert_law(space);
    uf_space_destroy(space);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* ----------------------------------------------------------------- hooks -- */

/* The trace hook is called once for every fault, with its thread, access,
 * outcome and the range that went in. */
static void the_trace_hook_sees_every_fault_once(void **state)
{
    const size_t npages = 200;
    static struct live_log log = LIVE_LOG_INIT;
    struct uf_space_opts opts = {
        .window_pages = 4, .on_fault = live_on_fault, .hook_data = &log};
    struct uf_space *space = live_space(&opts, npages);
    uint64_t outcomes[UF_OUTCOME_FOLDED + 1] = {0};
    struct toucher t[THREADS];
    size_t pages = 0;
    struct uf_stats s;

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        t[i] = (struct toucher){
            .space = space, .step = 1, .count = npages, .write = true};
    run_touchers(t, THREADS);
    /* A fault may wait in the queue though its thread was woken long ago, and
     * the hook runs after the wake. */
    do
        s = live_stats(space);
    while (s.pending > 0 || live_events(&log) != s.faults);
    assert_int_equal(uf_space_destroy(space), 0);
    for (unsigned i = 0; i < s.faults; i++) {
        struct uf_fault_event *e = &log.events[i];

        assert_int_equal(e->size, sizeof(*e));
        assert_true(e->flags == UF_FAULT_WRITE && e->tid > 0);
        assert_true(e->received_ns > 0 && e->service_ns > 0);
        outcomes[e->outcome]++;
        pages += (e->end - e->start) / page_size();
    }
    assert_int_equal(outcomes[UF_OUTCOME_INSTALLED], s.installed);
    assert_int_equal(outcomes[UF_OUTCOME_PRESENT], s.present);
    assert_int_equal(outcomes[UF_OUTCOME_FOLDED], s.folded);
    assert_int_equal(pages, s.pages_installed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_maps_the_zero_page),
        cmocka_unit_test(a_write_is_one_fault),
        cmocka_unit_test(a_write_after_a_read_is_no_fault_of_ours),
        cmocka_unit_test(outside_the_break_is_sigsegv),
        cmocka_unit_test(a_window_of_one_is_a_fault_a_page),
        cmocka_unit_test(a_window_of_64_is_a_fault_a_block),
        cmocka_unit_test(a_window_ends_at_the_break),
        cmocka_unit_test(a_window_ends_at_resident_pages),
        cmocka_unit_test(a_page_that_comes_back_is_new),
        cmocka_unit_test(touches_by_system_calls_are_served),
        cmocka_unit_test(each_thread_has_its_own_record),
        cmocka_unit_test(threads_at_the_same_pages_share_them),
        cmocka_unit_test(overlapping_windows_add_up),
        cmocka_unit_test(the_trace_hook_sees_every_fault_once),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
