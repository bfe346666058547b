/* SPDX-License-Identifier: MIT */
/*
 * Templates and pools that cannot be: wrong arguments, no memory, no descriptors, no room, from a
 * pager. Nothing is left over, and the next try is right.
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
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/slab.h"
#include "fault/engine.h"
#include "lib/live.h"
#include "ufault/mman.h"
#include "ufault/template.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct uf_template *a_template(void)
{
    struct uf_space *space = live_space(NULL, 4);
    struct uf_template *t;

    assert_int_equal(live_write(live_page(space, 1), 5, NULL), 0);
    assert_int_equal(uf_template_create(space, &t), 0);
    assert_int_equal(uf_space_destroy(space), 0);
    return t;
}

/* provokes: uf_template_create -EINVAL -EOPNOTSUPP
 * provokes: uf_space_from_template -EINVAL -ENOMEM
 * provokes: uf_space_reset -EINVAL */
static void what_is_no_template(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *space = live_space(NULL, 4), *other = NULL;
    struct uf_template *t = a_template(), *none = NULL;
    intptr_t shared;

    (void)state;
    assert_int_equal(uf_template_create(NULL, &none), -EINVAL);
    assert_int_equal(uf_template_create(space, NULL), -EINVAL);
    shared =
        uf_mmap(space, 0, page_size(), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared > 0);
    assert_int_equal(uf_template_create(space, &none), -EOPNOTSUPP);
    assert_int_equal(uf_space_reset(NULL), -EINVAL);
    assert_int_equal(uf_space_reset(space), -EINVAL);
    assert_int_equal(uf_space_from_template(NULL, NULL, &other), -EINVAL);
    assert_int_equal(uf_space_from_template(t, NULL, NULL), -EINVAL);
    opts.len_bytes = 2 * page_size();
    assert_int_equal(uf_space_from_template(t, &opts, &other), -EINVAL);
    opts.len_bytes = 0;
    opts.limit_as = 2 * page_size();
    assert_int_equal(uf_space_from_template(t, &opts, &other), -ENOMEM);
    assert_int_equal(uf_template_bytes(NULL), 0);
    uf_template_unref(NULL);
    assert_null(uf_template_ref(NULL));
    uf_template_unref(t);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* What is put back twice would be two guests'. */
static void pool_put_twice(struct uf_template *t)
{
    struct uf_space *one, *two, *clone;
    struct uf_pool *pool;

    assert_int_equal(uf_pool_create(t, NULL, 2, &pool), 0);
    assert_int_equal(uf_pool_get(pool, &one), 0);
    assert_int_equal(uf_pool_put(pool, one), 0);
    assert_int_equal(uf_pool_put(pool, one), -EINVAL);
    assert_int_equal(uf_pool_get(pool, &one), 0);
    assert_int_equal(uf_pool_get(pool, &two), 0);
    assert_ptr_not_equal(one, two);
    assert_int_equal(uf_space_from_template(t, NULL, &clone), 0);
    assert_int_equal(uf_pool_put(pool, clone), -EINVAL);
    assert_int_equal(uf_space_destroy(clone), 0);
    assert_int_equal(uf_pool_put(pool, one), 0);
    assert_int_equal(uf_pool_put(pool, two), 0);
    assert_int_equal(uf_pool_ready(pool), 2);
    uf_pool_destroy(pool);
}

/* provokes: uf_pool_create -EINVAL
 * provokes: uf_pool_get -EINVAL -EAGAIN
 * provokes: uf_pool_limit -EINVAL
 * provokes: uf_pool_put -EINVAL */
static void what_is_no_pool(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .address = live_aligned_address()};
    struct uf_space *space = live_space(NULL, 4), *other = NULL, *another;
    struct uf_template *t = a_template();
    struct uf_pool *pool = NULL;

    (void)state;
    assert_int_equal(uf_pool_create(NULL, NULL, 1, &pool), -EINVAL);
    assert_int_equal(uf_pool_create(t, NULL, 1, NULL), -EINVAL);
    assert_int_equal(uf_pool_create(t, NULL, 65537, &pool), -EINVAL);
    assert_int_equal(uf_pool_create(t, &opts, 1, &pool), -EINVAL);
    assert_int_equal(uf_pool_create(t, NULL, 0, &pool), 0);
    assert_int_equal(uf_pool_get(NULL, &other), -EINVAL);
    assert_int_equal(uf_pool_get(pool, NULL), -EINVAL);
    assert_int_equal(uf_pool_put(NULL, space), -EINVAL);
    assert_int_equal(uf_pool_put(pool, NULL), -EINVAL);
    assert_int_equal(uf_pool_put(pool, space), -EINVAL);
    assert_int_equal(uf_pool_ready(NULL), 0);
    assert_int_equal(uf_pool_limit(NULL, 1), -EINVAL);
    assert_int_equal(uf_pool_limit(pool, 1), 0);
    assert_int_equal(uf_pool_get(pool, &other), 0);
    assert_int_equal(uf_pool_get(pool, &another), -EAGAIN);
    assert_int_equal(uf_pool_put(pool, other), 0);
    assert_int_equal(uf_pool_limit(pool, 0), 0);
    pool_put_twice(t);
    uf_pool_destroy(NULL);
    uf_pool_destroy(pool);
    uf_template_unref(t);
    assert_int_equal(uf_space_destroy(space), 0);
}

static ssize_t never_fill(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    (void)r;
    return -EIO;
}

/* provokes: uf_template_create -EFAULT */
static void a_page_that_cannot_be_had(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_template *t = NULL;
    struct uf_space *space;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, never_fill, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 4);
    assert_int_equal(uf_template_create(space, &t), -EFAULT);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

