/* SPDX-License-Identifier: MIT */
/*
 * The near handler: faults are served whether it comes first or the reader
 * does, it follows the thread that asks it to, and it ends with the engine.
 * Which of the two came first is the scheduler's, so nothing here depends on
 * it.
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
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault/engine.h"
#include "fault/near.h"
#include "lib/live.h"
#include "ufault/store.h"

#define NPAGES  256
#define THREADS 3

static struct uf_engine *near_engine(void)
{
    struct uf_engine *engine;

    assert_int_equal(uf_engine_create(NULL, &engine), 0);
    assert_int_equal(near_start(engine), 0);
    return engine;
}

/* A stream of touches with both handlers at the descriptor: each page comes in
 * once, and each fault is answered by one of them. */
static void touches_are_served_once(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct uf_space_opts opts = {.window_pages = 4,
                                     .engine = near_engine()};
        struct uf_space *space = live_space(&opts, NPAGES);

        for (size_t i = 0; i < NPAGES; i++) {
            near_come(opts.engine->channels[0]);
            assert_int_equal(live_write(live_page(space, i), 7, NULL), 0);
        }
        assert_int_equal(live_stats(space).pages_installed, NPAGES);
        assert_int_equal(live_stats(space).faults, NPAGES / 4);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
        assert_int_equal(uf_engine_destroy(opts.engine), 0);
    }
}

struct mover {
    pthread_t thread;
    struct uf_space *space;
    size_t first;
};

static void *touch_and_call(void *arg)
{
    struct mover *m = arg;

    for (size_t i = m->first; i < NPAGES; i += 2) {
        near_come(m->space->engine->channels[0]);
        if (live_write(live_page(m->space, i), 1, NULL) != 0)
            return m;
    }
    return NULL;
}

/* Several threads call it to and fro while they touch the same pages. */
static void threads_call_it_to_and_fro(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct uf_space_opts opts = {.window_pages = 2,
                                     .engine = near_engine()};
        struct uf_space *space = live_space(&opts, NPAGES);
        struct mover m[THREADS];
        void *failed;

        for (size_t i = 0; i < THREADS; i++) {
            m[i] = (struct mover){.space = space, .first = i % 2};
            pthread_create(&m[i].thread, NULL, touch_and_call, &m[i]);
        }
        for (size_t i = 0; i < THREADS; i++) {
            pthread_join(m[i].thread, &failed);
            assert_null(failed);
        }
        assert_int_equal(live_stats(space).pages_installed, NPAGES);
        assert_int_equal(uf_space_destroy(space), 0);
        assert_int_equal(uf_engine_destroy(opts.engine), 0);
    }
}

