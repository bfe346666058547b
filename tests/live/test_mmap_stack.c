/* SPDX-License-Identifier: MIT */
/*
 * Stacks: a touch below a MAP_GROWSDOWN mapping makes it grow, as far as the
 * limit and the guard gap allow; on a space and on the kernel's own memory.
 *
 *     page 0      ...     guard       reach        1000   1004
 *     [neighbour)--------------.....................[stack )
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW (PROT_READ | PROT_WRITE)

#define TOP   1000 /* first page of the stack */
#define NTOP  4
#define GUARD 256

static uintptr_t make_stack(struct side *s)
{
    return side_map(s, TOP, NTOP, RW, MAP_GROWSDOWN);
}

static bool is_stack_page(struct side *s, size_t n)
{
    unsigned char vec;

    return side_mincore(s, side_at(s, n), page_size(), &vec) == 0;
}

static int touch(struct side *s, size_t n)
{
    return live_write(side_at(s, n), (unsigned char)n, NULL);
}

static void set_stack_limit(struct side *s, size_t bytes)
{
    struct rlimit limit;

    if (s->space) {
        assert_int_equal(uf_space_set_limit(s->space, UF_LIMIT_STACK, bytes),
                         0);
        return;
    }
    assert_int_equal(getrlimit(RLIMIT_STACK, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_STACK, &limit), 0);
}

/* ----------------------------------------------------------------- growth --
 */

static void grow_body(struct side *s)
{
    uintptr_t p = make_stack(s);

    pages_write(p, NTOP, 1);
    assert_int_equal(touch(s, TOP - 1), 0);
    assert_true(is_stack_page(s, TOP - 1));
    assert_false(is_stack_page(s, TOP - 2));
    /* A read grows it too. */
    assert_int_equal(live_read(side_at(s, TOP - 2), NULL, NULL), 0);
    assert_true(is_stack_page(s, TOP - 2));
    /* Many pages at once: all between are the stack's, and zero. */
    assert_int_equal(touch(s, TOP - 300), 0);
    assert_true(is_stack_page(s, TOP - 299));
    assert_false(is_stack_page(s, TOP - 301));
    assert_true(pages_are_zero(side_at(s, TOP - 299), 200));
    assert_true(pages_are(p, NTOP, 1, 0));
    assert_int_equal(
        side_munmap(s, side_at(s, TOP - 300), (300 + NTOP) * page_size()), 0);
    assert_unmapped(s, side_at(s, TOP - 1));
    assert_unmapped(s, side_at(s, TOP - 300));
    assert_unmapped(s, side_at(s, TOP - 301));
}

static void a_touch_below_a_stack_makes_it_grow(void **state)
{
    (void)state;
    on_all_sides(grow_body);
}

static void growth_is_counted(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = live_space(&opts, 0);
    uintptr_t p = live_page(space, TOP);
    size_t page = page_size();

    (void)state;
    assert_int_equal(
        uf_mmap(space, p, NTOP * page, RW,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0),
        p);
    assert_int_equal(live_stats(space).stack_vm, NTOP);
    assert_int_equal(live_stats(space).data_vm, 0);
    assert_int_equal(live_write(p - 10 * page, 1, NULL), 0);
    assert_int_equal(live_stats(space).stack_grown, 1);
    assert_int_equal(live_stats(space).stack_vm, NTOP + 10);
    assert_int_equal(live_stats(space).total_vm, NTOP + 10);
    assert_int_equal(live_stats(space).map_count, 1);
    assert_int_equal(live_stats(space).resident, 1);
    assert_int_equal(live_write(p - 5 * page, 1, NULL), 0);
    assert_int_equal(live_stats(space).stack_grown, 1);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* What the stack cannot grow to is refused, and is no fault that hangs. */
static void limits_body(struct side *s)
{
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    set_stack_limit(s, (NTOP + 8) * page_size());
    make_stack(s);
    assert_int_equal(touch(s, TOP - 9), SIGSEGV);
    assert_int_equal(touch(s, TOP - 200), SIGSEGV);
    assert_int_equal(touch(s, TOP - 8), 0);
    assert_int_equal(touch(s, TOP - 9), SIGSEGV);
    /* A higher limit counts from now on, a lower one takes nothing away. */
    set_stack_limit(s, (NTOP + 9) * page_size());
    assert_int_equal(touch(s, TOP - 10), SIGSEGV);
    assert_int_equal(touch(s, TOP - 9), 0);
    set_stack_limit(s, (NTOP + 2) * page_size());
    assert_int_equal(touch(s, TOP - 9), 0);
    assert_int_equal(touch(s, TOP - 10), SIGSEGV);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
}

static void the_stack_limit_stops_growth_with_sigsegv(void **state)
{
    (void)state;
    on_all_sides(limits_body);
}

/* What is left of a stack counts, once its end is cut off or made another
 * mapping. */
static void cut_body(struct side *s)
{
    struct rlimit before;
    uintptr_t p;

    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    p = make_stack(s);
    set_stack_limit(s, (NTOP - 1) * page_size());
    assert_int_equal(touch(s, TOP - 1), SIGSEGV);
    assert_int_equal(side_munmap(s, p + 2 * page_size(), page_size()), 0);
    assert_int_equal(touch(s, TOP - 1), 0);
    assert_int_equal(side_mprotect(s, p + page_size(), page_size(), PROT_READ),
                     0);
    assert_int_equal(touch(s, TOP - (NTOP - 2)), 0);
    assert_int_equal(touch(s, TOP - NTOP), SIGSEGV);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
}

static void a_stack_that_is_cut_may_grow_again(void **state)
{
    (void)state;
    on_all_sides(cut_body);
}

/* Other limits stop it too. */
static void address_space_and_lock_limits_stop_growth(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = live_space(&opts, 0);
    uintptr_t p = live_page(space, TOP);
    size_t page = page_size();

    (void)state;
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, 6 * page), 0);
    assert_int_equal(uf_mmap(space, p, NTOP * page, RW,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
                                 MAP_GROWSDOWN | MAP_LOCKED,
                             -1, 0),
                     p);
    assert_int_equal(live_write(p - 3 * page, 1, NULL), SIGSEGV);
    assert_int_equal(live_write(p - 2 * page, 1, NULL), 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED), 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 8 * page), 0);
    assert_int_equal(live_write(p - 5 * page, 1, NULL), SIGSEGV);
    assert_int_equal(live_write(p - 4 * page, 1, NULL), 0);
    assert_int_equal(live_stats(space).locked_vm, 8);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------- neighbours --
 */