static struct uf_space *_Atomic its_space;
static struct uf_pool *_Atomic its_pool;
static atomic_int answers[3];

static ssize_t fill_and_call(struct live_pager *p, const struct uf_fill *r)
{
    struct uf_template *t;

    (void)p;
    answers[0] = uf_template_create(its_space, &t);
    answers[1] = uf_space_reset(its_space);
    answers[2] = uf_pool_put(its_pool, its_space);
    return live_fill(r, r->len_bytes);
}

/* provokes: uf_template_create -EDEADLK
 * provokes: uf_space_reset -EDEADLK
 * provokes: uf_pool_put -EDEADLK */
static void from_a_pager(void **state)
{
    struct uf_template *t = a_template();
    struct uf_space_opts opts = {0};
    struct uf_space *space;
    struct uf_pool *pool;
    struct live_pager p;

    (void)state;
    assert_int_equal(uf_pool_create(t, NULL, 0, &pool), 0);
    live_pager_init(&p, fill_and_call, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 4);
    its_space = space;
    its_pool = pool;
    assert_int_equal(live_read(live_page(space, 0), NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(answers[i], -EDEADLK);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
    uf_pool_destroy(pool);
    uf_template_unref(t);
}

/* Each allocation fails once. */
static unsigned long fail_each(int (*call)(void *arg), void *arg)
{
    unsigned long n = 1;
    int err = -ENOMEM;

    for (; err == -ENOMEM; n++) {
        size_t fds = live_count_fds(), live = slab_live_everywhere();

        slab_inject_failure(n, 1);
        err = call(arg);
        slab_inject_failure(0, 0);
        if (err)
            assert_int_equal(err, -ENOMEM);
        if (err) {
            assert_int_equal(live_count_fds(), fds);
            assert_int_equal(slab_live_everywhere(), live);
        }
    }
    assert_int_equal(err, 0);
    return n - 1;
}

static int create_template(void *arg)
{
    struct uf_template *t = NULL;
    int err = uf_template_create(arg, &t);

    uf_template_unref(t);
    return err;
}

static int create_pool(void *arg)
{
    struct uf_pool *pool = NULL;
    int err = uf_pool_create(arg, NULL, 2, &pool);

    uf_pool_destroy(pool);
    return err;
}

static int get_and_put(void *arg)
{
    struct uf_space *space;
    int err = uf_pool_get(arg, &space);

    return err ? err : uf_pool_put(arg, space);
}

/* provokes: uf_template_create -ENOMEM
 * provokes: uf_pool_create -ENOMEM
 * provokes: uf_pool_get -ENOMEM */
static void without_memory(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct uf_template *t = a_template();
    struct uf_pool *pool;

    (void)state;
    assert_int_equal(live_write(live_page(space, 1), 5, NULL), 0);
    assert_true(fail_each(create_template, space) > 1);
    assert_true(fail_each(create_pool, t) > 3);
    assert_int_equal(uf_pool_create(t, NULL, 0, &pool), 0);
    assert_true(fail_each(get_and_put, pool) > 1);
    uf_pool_destroy(pool);
    uf_template_unref(t);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_template_create -EMFILE */
static void without_descriptors(void **state)
{
    struct uf_space *space = live_space(NULL, 4);
    struct uf_template *t = NULL;
    struct rlimit before, few;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(uf_template_create(space, &t), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(create_template(space), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* A limit that was lowered since lets nothing be laid out again; raised, it
 * does. provokes: uf_space_reset -ENOMEM */
static void without_room(void **state)
{
    struct uf_template *t = a_template();
    struct uf_space *space;
    unsigned char byte = 0;

    (void)state;
    assert_int_equal(uf_space_from_template(t, NULL, &space), 0);
    assert_int_equal(uf_munmap(space, live_page(space, 0), page_size()), 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, page_size()), 0);
    assert_int_equal(uf_space_reset(space), -ENOMEM);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED), 0);
    assert_int_equal(uf_space_reset(space), 0);
    assert_int_equal(live_read(live_page(space, 1), &byte, NULL), 0);
    assert_int_equal(byte, 5);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_template_unref(t);
}

static struct uffd_result refuse(struct uffd *u, struct range range)
{
    (void)u;
    (void)range;
    return (struct uffd_result){.err = -EBUSY};
}

/* What uf_space_create answers is passed on.
 * provokes: uf_space_from_template -EEXIST -EBUSY */
static void without_a_place(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_template *t = a_template();
    struct uf_space *space = NULL, *other = live_space(NULL, 1);
    static struct uffd_ops ops;
    struct uffd uffd;

    (void)state;
    opts.address = uf_space_base(other);
    assert_int_equal(uf_space_from_template(t, &opts, &space), -EEXIST);
    opts.address = 0;
    assert_int_equal(engine_open_uffd(0, UF_ENGINE_THREAD, &uffd), 0);
    ops = *uffd.ops;
    ops.regist = refuse;
    uffd.ops = &ops;
    assert_int_equal(engine_create_on(NULL, &uffd, &opts.engine), 0);
    assert_int_equal(uf_space_from_template(t, &opts, &space), -EBUSY);
    assert_null(space);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
    assert_int_equal(uf_space_destroy(other), 0);
    uf_template_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_template),
        cmocka_unit_test(what_is_no_pool),
        cmocka_unit_test(a_page_that_cannot_be_had),
        cmocka_unit_test(from_a_pager),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(without_descriptors),
        cmocka_unit_test(without_room),
        cmocka_unit_test(without_a_place),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("template errors", tests, NULL,
                                                 NULL);
}
