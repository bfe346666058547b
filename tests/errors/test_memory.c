/* SPDX-License-Identifier: MIT */
/*
 * No memory: each allocation of each call fails once, in turn; then the map
 * count runs out. The call answers -ENOMEM, nothing has changed, nothing is
 * lost, and the same call goes through as soon as there is memory.
 *
 *     call with the 1st allocation failing ─► -ENOMEM, as before
 *     call with the 2nd allocation failing ─► -ENOMEM, as before
 *     ...                                     until it succeeds
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
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"

/* What may be lost. */
struct belongings {
    size_t records; /* of all slab caches */
    size_t fds;
    long pages; /* mapped */
};

static struct belongings count_belongings(void)
{
    struct belongings b = {slab_live_everywhere(), live_count_fds(), 0};
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &b.pages), 1);
    fclose(file);
    return b;
}

/* Calls `attempt` until it succeeds, with one allocation more allowed each
 * time. Returns how many failed. */
static unsigned long fail_each(int (*attempt)(void *), void *arg)
{
    unsigned long n = 0;
    int err;

    do {
        struct belongings before = count_belongings(), after;

        slab_inject_failure(++n, 1);
        err = attempt(arg);
        slab_inject_failure(0, 0);
        if (err == 0)
            break;
        after = count_belongings();
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(after.records, before.records);
        assert_int_equal(after.fds, before.fds);
    } while (n < 100);
    assert_int_equal(err, 0);
    return n - 1;
}

/* The same over and over: what is kept for good is kept by the first rounds;
 * then the process stays as large as it is. */
static void fail_again_and_again(unsigned long (*round)(void))
{
    struct belongings before, after;

    for (int i = 0; i < 3; i++)
        assert_true(round() > 0);
    before = count_belongings();
    for (int i = 0; i < 20; i++)
        assert_true(round() > 0);
    after = count_belongings();
    assert_int_equal(after.records, before.records);
    assert_int_equal(after.fds, before.fds);
    if (!LIVE_SANITIZED) /* a sanitizer keeps what was freed */
        assert_in_range(after.pages, 0, before.pages + 64);
}

/* ---------------------------------------------------------------- engines --
 */

static int make_engine(void *arg)
{
    struct uf_engine_opts opts = {
        .size = sizeof(opts), .nhandlers = 3, .ndescriptors = 2};

    return uf_engine_create(&opts, arg);
}

static unsigned long engine_round(void)
{
    struct uf_engine *engine = NULL;
    unsigned long failed = fail_each(make_engine, &engine);

    assert_int_equal(uf_engine_destroy(engine), 0);
    return failed;
}

/* provokes: uf_engine_create -ENOMEM */
static void an_engine_without_memory(void **state)
{
    (void)state;
    fail_again_and_again(engine_round);
}

/* ----------------------------------------------------------------- spaces --
 */

struct making {
    struct uf_space_opts opts;
    struct uf_space *space;
};

static int make_space(void *arg)
{
    struct making *making = arg;
    int err = uf_space_create(&making->opts, &making->space);

    assert_true(err == 0 || !making->space);
    return err;
}

static unsigned long space_round_on(struct uf_engine *engine,
                                    struct uf_pager *pager)
{
    struct making making = {.opts = {.size = sizeof(making.opts),
                                     .len_bytes = (size_t)1 << 20,
                                     .engine = engine,
                                     .heap_pager = pager}};
    unsigned long failed = fail_each(make_space, &making);

    assert_true(uf_sbrk(making.space, 100) > 0);
    assert_int_equal(live_write(live_page(making.space, 0), 1, NULL), 0);
    assert_int_equal(uf_space_destroy(making.space), 0);
    return failed;
}

static unsigned long space_round(void)
{
    return space_round_on(NULL, NULL);
}

/* provokes: uf_space_create -ENOMEM */
static void a_space_and_its_engine_without_memory(void **state)
{
    (void)state;
    fail_again_and_again(space_round);
}

/* With a pager of the user's the engine starts more threads. */
static unsigned long paged_space_round(void)
{
    struct uf_engine *engine;
    struct live_pager p;
    unsigned long failed;

    live_pager_init(&p, NULL, NULL);
    assert_int_equal(uf_engine_create(NULL, &engine), 0);
    failed = space_round_on(engine, p.pager);
    assert_int_equal(uf_engine_destroy(engine), 0);
    uf_pager_unref(p.pager);
    assert_int_equal(atomic_load(&p.released), 1);
    return failed;
}

/* provokes: uf_space_create -ENOMEM */
static void a_space_with_a_pager_without_memory(void **state)
{
    (void)state;
    fail_again_and_again(paged_space_round);
}

/* ----------------------------------------------------------------- pagers --
 */

static ssize_t never_called(void *context, const struct uf_fill *request)
{
    (void)context;
    (void)request;
    return -EIO;
}

static int make_pager(void *arg)
{
    const struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "p", .fill = never_called};

    return uf_pager_create(&ops, NULL, arg);
}

static int make_callback(void *arg)
{
    return uf_pager_callback(never_called, NULL, arg);
}

static unsigned long pager_round(void)
{
    struct uf_pager *pager = NULL;
    unsigned long failed = fail_each(make_pager, &pager);

    uf_pager_unref(pager);
    failed += fail_each(make_callback, &pager);
    uf_pager_unref(pager);
    return failed;
}

/* provokes: uf_pager_create -ENOMEM
 * provokes: uf_pager_callback -ENOMEM */
static void a_pager_without_memory(void **state)
{
    (void)state;
    fail_again_and_again(pager_round);
}

/* ------------------------------------------------------------------ break --
 */

struct moving {
    struct uf_space *space;
    intptr_t increment;
};