/* A mapping below keeps 256 pages free, or is touched itself. */
static void guard_body(struct side *s)
{
    side_map(s, TOP - 400, 1, RW, 0);
    make_stack(s);
    assert_int_equal(touch(s, TOP - 399 + GUARD - 1), SIGSEGV);
    assert_int_equal(touch(s, TOP - 399), SIGSEGV);
    assert_int_equal(touch(s, TOP - 399 + GUARD), 0);
    assert_int_equal(touch(s, TOP - 399 + GUARD - 1), SIGSEGV);
    /* It goes away: so does the gap. */
    assert_int_equal(side_munmap(s, side_at(s, TOP - 400), page_size()), 0);
    assert_int_equal(touch(s, TOP - 399 + GUARD - 1), 0);
    assert_int_equal(touch(s, TOP - 500), 0);
}

static void a_gap_stays_above_a_mapping_that_can_be_touched(void **state)
{
    (void)state;
    on_all_sides(guard_body);
}

static void no_guard_body(struct side *s)
{
    side_map(s, TOP - 20, 4, PROT_NONE, 0);
    make_stack(s);
    assert_int_equal(touch(s, TOP - 16), 0);
    assert_int_equal(touch(s, TOP - 17), SIGSEGV);
    assert_true(is_stack_page(s, TOP - 16));
}

static void no_gap_is_kept_above_a_mapping_that_cannot_be_touched(void **state)
{
    (void)state;
    on_all_sides(no_guard_body);
}

/* A neighbour's protection decides when the touch comes, not before. */
static void turning_body(struct side *s)
{
    uintptr_t below = side_map(s, TOP - 100, 4, RW, 0);

    make_stack(s);
    assert_int_equal(touch(s, TOP - 1), SIGSEGV);
    assert_int_equal(side_mprotect(s, below, 4 * page_size(), PROT_NONE), 0);
    assert_int_equal(touch(s, TOP - 1), 0);
    assert_int_equal(side_mprotect(s, below, 4 * page_size(), PROT_READ), 0);
    assert_int_equal(touch(s, TOP - 2), SIGSEGV);
    /* Mapped into the way of a stack that had all the room. */
    assert_int_equal(side_munmap(s, below, 4 * page_size()), 0);
    assert_int_equal(touch(s, TOP - 2), 0);
    side_map(s, TOP - 4, 1, RW, 0);
    assert_int_equal(touch(s, TOP - 3), SIGSEGV);
}

static void the_neighbour_may_change(void **state)
{
    (void)state;
    on_all_sides(turning_body);
}

/* Two stacks: the lower one's growth is not the upper one's, and the upper one
 * may come as near as it likes to a stack. */
static void two_body(struct side *s)
{
    side_map(s, TOP - 50, 2, RW, MAP_GROWSDOWN);
    make_stack(s);
    assert_int_equal(touch(s, TOP - 48), 0);
    assert_int_equal(touch(s, TOP - 51), 0);
    assert_true(is_stack_page(s, TOP - 48));
    assert_true(is_stack_page(s, TOP - 51));
}

