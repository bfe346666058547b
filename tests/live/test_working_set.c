/* SPDX-License-Identifier: MIT */
/*
 * Which pages a run touches is recorded, by whom ever they are touched, each
 * once, in order; and what is reported of a set agrees with a recount by those
 * who touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/guest.h"
#include "lib/live.h"

#define TOUCHED  400u
#define NTHREADS 4u

static struct uf_space *recorded_guest(void)
{
    struct uf_space *space = guest_start(guest_path, 0);

    assert_int_equal(uf_working_set_record(space), 0);
    return space;
}

/* Ends the recording; the pages, at most GUEST_PAGES. */
static size_t stop(struct uf_space *space, uint64_t *pages)
{
    struct uf_working_set *set;
    size_t n;

    assert_int_equal(uf_working_set_stop(space, &set), 0);
    n = uf_working_set_pages(set, pages, GUEST_PAGES);
    uf_working_set_destroy(set);
    return n;
}

static void the_order_of_touches(void **state)
{
    uint64_t pages[TOUCHED], got[GUEST_PAGES];

    (void)state;
    for (uint32_t seed = 1; seed <= 4; seed++) {
        struct uf_space *space = recorded_guest();

        guest_draw(seed, pages, TOUCHED);
        for (size_t i = 0; i < TOUCHED; i++) {
            assert_true(guest_read_is_right(space, pages[i]));
            /* Once more, and one from before. */
            assert_true(guest_read_is_right(space, pages[i]));
            assert_true(guest_read_is_right(space, pages[i / 2]));
        }
        assert_int_equal(stop(space, got), TOUCHED);
        assert_memory_equal(got, pages, sizeof(pages));
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* Zero-paged memory beside what is the image's; writes; calls. */
static void every_kind_of_touch(void **state)
{
    struct uf_space *space = recorded_guest();
    uint64_t got[GUEST_PAGES], first;
    char bytes[16] = "x";
    intptr_t map = uf_mmap(space, 0, 8 * page_size(), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(map > 0);
    first = ((uintptr_t)map - uf_space_base(space)) / page_size();
    assert_int_equal(live_write(live_page(space, 5), 1, NULL), 0);
    assert_int_equal(live_read(live_page(space, first + 3), NULL, NULL), 0);
    assert_int_equal(uf_copy_in(space, bytes, live_page(space, 77), 16, NULL),
                     0);
    assert_int_equal(
        uf_copy_out(space, live_page(space, first + 1), bytes, 16, NULL), 0);
    assert_int_equal(uf_populate(space, live_page(space, 30), 2 * page_size()),
                     0);
    assert_int_equal(live_write(live_page(space, first + 3), 1, NULL), 0);
    /* Dropped, and touched again: recorded once. */
    assert_int_equal(
        uf_madvise(space, live_page(space, 5), page_size(), MADV_DONTNEED), 0);
    assert_int_equal(live_read(live_page(space, 5), NULL, NULL), 0);
    assert_int_equal(stop(space, got), 6);
    assert_int_equal(got[0], 5);
    assert_int_equal(got[1], first + 3);
    assert_int_equal(got[2], 77);
    assert_int_equal(got[3], first + 1);
    assert_int_equal(got[4], 30);
    assert_int_equal(got[5], 31);
    assert_int_equal(uf_space_destroy(space), 0);
}

struct toucher {
    struct uf_space *space;
    uint64_t pages[TOUCHED];
    size_t wrong;
};

static void *touch(void *arg)
{
    struct toucher *t = arg;

    for (size_t i = 0; i < TOUCHED; i++)
        t->wrong += !guest_read_is_right(t->space, t->pages[i]);
    return NULL;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Each page that any of them touches, once. */
static void several_threads(void **state)
{
    struct uf_space *space = recorded_guest();
    struct toucher touchers[NTHREADS];
    pthread_t threads[NTHREADS];
    bool touched[GUEST_PAGES] = {false};
    uint64_t got[GUEST_PAGES];
    size_t n, at = 0;

    (void)state;
    for (size_t i = 0; i < NTHREADS; i++) {
        touchers[i] = (struct toucher){.space = space};
        guest_draw((uint32_t)i + 1, touchers[i].pages, TOUCHED);
        for (size_t k = 0; k < TOUCHED; k++)
            touched[touchers[i].pages[k]] = true;
    }
    for (size_t i = 0; i < NTHREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, touch, &touchers[i]),
                         0);
    for (size_t i = 0; i < NTHREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(touchers[i].wrong, 0);
    }
    n = stop(space, got);
    qsort(got, n, sizeof(*got), by_number);
    for (uint64_t page = 0; page < GUEST_PAGES; page++)
        if (touched[page]) {
            assert_true(at < n);
            assert_int_equal(got[at++], page);
        }
    assert_int_equal(at, n);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Windows are as ever again. */
static void after_the_end(void **state)
{
    struct uf_space *space = recorded_guest();
    struct uf_stats before;
    uint64_t got[GUEST_PAGES];

    (void)state;
    assert_true(guest_read_is_right(space, 3));
    assert_int_equal(live_stats(space).pages_installed, 1);
    assert_int_equal(stop(space, got), 1);
    before = live_stats(space);
    assert_true(guest_read_is_right(space, 100));
    assert_true(live_stats(space).pages_installed > before.pages_installed + 1);
    /* And it can be recorded once more, and thrown away. */
    assert_int_equal(uf_working_set_record(space), 0);
    assert_int_equal(uf_working_set_stop(space, NULL), 0);
    assert_int_equal(uf_working_set_stop(space, NULL), -EINVAL);
    assert_int_equal(uf_working_set_record(space), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ---- What is reported of a set ---- */

/* How many of `pages` are in `set`. */
static size_t count_common(const uint64_t *set, size_t nset,
                           const uint64_t *pages, size_t npages)
{
    size_t n = 0;

    for (size_t i = 0; i < npages; i++)
        for (size_t k = 0; k < nset; k++)
            n += set[k] == pages[i];
    return n;
}

/* Nothing comes ahead: each touch is seen. */
static void used_unused_and_missed_are_exact(void **state)
{
    uint64_t pages[TOUCHED], touched[TOUCHED];

    (void)state;
    for (uint32_t seed = 1; seed <= 4; seed++) {
        struct uf_space *space;
        struct uf_working_set *set;
        struct uf_working_set_report r;
        size_t common;

        guest_draw(seed, pages, TOUCHED);
        guest_draw(seed + 100, touched, TOUCHED);
        common = count_common(pages, TOUCHED, touched, TOUCHED);
        guest_save_with(pages, TOUCHED);
        space = guest_start(guest_other, UF_SPACE_NO_AHEAD);
        assert_int_equal(uf_working_set_create(pages, TOUCHED, &set), 0);
        assert_int_equal(uf_working_set_ahead(space, set, 1), 0);
        uf_working_set_destroy(set);
        for (size_t i = 0; i < TOUCHED; i++)
            assert_true(guest_read_is_right(space, touched[i]));
        r = guest_report(space);
        assert_int_equal(r.pages, TOUCHED);
        assert_int_equal(r.ahead, 0);
        assert_int_equal(r.late, 0);
        assert_int_equal(r.coming, 0);
        assert_int_equal(r.left, TOUCHED);
        assert_int_equal(r.left_used, common);
        assert_int_equal(r.used, common);
        assert_int_equal(r.unused, TOUCHED - common);
        assert_int_equal(r.missed, TOUCHED - common);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* One in eight is left: of these alone it is known; the others came ahead. */
static void some_are_left(void **state)
{
    uint64_t pages[TOUCHED];
    struct uf_space *space;
    struct uf_working_set *set;
    struct uf_working_set_report r;

    (void)state;
    guest_draw(3, pages, TOUCHED);
    guest_save_with(pages, TOUCHED);
    space = guest_start(guest_other, UF_SPACE_NO_AHEAD);
    assert_int_equal(uf_working_set_create(pages, TOUCHED, &set), 0);
    assert_int_equal(uf_working_set_ahead(space, set, 8), 0);
    uf_working_set_destroy(set);
    guest_await_ahead(space);
    r = guest_report(space);
    assert_true(r.left > 0 && r.left < TOUCHED / 4);
    assert_int_equal(r.ahead, TOUCHED - r.left);
    assert_int_equal(r.left_used, 0);
    assert_int_equal(r.unused, TOUCHED);
    for (size_t i = 0; i < TOUCHED; i++)
        assert_true(guest_page_is_right(space, pages[i]));
    r = guest_report(space);
    assert_int_equal(r.left_used, r.left);
    assert_int_equal(r.used, TOUCHED);
    assert_int_equal(r.unused, 0);
    assert_int_equal(live_stats(space).faults, r.left);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* While it comes: ahead and late are all of the set, and missed what was
 * touched besides. */
static void ahead_and_late_are_all(void **state)
{
    uint64_t pages[TOUCHED];

    (void)state;
    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct uf_space *space;
        struct uf_working_set_report r;
        bool in_set[GUEST_PAGES] = {false};

        guest_draw(seed, pages, TOUCHED);
        guest_save_with(pages, TOUCHED);
        space = guest_start(guest_other, 0);
        for (size_t i = TOUCHED; i-- > 0;) {
            in_set[pages[i]] = true;
            assert_true(guest_read_is_right(space, pages[i]));
        }
        guest_await_ahead(space);
        r = guest_report(space);
        assert_int_equal(r.pages, TOUCHED);
        assert_int_equal(r.ahead + r.late, TOUCHED);
        assert_int_equal(r.missed, 0);
        assert_true(r.used <= TOUCHED && r.used >= r.late);
        assert_true(live_stats(space).faults >= r.late);
        for (uint64_t n = 0; n < GUEST_PAGES; n++)
            if (!in_set[n])
                assert_true(guest_read_is_right(space, n));
        r = guest_report(space);
        assert_int_equal(r.ahead + r.late, TOUCHED);
        assert_true(r.missed > 0 && r.missed <= GUEST_PAGES - TOUCHED);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* An image that stands on another gets a set; so does what is flattened of it.
 * Pages of the set are the parent's, its own, zeros, and not mapped. */
static void a_set_for_a_child(void **state)
{
    struct uf_image_opts how = {.size = sizeof(how)};
    struct uf_image_info info = {.size = sizeof(info)};
    const uint64_t pages[] = {900, 3, 10, 4, 1u << 20, 5};
    struct uf_space *space = guest_start(guest_path, 0);
    struct uf_working_set *set;
    struct uf_image *image;
    uint64_t got[6];
    char child[80], flat[80];

    (void)state;
    snprintf(child, sizeof(child), "%s.child", guest_path);
    snprintf(flat, sizeof(flat), "%s.flat", guest_path);
    assert_int_equal(live_write(live_page(space, 3), 77, NULL), 0);
    assert_int_equal(uf_image_open(guest_path, &how.parent), 0);
    assert_int_equal(uf_image_save(space, child, &how), 0);
    uf_image_close(how.parent);
    assert_int_equal(uf_space_destroy(space), 0);

    assert_int_equal(uf_working_set_create(pages, 6, &set), 0);
    assert_int_equal(uf_image_open(child, &image), 0);
    assert_int_equal(uf_image_set_working_set(image, child, set), 0);
    uf_image_close(image);
    uf_working_set_destroy(set);
    assert_int_equal(uf_image_open(child, &image), 0);
    assert_int_equal(uf_image_info(image, &info), 0);
    assert_int_equal(info.nparents, 1);
    assert_int_equal(info.nworking, 5);
    assert_int_equal(info.nahead, 1);
    assert_int_equal(uf_image_flatten(image, flat), 0);
    uf_image_close(image);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uf_image_open(i ? flat : child, &image), 0);
        assert_int_equal(uf_image_verify(image, NULL), 0);
        assert_int_equal(uf_image_info(image, &info), 0);
        assert_int_equal(uf_image_working_set(image, got, 6), 5);
        assert_int_equal(got[0], 900);
        assert_int_equal(got[4], 5);
        uf_image_close(image);
        space = guest_start(i ? flat : child, 0);
        guest_await_ahead(space);
        assert_int_equal(guest_report(space).ahead, 5);
        assert_int_equal(*(char *)live_page(space, 3), 77);
        for (uint64_t n = 0; n < GUEST_PAGES; n++)
            if (n != 3)
                assert_true(guest_page_is_right(space, n));
        assert_int_equal(uf_space_destroy(space), 0);
    }
    assert_int_equal(info.nahead, 3); /* 900 and 10 are zeros */
    unlink(child);
    unlink(flat);
}

/* provokes: uf_working_set_record -EINVAL
 * provokes: uf_working_set_record -EBUSY
 * provokes: uf_working_set_record -ENOMEM
 * provokes: uf_working_set_stop -EINVAL
 * provokes: uf_working_set_stop -ENOMEM
 * provokes: uf_working_set_ahead -EINVAL
 * provokes: uf_working_set_ahead -EBUSY
 * provokes: uf_working_set_ahead -ENOMEM
 * provokes: uf_working_set_report -EINVAL
 * provokes: uf_working_set_report -ENODATA */
static void wrong_calls(void **state)
{
    struct uf_working_set_report r = {.size = sizeof(r)};
    struct uf_space *space = guest_start(guest_path, 0);
    struct uf_working_set *set = NULL;
    uint64_t page = 3;

    (void)state;
    assert_int_equal(uf_working_set_record(NULL), -EINVAL);
    assert_int_equal(uf_working_set_stop(NULL, NULL), -EINVAL);
    assert_int_equal(uf_working_set_stop(space, &set), -EINVAL);
    assert_int_equal(uf_working_set_report(space, &r), -ENODATA);
    assert_int_equal(uf_working_set_report(space, NULL), -EINVAL);
    assert_int_equal(uf_working_set_report(NULL, &r), -EINVAL);
    r.size--;
    assert_int_equal(uf_working_set_report(space, &r), -EINVAL);
    assert_int_equal(uf_working_set_ahead(space, NULL, 0), -EINVAL);
    for (unsigned long n = 1; n <= 3; n++) {
        slab_inject_failure(n, 1);
        assert_int_equal(uf_working_set_record(space), -ENOMEM);
    }
    slab_inject_failure(0, 0);
    assert_int_equal(uf_working_set_record(space), 0);
    assert_int_equal(uf_working_set_record(space), -EBUSY);
    assert_true(guest_read_is_right(space, 3));
    slab_inject_failure(1, 1);
    assert_int_equal(uf_working_set_stop(space, &set), -ENOMEM);
    slab_inject_failure(0, 0);
    assert_int_equal(uf_working_set_stop(space, &set), 0);
    assert_int_equal(uf_working_set_pages(set, &page, 1), 1);
    assert_int_equal(page, 3);
    for (unsigned long n = 1; n <= 3; n++) {
        slab_inject_failure(n, 1);
        assert_int_equal(uf_working_set_ahead(space, set, 0), -ENOMEM);
    }
    slab_inject_failure(0, 0);
    assert_int_equal(uf_working_set_ahead(NULL, set, 0), -EINVAL);
    uf_working_set_destroy(set);
    uf_working_set_destroy(NULL);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_touches),
        cmocka_unit_test(every_kind_of_touch),
        cmocka_unit_test(several_threads),
        cmocka_unit_test(after_the_end),
        cmocka_unit_test(used_unused_and_missed_are_exact),
        cmocka_unit_test(some_are_left),
        cmocka_unit_test(ahead_and_late_are_all),
        cmocka_unit_test(a_set_for_a_child),
        cmocka_unit_test(wrong_calls),
    };
    int skip = live_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, guest_set_up, guest_tear_down);
}
