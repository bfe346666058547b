/* SPDX-License-Identifier: MIT */
/*
 * Threads whose stacks lie in a space: a call of ours that reaches a new page
 * of the stack does so while it holds no lock that the page would need.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <alloca.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/live.h"
#include "ufault/mman.h"

#define RW          (PROT_READ | PROT_WRITE)
#define STACK_BYTES ((size_t)512 << 10)
#define READY_BYTES ((size_t)16 << 10) /* what pthread_create touches */
#define KEPT_BYTES  ((size_t)32 << 10)
#define ALT_BYTES   ((size_t)64 << 10)

struct caller {
    struct uf_space *space;
    uintptr_t stack;
    void (*call)(struct caller *c);
    unsigned failed;
};

/* Calls with `deep` bytes of stack in between. */
__attribute__((noinline)) static void call_from(struct caller *c, size_t deep)
{
    volatile char *frame = alloca(deep);

    frame[0] = 1;
    c->call(c);
}

/* Makes the stack new again, but for what this call itself may reach, and calls
 * from beyond that: at another depth each time. */
static void *run(void *arg)
{
    struct caller *c = arg;
    stack_t alternate = {.ss_sp = malloc(ALT_BYTES), .ss_size = ALT_BYTES};
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t below = align_down(here - KEPT_BYTES, page_size());

    sigaltstack(&alternate, NULL);
    for (size_t more = 0; more < 3 * page_size(); more += 64) {
        if (uf_madvise(c->space, c->stack, below - c->stack, MADV_DONTNEED) !=
            0)
            c->failed++;
        call_from(c, KEPT_BYTES - page_size() + more);
    }
    alternate.ss_flags = SS_DISABLE;
    sigaltstack(&alternate, NULL);
    free(alternate.ss_sp);
    return NULL;
}

static void on_a_stack_in(struct uf_space *space,
                          void (*call)(struct caller *c))
{
    struct caller c = {.space = space, .call = call};
    pthread_attr_t attr;
    pthread_t thread;
    intptr_t at =
        uf_mmap(space, 0, STACK_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(at > 0);
    c.stack = (uintptr_t)at;
    assert_int_equal(
        uf_populate(space, c.stack + STACK_BYTES - READY_BYTES, READY_BYTES),
        0);
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, (void *)at, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, run, &c), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    assert_int_equal(c.failed, 0);
}

static void map_and_unmap(struct caller *c)
{
    intptr_t p = uf_mmap(c->space, 0, page_size(), RW,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p < 0 || uf_munmap(c->space, (uintptr_t)p, page_size()) != 0)
        c->failed++;
}

static void move_the_break(struct caller *c)
{
    if (uf_sbrk(c->space, (intptr_t)page_size()) < 0 ||
        uf_sbrk(c->space, -(intptr_t)page_size()) < 0)
        c->failed++;
}

static void look_at_it(struct caller *c)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    char text[64];

    if (uf_space_stats(c->space, &stats) != 0 ||
        uf_space_maps(c->space, text, sizeof(text)) <= 0)
        c->failed++;
}

static void make_another(struct caller *c)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 20,
                                 .engine = uf_space_engine(c->space)};
    struct uf_space *other;

    if (uf_space_create(&opts, &other) != 0 || uf_space_destroy(other) != 0)
        c->failed++;
}

static void calls_on_a_stack_in_the_space(void **state)
{
    void (*const calls[])(struct caller *) = {map_and_unmap, move_the_break,
                                              look_at_it, make_another};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct uf_space_opts opts = {.window_pages = 1};
        struct uf_space *space = live_space(&opts, 1);

        on_a_stack_in(space, calls[i]);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_on_a_stack_in_the_space),
    };
    int skipped = live_begin();

    if (!skipped && LIVE_SANITIZED) {
        puts("skipped: a sanitizer keeps a table of each stack's bytes");
        skipped = 77;
    }
    return skipped ? skipped
                   : cmocka_run_group_tests_name("stacks", tests, NULL, NULL);
}
