/* SPDX-License-Identifier: MIT */
/*
 * uffd_parts: each call reaches the descriptors whose parts it concerns, and no
 * other; what crosses a boundary is cut there and can be gone on with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "base/slab.h"
#include "fault/install.h"
#include "host/uffd_parts.h"
#include "lib/fake_uffd.h"

#define HUGE ((size_t)2 << 20)
#define N    3
/* Not aligned: the first part is shorter by a page than those that follow, and
 * the last by more. */
#define START (((uintptr_t)1 << 30) + page_size())
#define END   (((uintptr_t)1 << 30) + 5 * HUGE)

struct rig {
    struct fake_uffd *fakes[N];
    struct uffd each[N];
    struct uffd *u;
};

/* The parts begin here; the fourth is the end. */
static uintptr_t bound(size_t i)
{
    uintptr_t bounds[] = {START, ((uintptr_t)1 << 30) + 2 * HUGE,
                          ((uintptr_t)1 << 30) + 4 * HUGE, END};

    return bounds[i];
}

static void set_up(struct rig *rig)
{
    struct uffd *each[N];

    for (size_t i = 0; i < N; i++) {
        rig->fakes[i] = fake_uffd_create();
        assert_non_null(rig->fakes[i]);
        rig->each[i] = fake_uffd_handle(rig->fakes[i]);
        each[i] = &rig->each[i];
    }
    assert_int_equal(
        uffd_parts_create(each, N, (struct range){START, END}, &rig->u), 0);
    rig->u->hold_wakes = true;
    assert_int_equal(uffd_register(rig->u, (struct range){START, END}).err, 0);
    for (size_t i = 0; i < N; i++)
        fake_map(rig->fakes[i], (struct range){bound(i), bound(i + 1)});
    assert_int_equal(install_zeros_init(), 0);
}

static void tear_down(struct rig *rig)
{
    uffd_close(rig->u);
    for (size_t i = 0; i < N; i++)
        fake_uffd_destroy(rig->fakes[i]);
}

static size_t resident(struct rig *rig, size_t i)
{
    return fake_resident(rig->fakes[i], (struct range){bound(i), bound(i + 1)});
}

/* Registered with each is its part: a page of another's is not mapped there. */
static void each_has_its_part_alone(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig);
    for (size_t i = 0; i < N; i++) {
        uintptr_t first = bound(i), last = bound(i + 1) - page_size();

        assert_int_equal(fake_page_get(rig.fakes[i], first), PAGE_ABSENT);
        assert_int_equal(fake_page_get(rig.fakes[i], last), PAGE_ABSENT);
        for (size_t other = 0; other < N; other++)
            if (other != i)
                assert_int_equal(fake_page_get(rig.fakes[other], first),
                                 PAGE_UNMAPPED);
    }
    tear_down(&rig);
}

/* A call over a boundary does what lies before it and says so. */
static void a_call_ends_at_a_boundary(void **state)
{
    struct rig rig;
    uintptr_t middle;
    struct range over;
    struct uffd_result r;
    void *bytes;

    (void)state;
    set_up(&rig);
    bytes = calloc(4, page_size());
    middle = bound(1);
    over = (struct range){middle - 2 * page_size(), middle + page_size()};
    r = rig.u->ops->zeropage(rig.u, over);
    assert_int_equal(r.err, -EAGAIN);
    assert_int_equal(r.done, 2 * page_size());
    assert_int_equal(resident(&rig, 0), 2);
    assert_int_equal(resident(&rig, 1), 0);

    middle = bound(2);
    over = (struct range){middle - page_size(), middle + 3 * page_size()};
    r = rig.u->ops->copy(rig.u, over, bytes);
    assert_int_equal(r.err, -EAGAIN);
    assert_int_equal(r.done, page_size());
    /* The rest lies in one part. */
    over.start = middle;
    r = rig.u->ops->copy(rig.u, over, bytes);
    assert_int_equal(r.err, 0);
    assert_int_equal(resident(&rig, 1), 1);
    assert_int_equal(resident(&rig, 2), 3);
    free(bytes);
    tear_down(&rig);
}