/* 0 or -ENOMEM; a refused movement has changed nothing. */
static int move_break(void *arg)
{
    struct moving *m = arg;
    struct uf_stats before = live_stats(m->space), after;
    uintptr_t want = before.brk + (uintptr_t)m->increment;
    uintptr_t now = uf_brk(m->space, want);

    if (now == want)
        return 0;
    after = live_stats(m->space);
    assert_true(now == before.brk);
    assert_int_equal(after.total_vm, before.total_vm);
    assert_int_equal(after.data_vm, before.data_vm);
    assert_int_equal(after.map_count, before.map_count);
    assert_int_equal(after.resident, before.resident);
    return -ENOMEM;
}

/* provokes: uf_sbrk -ENOMEM */
static void a_break_without_memory(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct moving m = {.space = live_space(&opts, 0),
                       .increment = (intptr_t)(8 * page_size())};
    unsigned long failed;

    (void)state;
    /* The first growth needs records; uf_sbrk fails like uf_brk. */
    slab_inject_failure(1, 1);
    assert_int_equal(uf_sbrk(m.space, 1), -ENOMEM);
    failed = fail_each(move_break, &m);
    assert_true(failed > 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(live_write(live_page(m.space, i), 5, NULL), 0);
    m.increment = -(intptr_t)(3 * page_size());
    fail_each(move_break, &m);
    m.increment = (intptr_t)(5 * page_size());
    fail_each(move_break, &m);
    assert_int_equal(
        live_mincore(live_page(m.space, 0), live_page(m.space, 10)), 5);
    m.increment = -(intptr_t)(10 * page_size());
    fail_each(move_break, &m);
    assert_int_equal(live_stats(m.space).total_vm, 0);
    assert_int_equal(uf_space_destroy(m.space), 0);
}

/* A locked space cannot be populated for want of a buffer: the break moves all
 * the same, as in the kernel, and touches bring the pages in. */
static void a_locked_break_without_memory(void **state)
{
    struct uf_space_opts opts = {.flags = UF_SPACE_LOCKED};
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 1);
    for (unsigned long n = 1; n < 6; n++) {
        slab_inject_failure(n, 100);
        uf_sbrk(space, (intptr_t)page_size());
        slab_inject_failure(0, 0);
    }
    assert_true(live_is_pattern(space, uf_space_base(space),
                                uf_brk(space, 0) - uf_space_base(space)));
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

/* ------------------------------------------------------------------ faults --
 */

/* A fault needs no memory of ours but for the statistics of the thread: every
 * allocation fails from now on, and the touches are served. */
static void faults_without_memory(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct live_pager p;
    struct uf_space *zero, *paged;

    (void)state;
    zero = live_space(&opts, 64);
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    paged = live_space(&opts, 64);
    slab_inject_failure(1, 1000000);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(live_write(live_page(zero, i), 1, NULL), 0);
        assert_int_equal(live_read(live_page(paged, i), NULL, NULL), 0);
    }
    slab_inject_failure(0, 0);
    assert_true(live_is_pattern(paged, live_page(paged, 0), 64 * page_size()));
    live_assert_law(zero);
    live_assert_law(paged);
    assert_int_equal(live_stats(zero).faults, 64);
    assert_int_equal(uf_space_destroy(zero), 0);
    assert_int_equal(uf_space_destroy(paged), 0);
    uf_pager_unref(p.pager);
}

struct populating {
    struct uf_space *space;
};

static int populate(void *arg)
{
    struct populating *p = arg;

    return uf_populate(p->space, uf_space_base(p->space), 4 * page_size());
}

/* provokes: uf_populate -ENOMEM */
static void populating_without_memory(void **state)
{
    struct uf_space_opts opts = {0};
    struct populating populating;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    populating.space = live_space(&opts, 4);
    assert_true(fail_each(populate, &populating) > 0);
    assert_true(live_is_pattern(
        populating.space, uf_space_base(populating.space), 4 * page_size()));
    assert_int_equal(uf_space_destroy(populating.space), 0);
    uf_pager_unref(p.pager);
}

/* ------------------------------------------------------------------ texts --
 */

static int write_each(struct uf_space *space, int which, char *text)
{
    ssize_t len = which == 0   ? uf_space_maps(space, text, 8192)
                  : which == 1 ? uf_space_smaps(space, text, 8192)
                               : uf_space_status(space, text, 8192);

    return len < 0 ? (int)len : 0;
}

struct writing {
    struct uf_space *space;
    int which;
};

static int write_text(void *arg)
{
    struct writing *writing = arg;
    char text[8192] = "as it was";
    int err = write_each(writing->space, writing->which, text);

    assert_true((err == 0) == (strcmp(text, "as it was") != 0));
    return err;
}

/* provokes: uf_space_maps -ENOMEM
 * provokes: uf_space_smaps -ENOMEM
 * provokes: uf_space_status -ENOMEM */
static void texts_without_memory(void **state)
{
    struct writing writing = {.space = live_space(NULL, 2)};

    (void)state;
    assert_true(uf_mmap(writing.space, 0, page_size(), PROT_READ,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0) > 0);
    for (; writing.which < 3; writing.which++)
        assert_in_range(fail_each(write_text, &writing), 2, 3);
    assert_int_equal(uf_space_destroy(writing.space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_without_memory),
        cmocka_unit_test(a_space_and_its_engine_without_memory),
        cmocka_unit_test(a_space_with_a_pager_without_memory),
        cmocka_unit_test(a_pager_without_memory),
        cmocka_unit_test(a_break_without_memory),
        cmocka_unit_test(a_locked_break_without_memory),
        cmocka_unit_test(faults_without_memory),
        cmocka_unit_test(populating_without_memory),
        cmocka_unit_test(texts_without_memory),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
