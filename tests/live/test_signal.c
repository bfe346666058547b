/* SPDX-License-Identifier: MIT */
/*
 * The signal engine, where it is not as the thread engine: who serves, what a
 * system call gets, stacks in a space, and the handler of SIGBUS that was there
 * before. What both do alike, the other live tests show with
 * UFAULT_TEST_ENGINE=signal.
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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "ufault/copy.h"

#define RW     (PROT_READ | PROT_WRITE)
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define NPAGES 16

static struct uf_space *signal_space(void)
{
    struct uf_space_opts opts = {.engine_kind = UF_ENGINE_SIGNAL,
                                 .window_pages = 1};

    return live_space(&opts, NPAGES);
}

static enum uf_engine_kind kind_at(enum uf_tier tier, enum uf_engine_kind kind)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .tier_plus_one = (uint32_t)tier + 1,
                                  .kind = kind};
    struct uf_engine *engine;
    enum uf_engine_kind got;

    if (uf_engine_create(&opts, &engine) != 0)
        return UF_ENGINE_AUTO; /* no such tier here */
    got = uf_engine_kind_of(engine);
    assert_int_equal(uf_engine_destroy(engine), 0);
    return got;
}

static void the_kind_is_what_was_asked_for(void **state)
{
    struct uf_space *space = signal_space();

    (void)state;
    assert_int_equal(uf_engine_kind_of(uf_space_engine(space)),
                     UF_ENGINE_SIGNAL);
    assert_int_equal(uf_space_destroy(space), 0);
    space =
        live_space(&(struct uf_space_opts){.engine_kind = UF_ENGINE_AUTO}, 4);
    assert_int_equal(uf_engine_kind_of(uf_space_engine(space)),
                     uf_engine_tier(uf_space_engine(space)) == UF_TIER_USER_MODE
                         ? UF_ENGINE_SIGNAL
                         : UF_ENGINE_THREAD);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(kind_at(UF_TIER_USER_MODE, UF_ENGINE_AUTO),
                     UF_ENGINE_SIGNAL);
    assert_int_equal(kind_at(UF_TIER_USER_MODE, UF_ENGINE_THREAD),
                     UF_ENGINE_THREAD);
    assert_int_not_equal(kind_at(UF_TIER_SYSCALL, UF_ENGINE_AUTO),
                         UF_ENGINE_SIGNAL);
}

static void a_system_call_wants_it_populated(void **state)
{
    struct uf_space *space = signal_space();
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    uintptr_t p = live_page(space, 3);
    char text[4] = "abc";
    size_t done = 0;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(read(fd, (void *)p, 10), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(uf_copy_out(space, p + page_size(), text, 4, &done), 0);
    assert_int_equal(done, 4);
    assert_int_equal(uf_populate_write(space, p, page_size()), 0);
    assert_int_equal(read(fd, (void *)p, 10), 10);
    close(fd);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Deeper than one page a turn, on memory that is not there yet. */
static int dig(int depth)
{
    volatile char room[3000];

    room[0] = (char)depth;
    return depth > 0 ? dig(depth - 1) + room[0] : 0;
}

static void *dig_on_an_alternate_stack(void *arg)
{
    stack_t alt = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};

    (void)arg;
    sigaltstack(&alt, NULL);
    return (void *)(intptr_t)(dig(60) == 60 * 61 / 2);
}

static void a_stack_may_lie_in_the_space(void **state)
{
    struct uf_space *space = signal_space();
    size_t len = (size_t)512 << 10;
    intptr_t at = uf_mmap(space, 0, len, RW, ANON, -1, 0);
    pthread_attr_t attr;
    pthread_t thread;
    void *right = NULL;

    (void)state;
    if (LIVE_SANITIZED) { /* it looks at all of a thread's stack first */
        assert_int_equal(uf_space_destroy(space), 0);
        return;
    }
    assert_true(at > 0);
    /* What pthread_create itself, and the kernel, touch of it. */
    assert_int_equal(
        uf_populate(space, (uintptr_t)at + len - (16 << 10), 16 << 10), 0);
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, (void *)at, len), 0);
    assert_int_equal(
        pthread_create(&thread, &attr, dig_on_an_alternate_stack, NULL), 0);
    pthread_join(thread, &right);
    pthread_attr_destroy(&attr);
    assert_non_null(right);
    assert_int_equal(uf_space_destroy(space), 0);
}