/* An error of the first part is the call's, as it is. */
static void an_error_is_passed_on(void **state)
{
    struct rig rig;
    uintptr_t middle;
    struct uffd_result r;

    (void)state;
    set_up(&rig);
    middle = bound(1);
    fake_page_set(rig.fakes[0], middle - page_size(), PAGE_ZERO);
    r = rig.u->ops->zeropage(
        rig.u, (struct range){middle - page_size(), middle + page_size()});
    assert_int_equal(r.err, -EEXIST);
    assert_int_equal(resident(&rig, 1), 0);
    tear_down(&rig);
}

/* An install goes over a boundary as over nothing, and wakes on either side. */
static void an_install_spans_parts(void **state)
{
    struct rig rig;
    struct install what;
    struct install_result r;

    (void)state;
    set_up(&rig);
    what = (struct install){
        .uffd = rig.u,
        .window = {bound(1) - page_size(), bound(1) + 5 * page_size()},
        .touched = bound(1) + page_size(),
        .write = true,
    };
    fake_touch(rig.fakes[0], 101, what.window.start, true);
    fake_touch(rig.fakes[1], 102, what.touched, true);
    fake_touch(rig.fakes[2], 103, bound(2), true);
    r = install_pages(&what);
    assert_int_equal(r.verdict, INSTALL_DONE);
    assert_int_equal(r.npages, 6);
    assert_int_equal(resident(&rig, 0), 1);
    assert_int_equal(resident(&rig, 1), 5);
    install_wake(rig.u, r.wake);
    assert_int_equal(fake_asleep(rig.fakes[0]), 0);
    assert_int_equal(fake_asleep(rig.fakes[1]), 0);
    assert_int_equal(fake_asleep(rig.fakes[2]), 1);
    tear_down(&rig);
}

/* Poison, a page at a time, reaches its part; so does an end of registering. */
static void a_page_is_refused_where_it_lies(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig);
    for (size_t i = 0; i < N; i++) {
        struct range page = {bound(i), bound(i) + page_size()};

        assert_int_equal(rig.u->ops->poison(rig.u, page).err, 0);
        assert_int_equal(fake_page_get(rig.fakes[i], page.start),
                         PAGE_POISONED);
    }
    assert_int_equal(
        rig.u->ops->unregister(rig.u, (struct range){START, END}).err, 0);
    tear_down(&rig);
}

/* What is smaller than a huge page is one part, however many were asked for. */
static void a_small_range_is_one_part(void **state)
{
    struct range small = {(uintptr_t)1 << 30,
                          ((uintptr_t)1 << 30) + HUGE - page_size()};
    struct rig rig = {0};
    struct uffd *each[N];
    size_t before = slab_live_everywhere();

    (void)state;
    for (size_t i = 0; i < N; i++) {
        rig.fakes[i] = fake_uffd_create();
        rig.each[i] = fake_uffd_handle(rig.fakes[i]);
        each[i] = &rig.each[i];
    }
    assert_int_equal(uffd_parts_create(each, N, small, &rig.u), 0);
    assert_int_equal(uffd_register(rig.u, small).err, 0);
    fake_map(rig.fakes[0], small);
    assert_int_equal(rig.u->ops->zeropage(rig.u, small).err, 0);
    assert_int_equal(fake_resident(rig.fakes[0], small) * page_size(),
                     range_len(small));
    uffd_close(rig.u);
    assert_int_equal(slab_live_everywhere(), before);
    for (size_t i = 0; i < N; i++)
        fake_uffd_destroy(rig.fakes[i]);
}

static void without_memory_there_is_none(void **state)
{
    struct rig rig = {0};
    struct uffd *each[1] = {&rig.each[0]};

    (void)state;
    slab_inject_failure(1, 1);
    assert_int_equal(
        uffd_parts_create(each, 1, (struct range){START, END}, &rig.u),
        -ENOMEM);
    slab_inject_failure(0, 0);
    assert_null(rig.u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_part_alone),
        cmocka_unit_test(a_call_ends_at_a_boundary),
        cmocka_unit_test(an_error_is_passed_on),
        cmocka_unit_test(an_install_spans_parts),
        cmocka_unit_test(a_page_is_refused_where_it_lies),
        cmocka_unit_test(a_small_range_is_one_part),
        cmocka_unit_test(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("uffd_parts", tests, NULL, NULL);
}