static void a_stack_may_meet_a_stack(void **state)
{
    (void)state;
    on_all_sides(two_body);
}

/* ------------------------------------------------------- who else touches --
 */

static void system_call_body(struct side *s)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    make_stack(s);
    if (!s->space ||
        uf_engine_tier(uf_space_engine(s->space)) != UF_TIER_USER_MODE) {
        assert_int_equal(
            read(fd, (void *)side_at(s, TOP - 40), 3 * page_size()),
            3 * page_size());
        assert_true(is_stack_page(s, TOP - 40));
    }
    set_stack_limit(s, s->space ? 60 * page_size() : RLIM_INFINITY);
    if (s->space) {
        assert_int_equal(read(fd, (void *)side_at(s, TOP - 57), 1), -1);
        assert_int_equal(errno, EFAULT);
    }
    close(fd);
}

static void system_calls_make_a_stack_grow_too(void **state)
{
    struct rlimit before;

    (void)state;
    LIVE_NEEDS_KERNEL_TOUCHES();
    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    on_all_sides(system_call_body);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
}

/* PROT_GROWSDOWN means the whole stack, however far it has grown. */
static void protect_body(struct side *s)
{
    uintptr_t p = make_stack(s);

    assert_int_equal(touch(s, TOP - 7), 0);
    assert_int_equal(side_mprotect(s, p + page_size(), page_size(),
                                   PROT_READ | PROT_GROWSDOWN),
                     0);
    assert_int_equal(touch(s, TOP - 7), SIGSEGV);
    assert_int_equal(live_read(side_at(s, TOP - 7), NULL, NULL), 0);
    assert_int_equal(touch(s, TOP + 1), SIGSEGV);
    assert_int_equal(touch(s, TOP + 2), 0);
    side_map(s, 0, 1, RW, 0);
    assert_int_equal(side_mprotect(s, side_at(s, 0), page_size(),
                                   PROT_READ | PROT_GROWSDOWN),
                     -EINVAL);
}

static void prot_growsdown_reaches_down_to_the_stacks_start(void **state)
{
    (void)state;
    on_all_sides(protect_body);
}

/* ---------------------------------------------------------------- threads --
 */

#define NTHREADS 4
#define DEPTH    480

struct toucher {
    struct side *side;
    struct live_gate *gate;
    size_t first;
    int signals;
};

/* Every fourth page from the top down, each thread its own. */
static void *touch_down(void *arg)
{
    struct toucher *t = arg;

    live_gate_pass(t->gate);
    for (size_t n = t->first; n < DEPTH; n += NTHREADS)
        t->signals += touch(t->side, TOP - 1 - n);
    return NULL;
}

static void threads_body(struct side *s)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct toucher touchers[NTHREADS];
    pthread_t threads[NTHREADS];

    make_stack(s);
    for (size_t i = 0; i < NTHREADS; i++) {
        touchers[i] = (struct toucher){s, &gate, i, 0};
        assert_int_equal(
            pthread_create(&threads[i], NULL, touch_down, &touchers[i]), 0);
    }
    live_gate_await(&gate, NTHREADS);
    live_gate_open(&gate);
    for (size_t i = 0; i < NTHREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(touchers[i].signals, 0);
    }
    for (size_t n = 1; n <= DEPTH; n++)
        assert_int_equal(*(volatile unsigned char *)side_at(s, TOP - n),
                         (unsigned char)(TOP - n));
    assert_false(is_stack_page(s, TOP - DEPTH - 1));
}

static void threads_grow_one_stack_together(void **state)
{
    (void)state;
    on_all_sides(threads_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_touch_below_a_stack_makes_it_grow),
        cmocka_unit_test(growth_is_counted),
        cmocka_unit_test(the_stack_limit_stops_growth_with_sigsegv),
        cmocka_unit_test(a_stack_that_is_cut_may_grow_again),
        cmocka_unit_test(address_space_and_lock_limits_stop_growth),
        cmocka_unit_test(a_gap_stays_above_a_mapping_that_can_be_touched),
        cmocka_unit_test(no_gap_is_kept_above_a_mapping_that_cannot_be_touched),
        cmocka_unit_test(the_neighbour_may_change),
        cmocka_unit_test(a_stack_may_meet_a_stack),
        cmocka_unit_test(system_calls_make_a_stack_grow_too),
        cmocka_unit_test(prot_growsdown_reaches_down_to_the_stacks_start),
        cmocka_unit_test(threads_grow_one_stack_together),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap: stacks", tests, NULL, NULL);
}
