/* SPDX-License-Identifier: MIT */
/*
 * A malloc that lives on a space, as allocators do: it asks for memory and
 * gives advice while it holds its lock, so none of these calls may come back to
 * it; and what it gives out is touched first by whoever called it, so nobody
 * may allocate with the signals of a touch blocked, or under a lock of ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault/engine.h"
#include "fault/pool.h"
#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/posix.h"

#define HUGE ((size_t)2 << 20)
#define RW   (PROT_READ | PROT_WRITE)

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *p, size_t len);
void __libc_free(void *p);

/* ---------------------------------------------------------- the allocator -- */

/* Its lock is held, by this thread. */
static _Thread_local bool inside;
static _Thread_local unsigned came_back; /* times it was called then */

/* Where blocks come from, a page each, by this thread; 0: from libc. */
static _Thread_local uintptr_t next_block;
static uintptr_t blocks_start, blocks_end;

static bool is_block(const void *p)
{
    return (uintptr_t)p >= blocks_start && (uintptr_t)p < blocks_end;
}

#pragma GCC visibility push(default) /* libc's loader is to find them */

void *malloc(size_t len)
{
    uintptr_t block = next_block;

    came_back += inside;
    if (block == 0)
        return __libc_malloc(len);
    next_block += align_up(len ? len : 1, page_size());
    return next_block <= blocks_end ? (void *)block : NULL; /* NOLINT */
}

void *calloc(size_t count, size_t len)
{
    came_back += inside;
    if (next_block == 0)
        return __libc_calloc(count, len);
    /* Fresh pages: no need to zero them. Who gets them touches them. */
    return malloc(count * len);
}

void *realloc(void *p, size_t len)
{
    return __libc_realloc(p, len);
}

void free(void *p)
{
    came_back += inside;
    if (!is_block(p))
        __libc_free(p);
}

#pragma GCC visibility pop

static void lock_up(void)
{
    inside = true;
    came_back = 0;
}

/* How often it was called under its own lock. */
static unsigned lock_off(void)
{
    inside = false;
    return came_back;
}

/* ------------------------------------------------------- under its lock -- */

static uintptr_t map(struct uf_space *space, size_t len_bytes)
{
    intptr_t at =
        uf_mmap(space, 0, len_bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(at > 0);
    return (uintptr_t)at;
}

static bool has_huge_pages(struct uf_space *space)
{
    struct uf_engine *engine = uf_space_engine(space);

    return pool_is_of_use() && engine->channels[0]->uffd.can_move;
}

/* Advice that an engine of a space's own has no thread for yet: the memory is
 * huge all the same, zeroed by who touches it. */
static void advice_does_not_come_back(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    uintptr_t at = map(space, 3 * HUGE);
    int err;

    (void)state;
    lock_up();
    err = uf_madvise(space, at, 3 * HUGE, MADV_HUGEPAGE);
    assert_int_equal(lock_off(), 0);
    assert_int_equal(err, 0);
    at = align_up(at, HUGE);
    for (size_t i = 0; i < 2; i++)
        *(volatile char *)(at + i * HUGE) = 1;
    if (has_huge_pages(space))
        assert_int_equal(live_stats(space).huge_installed, 2);
    assert_int_equal(live_stats(space).huge_pool_ready, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void willneed_does_not_come_back(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct live_pager p;
    intptr_t at;
    int err;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    at = uf_mmap_pager(space, 0, 64 * 4096, RW, MAP_PRIVATE, p.pager, 0);
    assert_true(at > 0);
    lock_up();
    err = uf_madvise(space, (uintptr_t)at, 64 * 4096, MADV_WILLNEED);
    assert_int_equal(lock_off(), 0);
    assert_int_equal(err, 0);
    while (live_stats(space).prefetched < 64)
        sched_yield();
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* An engine made for itself, and a space that asks for huge pages, have a
 * thread from the beginning. */
static void a_prefetch_does_not_come_back(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .kind = live_engine_kind()};
    struct uf_engine *engine;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct uf_space_opts space_opts = {.engine = i == 0 ? engine : NULL,
                                           .flags = i == 0 ? 0
                                                    : i == 1
                                                        ? UF_SPACE_HUGE
                                                        : UF_SPACE_PROMOTE};
        struct uf_space *space = live_space(&space_opts, 64);
        int err;

        lock_up();
        err = uf_prefetch(space, live_page(space, 0), 64 * 4096);
        assert_int_equal(lock_off(), 0);
        assert_int_equal(err, 0);
        while (live_stats(space).prefetched < 64)
            sched_yield();
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_int_equal(uf_engine_destroy(engine), 0);
}

static void posix_advice_does_not_come_back(void **state)
{
    void *at =
        uf_posix_mmap(NULL, 2 * HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int err;

    (void)state;
    assert_true(at != MAP_FAILED);
    lock_up();
    err = uf_posix_madvise(at, 2 * HUGE, MADV_HUGEPAGE);
    err |= uf_posix_madvise(at, 2 * HUGE, MADV_WILLNEED);
    assert_int_equal(lock_off(), 0);
    assert_int_equal(err, 0);
    *(volatile char *)at = 1;
    assert_int_equal(uf_posix_munmap(at, 2 * HUGE), 0);
}

/* ------------------------------------------------ threads that we start -- */

/* Whatever starts a thread of ours, while all that malloc gives out is absent:
 * libc allocates for the thread and touches that. 0 or an error. */
static int start_threads(struct uf_space *space, struct uf_engine **ret_engines)
{
    struct uf_engine_opts opts = {.size = sizeof(opts)};
    int err = uf_prefetch(space, uf_space_base(space), 4096);

    opts.kind = UF_ENGINE_THREAD;
    if (!err)
        err = uf_engine_create(&opts, &ret_engines[0]);
    if (!err)
        err = engine_start_handlers(ret_engines[0], 3);
    opts.kind = UF_ENGINE_SIGNAL;
    if (!err)
        err = uf_engine_create(&opts, &ret_engines[1]);
    return err;
}

/* The heap stays: libc keeps what it has there. */
static void child(void)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *heap = live_space(&opts, 1024);
    struct uf_space *space = live_space(NULL, 16);
    struct uf_engine *engines[2];
    int err;

    alarm(60);
    blocks_start = live_page(heap, 0);
    blocks_end = live_page(heap, 1024);
    next_block = blocks_start;
    err = start_threads(space, engines);
    next_block = 0;
    NEED(err == 0);
    NEED(live_stats(heap).faults > 0);
    while (live_stats(space).prefetched < 1)
        sched_yield();
    NEED(uf_space_destroy(space) == 0);
    NEED(uf_engine_destroy(engines[0]) == 0);
    NEED(uf_engine_destroy(engines[1]) == 0);
    _exit(0);
}

static void threads_start_while_malloc_is_absent(void **state)
{
    int status = -1;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        child();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: later threads get the stacks of threads that have ended. */
        cmocka_unit_test(threads_start_while_malloc_is_absent),
        cmocka_unit_test(advice_does_not_come_back),
        cmocka_unit_test(willneed_does_not_come_back),
        cmocka_unit_test(a_prefetch_does_not_come_back),
        cmocka_unit_test(posix_advice_does_not_come_back),
    };
    int skip = live_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