/* It is where it was asked to come, and of the policy that makes room. */
static void it_comes_to_the_caller(void **state)
{
    struct uf_engine *engine = near_engine();
    struct near *near = atomic_load(&engine->channels[0]->near);
    cpu_set_t before, one, its;
    int cpu = sched_getcpu();
    pid_t tid;

    (void)state;
    sched_getaffinity(0, sizeof(before), &before);
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    while ((tid = atomic_load(&near->handler->tid)) == 0)
        sched_yield();
    near_come(engine->channels[0]);
    assert_int_equal(atomic_load(&near->at_cpu), cpu);
    assert_int_equal(sched_getaffinity(tid, sizeof(its), &its), 0);
    assert_true(CPU_EQUAL(&its, &one));
    while (sched_getscheduler(tid) != SCHED_IDLE)
        sched_yield();
    sched_setaffinity(0, sizeof(before), &before);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

/* The near handler of the engine stays in its copies while `hold` is set. */
static const struct uffd_ops *real_ops;
static struct uffd_ops held_ops;
static _Atomic pid_t near_tid;
static atomic_bool hold, is_held, all_touched;

static struct uffd_result held_copy(struct uffd *u, struct range range,
                                    const void *from)
{
    while (atomic_load(&hold) &&
           atomic_load(&near_tid) == (pid_t)syscall(SYS_gettid)) {
        atomic_store(&is_held, true);
        sched_yield();
    }
    return real_ops->copy(u, range, from);
}

static struct uf_engine *engine_that_can_be_held(void)
{
    struct uf_engine *engine;
    struct near *near;
    struct uffd uffd;

    assert_int_equal(engine_open_uffd(0, UF_ENGINE_THREAD, &uffd), 0);
    real_ops = uffd.ops;
    held_ops = *uffd.ops;
    held_ops.copy = held_copy;
    uffd.ops = &held_ops;
    assert_int_equal(engine_create_on(NULL, &uffd, &engine), 0);
    assert_int_equal(near_start(engine), 0);
    near = atomic_load(&engine->channels[0]->near);
    while (atomic_load(&near->handler->tid) == 0)
        sched_yield();
    atomic_store(&near_tid, atomic_load(&near->handler->tid));
    return engine;
}

static void *touch_all(void *arg)
{
    struct uf_space *space = arg;

    for (size_t i = 0; i < NPAGES; i++) {
        near_come(space->engine->channels[0]);
        if (live_write(live_page(space, i), 3, NULL) != 0)
            return space;
    }
    atomic_store(&all_touched, true);
    return NULL;
}

/* One that has taken a fault and does not get to answer it is given an ordinary
 * policy and every CPU; it is itself again after that fault. */
static void a_stuck_one_is_rescued(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1,
                                 .engine = engine_that_can_be_held()};
    struct near *near = atomic_load(&opts.engine->channels[0]->near);
    bool caught = false;

    (void)state;
    for (int round = 0; round < 100 && !caught; round++) {
        struct uf_space *space = live_space(&opts, NPAGES);
        pthread_t toucher;
        void *failed;

        atomic_store(&is_held, false);
        atomic_store(&all_touched, false);
        atomic_store(&hold, true);
        assert_int_equal(pthread_create(&toucher, NULL, touch_all, space), 0);
        while (!atomic_load(&is_held) && !atomic_load(&all_touched))
            sched_yield();
        caught = atomic_load(&is_held);
        while (caught && !atomic_load(&near->rescued))
            sched_yield();
        if (caught) {
            cpu_set_t its;

            while (sched_getscheduler(near_tid) != SCHED_OTHER)
                sched_yield();
            do
                assert_int_equal(sched_getaffinity(near_tid, sizeof(its), &its),
                                 0);
            while (CPU_COUNT(&its) == 1 && sysconf(_SC_NPROCESSORS_ONLN) > 1);
        }
        atomic_store(&hold, false);
        pthread_join(toucher, &failed);
        assert_null(failed);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_true(caught);
    while (sched_getscheduler(near_tid) != SCHED_IDLE)
        sched_yield();
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* Without being asked: an engine has one, which goes where faults come from. */
static void it_goes_where_faults_come_from(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct near *near;

    (void)state;
    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    near = atomic_load(&opts.engine->channels[0]->near);
    assert_int_equal(near != NULL, near_is_worth_it(opts.engine));
    while (near && atomic_load(&near->at_cpu) < 0) {
        struct uf_space *space = live_space(&opts, NPAGES);

        for (size_t i = 0; i < NPAGES; i++)
            assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

static ssize_t fill_seven(void *context, const struct uf_fill *request)
{
    (void)context;
    memset(request->buffer, 7, request->len_bytes);
    return (ssize_t)request->len_bytes;
}

/* What runs foreign code is not for it: that could block with the descriptor in
 * its hands. The others serve. */
static void it_leaves_pagers_to_others(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1, .engine = near_engine()};
    struct uf_space *space;
    struct uf_pager *pager;
    unsigned char byte = 0;

    (void)state;
    assert_int_equal(uf_pager_callback(fill_seven, NULL, &pager), 0);
    opts.heap_pager = pager;
    space = live_space(&opts, NPAGES);
    uf_pager_unref(pager);
    for (size_t i = 0; i < NPAGES; i++) {
        near_come(opts.engine->channels[0]);
        assert_int_equal(live_read(live_page(space, i), &byte, NULL), 0);
        assert_int_equal(byte, 7);
    }
    assert_true(
        atomic_load(&atomic_load(&opts.engine->channels[0]->near)->retired));
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* A file's pager is ours. It serves what is in the page cache, and hands on
 * what has to be waited for. */
static void it_serves_what_is_cached(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1, .engine = near_engine()};
    char path[] = "/tmp/ufault-near-XXXXXX", bytes[4096];
    struct uf_space *space;
    struct uf_store *store;
    unsigned char byte = 0;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    unlink(path);
    memset(bytes, 7, sizeof(bytes));
    for (size_t at = 0; at < NPAGES * page_size(); at += sizeof(bytes))
        assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(uf_store_fd(fd, 0, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &opts.heap_pager), 0);
    uf_store_unref(store);
    space = live_space(&opts, NPAGES);
    for (size_t i = 0; i < NPAGES; i++) {
        if (i % 16 == 0)
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        near_come(opts.engine->channels[0]);
        assert_int_equal(live_read(live_page(space, i), &byte, NULL), 0);
        assert_int_equal(byte, 7);
    }
    assert_false(
        atomic_load(&atomic_load(&opts.engine->channels[0]->near)->retired));
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(opts.heap_pager);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touches_are_served_once),
        cmocka_unit_test(threads_call_it_to_and_fro),
        cmocka_unit_test(it_comes_to_the_caller),
        cmocka_unit_test(a_stuck_one_is_rescued),
        cmocka_unit_test(it_goes_where_faults_come_from),
        cmocka_unit_test(it_leaves_pagers_to_others),
        cmocka_unit_test(it_serves_what_is_cached),
    };
    int skipped = live_begin();
    struct uf_engine *engine;

    if (!skipped && uf_engine_create(NULL, &engine) == 0) {
        if (near_start(engine) == -EPERM) {
            puts("no CAP_SYS_NICE: no near handler");
            skipped = 77;
        }
        uf_engine_destroy(engine);
    }
    return skipped ? skipped
                   : cmocka_run_group_tests_name("near", tests, NULL, NULL);
}