static _Atomic pid_t filled_by;

static ssize_t fill_and_touch(void *context, const struct uf_fill *request)
{
    volatile char *other = context;

    atomic_store(&filled_by, live_tid());
    memset(request->buffer, 7, request->len_bytes);
    if (other)
        *other = 1;
    return (ssize_t)request->len_bytes;
}

static intptr_t map_pager(struct uf_space *space, uint32_t flags,
                          ssize_t (*fill)(void *, const struct uf_fill *),
                          size_t npages)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "signal", .flags = flags, .fill = fill};
    struct uf_pager *pager;
    intptr_t p;

    assert_int_equal(uf_pager_create(&ops, NULL, &pager), 0);
    p = uf_mmap_pager(space, 0, npages * page_size(), RW, MAP_PRIVATE, pager,
                      0);
    uf_pager_unref(pager);
    assert_true(p > 0);
    return p;
}

/* A pager that does not say it may run in a signal handler does not. */
static void a_pager_is_run_by_a_handler(void **state)
{
    struct uf_space *space = signal_space();
    unsigned char byte = 0;
    intptr_t p = map_pager(space, 0, fill_and_touch, 4);

    (void)state;
    assert_int_equal(live_read((uintptr_t)p + 5, &byte, NULL), 0);
    assert_int_equal(byte, 7);
    assert_int_not_equal(atomic_load(&filled_by), live_tid());
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* One that does is run by who touches. Zeros beside it are served as ever. */
static void a_pager_that_may_is_run_by_the_toucher(void **state)
{
    struct uf_space *space = signal_space();
    unsigned char byte = 0;
    intptr_t p = map_pager(space, UF_PAGER_SIGNAL_SAFE, fill_and_touch, 4);
    intptr_t q = map_pager(space, 0, fill_and_touch, 4);

    (void)state;
    assert_int_equal(live_read((uintptr_t)p + 5, &byte, NULL), 0);
    assert_int_equal(byte, 7);
    assert_int_equal(atomic_load(&filled_by), live_tid());
    assert_int_equal(live_read(live_page(space, 3), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_read((uintptr_t)q, &byte, NULL), 0);
    assert_int_equal(byte, 7);
    assert_int_not_equal(atomic_load(&filled_by), live_tid());
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Hooks are foreign code as well, and have made no promise. */
static void with_hooks_a_handler_runs_it(void **state)
{
    struct live_log log = LIVE_LOG_INIT;
    struct uf_space_opts opts = {.engine_kind = UF_ENGINE_SIGNAL,
                                 .on_fault = live_on_fault,
                                 .hook_data = &log};
    struct uf_space *space = live_space(&opts, 4);
    unsigned char byte = 0;
    intptr_t p = map_pager(space, UF_PAGER_SIGNAL_SAFE, fill_and_touch, 4);

    (void)state;
    assert_int_equal(live_read((uintptr_t)p, &byte, NULL), 0);
    assert_int_not_equal(atomic_load(&filled_by), live_tid());
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(live_events(&log), 1);
}

#define CROWD       8
#define CROWD_PAGES 64

static ssize_t fill_pattern(void *context, const struct uf_fill *request)
{
    (void)context;
    return live_fill(request, request->len_bytes);
}

struct member {
    pthread_t thread;
    struct uf_space *space;
    uintptr_t base;
    size_t first;
    bool right;
};

static void *read_pattern(void *arg)
{
    struct member *m = arg;

    m->right = true;
    for (size_t i = 0; i < CROWD_PAGES; i++) {
        size_t page = (m->first + 5 * i) % CROWD_PAGES;
        unsigned char byte = 0;

        m->right &= live_read(m->base + page * page_size(), &byte, NULL) == 0 &&
                    byte == live_pattern(page * page_size());
    }
    return NULL;
}

/* More threads at once than there are buffers: the rest are handed on. */
static void a_crowd_gets_its_pages(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct uf_space *space = signal_space();
        intptr_t p =
            map_pager(space, UF_PAGER_SIGNAL_SAFE, fill_pattern, CROWD_PAGES);
        struct member m[CROWD];

        for (size_t i = 0; i < CROWD; i++) {
            m[i] = (struct member){
                .space = space, .base = (uintptr_t)p, .first = i};
            pthread_create(&m[i].thread, NULL, read_pattern, &m[i]);
        }
        for (size_t i = 0; i < CROWD; i++) {
            pthread_join(m[i].thread, NULL);
            assert_true(m[i].right);
        }
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* A thread that is to be cancelled is not while it waits for its page: it would
 * leave itself behind in a list. */
static void *touch_cancelled(void *arg)
{
    uintptr_t addr = *(uintptr_t *)arg;
    unsigned char byte;

    pthread_cancel(pthread_self());
    live_read(addr, &byte, NULL);
    pthread_testcancel();
    return NULL;
}

static void a_cancelled_thread_waits_for_its_page(void **state)
{
    struct uf_space *space = signal_space();
    uintptr_t p = (uintptr_t)map_pager(space, 0, fill_and_touch, 4);
    unsigned char byte = 0;
    pthread_t thread;
    void *result = NULL;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, touch_cancelled, &p), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(live_mincore(p, p + page_size()), 1);
    assert_int_equal(live_read(p + page_size(), &byte, NULL), 0);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* A handler thread of another engine whose pager touches the space: refused
 * and reported, as any self touch, and nobody dies of a blocked signal. */
static void a_pager_elsewhere_that_touches_is_refused(void **state)
{
    struct uf_space *space = signal_space(), *other;
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_engine_opts eopts = {.size = sizeof(eopts)};
    struct uf_pager *pager;

    (void)state;
    assert_int_equal(uf_engine_create(&eopts, &opts.engine), 0);
    assert_int_equal(
        uf_pager_callback(fill_and_touch, (void *)live_page(space, 2), &pager),
        0);
    opts.heap_pager = pager;
    other = live_space(&opts, 4);
    uf_pager_unref(pager);
    assert_int_equal(live_read(live_page(other, 1), NULL, NULL), SIGBUS);
    assert_int_equal(live_stats(space).self_touches, 1);
    assert_int_equal(uf_space_destroy(other), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* What is not ours goes to who was there before: here live.c's own. */
static void other_sigbus_is_passed_on(void **state)
{
    struct uf_space *space = signal_space();
    int fd = memfd_create("short", MFD_CLOEXEC);
    intptr_t inside;
    char *outside;

    (void)state;
    assert_true(fd >= 0);
    inside = uf_mmap(space, 0, page_size(), RW, MAP_SHARED, fd, 0);
    outside = mmap(NULL, page_size(), RW, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(inside > 0 && outside != MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(live_write((uintptr_t)inside, 1, NULL), SIGBUS);
        assert_int_equal(live_write((uintptr_t)outside, 1, NULL), SIGBUS);
        assert_int_equal(live_write(live_page(space, (size_t)i), 1, NULL), 0);
    }
    munmap(outside, page_size());
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kind_is_what_was_asked_for),
        cmocka_unit_test(a_system_call_wants_it_populated),
        cmocka_unit_test(a_stack_may_lie_in_the_space),
        cmocka_unit_test(a_pager_is_run_by_a_handler),
        cmocka_unit_test(a_pager_that_may_is_run_by_the_toucher),
        cmocka_unit_test(with_hooks_a_handler_runs_it),
        cmocka_unit_test(a_crowd_gets_its_pages),
        cmocka_unit_test(a_cancelled_thread_waits_for_its_page),
        cmocka_unit_test(a_pager_elsewhere_that_touches_is_refused),
        cmocka_unit_test(other_sigbus_is_passed_on),
    };
    int skipped;

    setenv("UFAULT_TEST_ENGINE", "signal", 1);
    skipped = live_begin();
    return skipped ? skipped
                   : cmocka_run_group_tests_name("signal", tests, NULL, NULL);
}
