/* SPDX-License-Identifier: MIT */
/*
 * The trap hook from several threads, while spaces come and go, and on an
 * alternate stack when the thread's own has overflowed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/traps.h"

#define MANY (LIVE_SANITIZED ? 1000 : 50000)

/* -------------------------------------------------------------- threads -- */

struct trapper {
    pthread_t thread;
    struct uf_space *space;
    atomic_bool *stop;
    unsigned wrong;
    unsigned rounds;
};

static void *trap_often(void *arg)
{
    struct trapper *t = arg;
    uintptr_t end = live_page(t->space, TRAP_PAGES);

    for (unsigned i = 0; i < MANY || (t->stop && !atomic_load(t->stop)); i++) {
        uintptr_t addr = end + i % 5000;

        if (!trapped(addr, i & 1) || trap_last.address != addr ||
            trap_last.tid != live_tid())
            t->wrong++;
        t->rounds++;
    }
    return NULL;
}

/* Several threads in one space, each told of its own. */
static void from_several_threads(void **state)
{
    struct trapper trappers[4];
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);

    (void)state;
    for (int i = 0; i < 4; i++) {
        trappers[i] = (struct trapper){.space = space};
        assert_int_equal(
            pthread_create(&trappers[i].thread, NULL, trap_often, &trappers[i]),
            0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(trappers[i].thread, NULL);
        assert_int_equal(trappers[i].wrong, 0);
    }
    trap_destroy(space);
}

/* Spaces and hooks come and go, and the map changes, while others trap. */
static void while_spaces_come_and_go(void **state)
{
    struct uf_space *space = trap_space(trap_note_and_leave, NULL);
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    uintptr_t up = live_page(space, 100), end = live_page(space, TRAP_PAGES);
    atomic_bool stop = false;
    struct trapper trapper = {.space = space, .stop = &stop};

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    assert_int_equal(
        pthread_create(&trapper.thread, NULL, trap_often, &trapper), 0);
    for (int i = 0; i < 300; i++) {
        struct uf_space *other = live_space(&opts, 1);

        assert_int_equal(uf_space_set_trap(other, trap_note_and_leave, NULL),
                         0);
        assert_true(trapped(live_page(other, 2), false));
        assert_int_equal(uf_space_set_trap(space, trap_note_and_leave, NULL),
                         0);
        assert_int_equal(uf_space_destroy(other), 0);
    }
    atomic_store(&stop, true);
    pthread_join(trapper.thread, NULL);
    assert_int_equal(trapper.wrong, 0);
    assert_int_equal(uf_brk(space, up), up);
    assert_int_equal(uf_brk(space, end), end);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    trap_destroy(space);
}

/* --------------------------------------------------------------- stacks -- */

#if !LIVE_SANITIZED

static bool on_alt_stack(const void *alt, const void *p)
{
    return (uintptr_t)p - (uintptr_t)alt < TRAP_ALT_BYTES;
}

static int leave_if_on_alt(void *data, struct uf_trap *trap)
{
    if (!on_alt_stack(data, __builtin_frame_address(0)))
        return UF_TRAP_PASS;
    return trap_note_and_leave(NULL, trap);
}

/* A guest's stack that lies in the space and overflows into nothing. */
static void a_stack_overflow(void **state)
{
    size_t len = (size_t)256 << 10;
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20};
    uintptr_t at = live_aligned_address();
    struct uf_space *hole, *stack;
    void *alt = malloc(TRAP_ALT_BYTES), *times = NULL;
    pthread_attr_t attr;
    pthread_t thread;

    (void)state;
    /* Two spaces side by side: the lower one is what the stack grows into. */
    opts.address = at;
    assert_int_equal(uf_space_create(&opts, &hole), 0);
    opts.address = at + opts.len_bytes;
    assert_int_equal(uf_space_create(&opts, &stack), 0);
    assert_true(uf_sbrk(stack, (intptr_t)len) > 0);
    assert_int_equal(uf_trap_install(), 0);
    assert_int_equal(uf_space_set_trap(hole, leave_if_on_alt, alt), 0);
    pthread_attr_init(&attr);
    assert_int_equal(
        pthread_attr_setstack(&attr, (void *)uf_space_base(stack), len), 0);
    assert_int_equal(pthread_create(&thread, &attr, trap_overflow, alt), 0);
    pthread_join(thread, &times);
    pthread_attr_destroy(&attr);
    assert_int_equal((uintptr_t)times, 10);
    free(alt);
    assert_int_equal(uf_space_destroy(stack), 0);
    trap_destroy(hole);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_several_threads),
        cmocka_unit_test(while_spaces_come_and_go),
#if !LIVE_SANITIZED /* whose idea of a stack is another */
        cmocka_unit_test(a_stack_overflow),
#endif
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("trap_threads", tests, NULL, NULL);
}
