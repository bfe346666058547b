/* SPDX-License-Identifier: MIT */
/*
 * mremap of anonymous memory: every mode, on a space and on the kernel's own;
 * bytes and residency move along, nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW (PROT_READ | PROT_WRITE)

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define STAY  (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)

/* npages at page `first`, every page but each third touched. */
static uintptr_t make(struct side *s, size_t first, size_t npages, unsigned tag)
{
    uintptr_t p = side_map(s, first, npages, RW, 0);

    for (size_t i = 0; i < npages; i++)
        if (i % 3 != 2)
            *(volatile uint64_t *)(p + i * page_size()) = tag + i;
    return p;
}

/* Pages [from, from + npages) of what make made are at p. */
static bool is_made(uintptr_t p, size_t npages, unsigned tag, size_t from)
{
    for (size_t i = 0; i < npages; i++)
        if (*(volatile uint64_t *)(p + i * page_size()) !=
            ((from + i) % 3 != 2 ? tag + from + i : 0))
            return false;
    return true;
}

/* Asserts that the touched pages of make, and no others, are resident: a
 * window of one page, or the kernel. */
static void assert_residency(struct side *s, uintptr_t p, size_t npages)
{
    unsigned char vec[512];

    assert_int_equal(side_mincore(s, p, npages * page_size(), vec), 0);
    for (size_t i = 0; i < npages; i++)
        if (i % 3 != 2)
            assert_int_equal(vec[i] & 1, 1);
}

/* ------------------------------------------------------------- in place -- */

static void in_place_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 6, 10);

    assert_int_equal(side_mremap(s, p, 6 * page, 20 * page, 0, 0), p);
    assert_true(is_made(p, 6, 10, 0));
    assert_true(pages_are_zero(p + 6 * page, 14));
    assert_unmapped(s, p + 20 * page);
    assert_int_equal(side_mremap(s, p, 20 * page, 3 * page, 0, 0), p);
    assert_true(is_made(p, 3, 10, 0));
    assert_unmapped(s, p + 3 * page);
    assert_unmapped(s, p + 19 * page);
    /* What comes back is new. */
    assert_int_equal(side_mremap(s, p, 3 * page, 6 * page, 0, 0), p);
    assert_true(pages_are_zero(p + 3 * page, 3));
    /* No change; the length is rounded up. */
    assert_int_equal(side_mremap(s, p, 6 * page, 6 * page, 0, 0), p);
    assert_int_equal(side_mremap(s, p, 6 * page - 5, 5 * page + 1, 0, 0), p);
    assert_true(is_made(p, 3, 10, 0));
}

static void a_mapping_grows_and_shrinks_in_place(void **state)
{
    (void)state;
    on_all_sides(in_place_body);
}

/* Only its end can grow, only over free pages, and without MAYMOVE only there.
 */
static void blocked_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 6, 10), q;

    make(s, 12, 1, 50);
    assert_int_equal(side_mremap(s, p, 6 * page, 9 * page, 0, 0), -ENOMEM);
    assert_int_equal(side_mremap(s, p, 2 * page, 3 * page, 0, 0), -ENOMEM);
    assert_int_equal(side_mremap(s, p, 6 * page, 8 * page, 0, 0), p);
    assert_true(is_made(p, 6, 10, 0));
    q = (uintptr_t)side_mremap(s, p, 8 * page, 40 * page, MREMAP_MAYMOVE, 0);
    assert_true((intptr_t)q > 0 && q != p);
    assert_true(is_made(q, 6, 10, 0));
    assert_true(pages_are_zero(q + 6 * page, 34));
    assert_unmapped(s, p);
    assert_unmapped(s, p + 7 * page);
    assert_true(is_made(side_at(s, 12), 1, 50, 0));
    assert_int_equal(side_munmap(s, q, 40 * page), 0);
}

static void what_cannot_grow_in_place_moves_if_it_may(void **state)
{
    (void)state;
    on_all_sides(blocked_body);
}

/* A part from the middle that must grow leaves the mapping it was part of. */
static void middle_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 12, 10);
    uintptr_t q = (uintptr_t)side_mremap(s, p + 3 * page, 3 * page, 5 * page,
                                         MREMAP_MAYMOVE, 0);

    assert_true((intptr_t)q > 0);
    assert_true(is_made(q, 3, 10, 3));
    assert_true(pages_are_zero(q + 3 * page, 2));
    assert_true(is_made(p, 3, 10, 0));
    assert_true(is_made(p + 6 * page, 6, 10, 6));
    assert_unmapped(s, p + 3 * page);
    assert_unmapped(s, p + 5 * page);
    assert_int_equal(side_munmap(s, q, 5 * page), 0);
}

static void a_part_from_the_middle_moves_out(void **state)
{
    (void)state;
    on_all_sides(middle_body);
}

/* ------------------------------------------------------------------ FIXED --
 */

static void fixed_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 100, 10), q = side_at(s, 200);

    make(s, 250, 5, 70); /* is replaced */
    assert_int_equal(side_mremap(s, p, 100 * page, 100 * page, FIXED, q), q);
    assert_residency(s, q, 100);
    assert_true(is_made(q, 100, 10, 0));
    assert_unmapped(s, p);
    assert_unmapped(s, p + 99 * page);
    /* Back, longer; back, shorter. */
    assert_int_equal(side_mremap(s, q, 100 * page, 120 * page, FIXED, p), p);
    assert_true(is_made(p, 100, 10, 0));
    assert_true(pages_are_zero(p + 100 * page, 20));
    assert_int_equal(side_mremap(s, p, 120 * page, 50 * page, FIXED, q), q);
    assert_true(is_made(q, 50, 10, 0));
    assert_unmapped(s, q + 50 * page);
    assert_unmapped(s, p + 50 * page);
    assert_unmapped(s, p);
    /* What was left is free, and new when it is mapped. */
    side_map(s, 4, 120, RW, 0);
    assert_true(pages_are_zero(p, 120));
}

static void fixed_moves_where_it_is_told(void **state)
{
    (void)state;
    on_all_sides(fixed_body);
}

/* A neighbour of the same kind at either side of the new place. */
static void between_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 6, 10), q = side_at(s, 40);

    make(s, 34, 6, 40);
    make(s, 46, 6, 60);
    assert_int_equal(side_mremap(s, p, 6 * page, 6 * page, FIXED, q), q);
    assert_true(is_made(q, 6, 10, 0));
    assert_true(is_made(q - 6 * page, 6, 40, 0));
    assert_true(is_made(q + 6 * page, 6, 60, 0));
    /* And now as one. */
    assert_int_equal(side_mprotect(s, q - 6 * page, 18 * page, PROT_READ), 0);
    assert_refused(q, true);
    assert_int_equal(side_mprotect(s, q - 6 * page, 18 * page, RW), 0);
    assert_int_equal(side_munmap(s, q - 3 * page, 12 * page), 0);
    assert_true(is_made(q - 6 * page, 3, 40, 0));
    assert_true(is_made(q + 9 * page, 3, 60, 3));
}

static void a_mapping_moves_between_its_like(void **state)
{
    (void)state;
    on_all_sides(between_body);
}

static void refused_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 10, 8, 10), q = side_at(s, 40);
    const struct {
        uintptr_t from, old_len, new_len, to;
        int flags, err;
    } calls[] = {
        {p, 8, 8, p + page, FIXED, -EINVAL},     /* overlap */
        {p, 8, 8, p, FIXED, -EINVAL},            /* wholly */
        {p, 8, 2, p + 7 * page, FIXED, -EINVAL}, /* of the old length */
        {p, 2, 8, p - 7 * page, FIXED, -EINVAL}, /* of the new length */
        {p, 8, 8, q + 1, FIXED, -EINVAL},
        {p + 1, 8, 8, q, FIXED, -EINVAL},
        {p, 8, 0, q, FIXED, -EINVAL},
        {p, 8, 8, q, MREMAP_FIXED, -EINVAL},
        {p, 8, 8, q, MREMAP_DONTUNMAP, -EINVAL},
        {p, 8, 9, q, FIXED | MREMAP_DONTUNMAP, -EINVAL},
        {p, 8, 9, q, STAY, -EINVAL},
        {p, 8, 8, q, FIXED | 8, -EINVAL},
        {p, 0, 8, q, FIXED, -EINVAL}, /* private */
        {p, 0, 8, 0, MREMAP_MAYMOVE, -EINVAL},
        {p - page, 8, 8, q, FIXED, -EFAULT},
        {p - page, 1, 2, 0, MREMAP_MAYMOVE, -EFAULT},
        {p, 9, 10, 0, MREMAP_MAYMOVE, -EFAULT},
        {p, 9, 10, q, FIXED, -EFAULT},
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        assert_int_equal(side_mremap(s, calls[i].from, calls[i].old_len * page,
                                     calls[i].new_len * page, calls[i].flags,
                                     calls[i].to),
                         calls[i].err);
    assert_true(is_made(p, 8, 10, 0));
    assert_unmapped(s, q);
    assert_unmapped(s, p - page);
    assert_unmapped(s, p + 8 * page);
}

static void what_cannot_be_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    on_all_sides(refused_body);
}

/* -------------------------------------------------------------- DONTUNMAP --
 */

static void stay_body(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 4, 30, 10), q = side_at(s, 100), r;

    assert_int_equal(
        side_mremap(s, p, 30 * page, 30 * page, FIXED | MREMAP_DONTUNMAP, q),
        q);
    assert_true(is_made(q, 30, 10, 0));
    assert_int_equal(side_resident(s, p, 30), 0);
    assert_true(pages_are_zero(p, 30));
    pages_write(p, 30, 5);
    assert_true(is_made(q, 30, 10, 0));
    /* Anywhere, and a part. */
    r = (uintptr_t)side_mremap(s, q + 6 * page, 9 * page, 9 * page, STAY, 0);
    assert_true((intptr_t)r > 0);
    assert_true(is_made(r, 9, 10, 6));
    assert_true(is_made(q, 6, 10, 0));
    assert_true(pages_are_zero(q + 6 * page, 9));
    assert_true(is_made(q + 15 * page, 15, 10, 15));
    assert_true(pages_are(p, 30, 5, 0));
    assert_int_equal(side_munmap(s, r, 9 * page), 0);
}

static void dontunmap_leaves_an_empty_mapping(void **state)
{
    (void)state;
    on_all_sides(stay_body);
}

/* ---------------------------------------------------------- several at once --
 */

/* Linux 6.17 and later: mappings of different kinds move together, with the
 * gaps between them. Older kernels refuse it; a space never does. */
static void several(struct side *s)
{
    size_t page = page_size();
    uintptr_t p = make(s, 10, 6, 10), q = side_at(s, 100);

    side_map(s, 16, 3, PROT_READ, 0);
    make(s, 25, 6, 30);
    side_map(s, 31, 2, PROT_NONE, 0);
    assert_int_equal(
        side_mremap(s, p + page, 30 * page, 30 * page, FIXED, q + page),
        q + page);
    assert_true(is_made(p, 1, 10, 0));
    assert_unmapped(s, p + page);
    assert_unmapped(s, p + 15 * page);
    assert_unmapped(s, p + 22 * page);
    assert_true(is_made(q + page, 5, 10, 1));
    assert_true(pages_are_zero(q + 6 * page, 3));
    assert_refused(q + 6 * page, true);
    assert_unmapped(s, q + 9 * page);
    assert_unmapped(s, q + 14 * page);
    assert_true(is_made(q + 15 * page, 6, 30, 0));
    assert_refused(q + 21 * page, false);
    assert_unmapped(s, q + 23 * page);
    /* A hole at its start, or nothing at all. */
    assert_int_equal(side_mremap(s, q, 10 * page, 10 * page, FIXED, p),
                     -EFAULT);
    assert_int_equal(side_mremap(s, q + 30 * page, page, page, FIXED, p),
                     -EFAULT);
    assert_true(is_made(q + page, 5, 10, 1));
}

static void several_mappings_move_with_their_gaps(void **state)
{
    struct uf_space_opts opts = {.len_bytes = SIDE_BYTES, .window_pages = 1};
    struct side s = {.space = live_space(&opts, 0)};

    (void)state;
    s.base = uf_space_base(s.space);
    several(&s);
    live_assert_law(s.space);
    assert_int_equal(uf_space_destroy(s.space), 0);
}

/* ------------------------------------------------------------------ churn --
 */

/* A thread writes to a page through whatever place it is at, while it is moved
 * to and fro: nothing it wrote is lost. */
struct mover {
    struct side *side;
    _Atomic uintptr_t at;
    atomic_bool stop;
    int wrong;
};

static void *move_to_and_fro(void *arg)
{
    struct mover *m = arg;
    uintptr_t a = side_at(m->side, 4), b = side_at(m->side, 40), t;
    size_t len = 4 * page_size();

    for (int i = 0; i < 300 || !atomic_load(&m->stop); i++) {
        m->wrong += side_mremap(m->side, a, len, len, FIXED, b) != (intptr_t)b;
        atomic_store(&m->at, b);
        t = a;
        a = b;
        b = t;
    }
    return NULL;
}

static void churn_body(struct side *s)
{
    struct mover m = {.side = s, .at = side_map(s, 4, 4, RW, 0)};
    unsigned char expected = 0, now;
    unsigned written = 0;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, move_to_and_fro, &m), 0);
    while (written < 200) {
        uintptr_t at = atomic_load(&m.at) + page_size();

        if (live_read(at, &now, NULL) != 0)
            continue; /* it has just moved */
        assert_int_equal(now, expected);
        if (live_write(at, (unsigned char)(expected + 1), NULL) != 0)
            continue;
        expected++;
        written++;
    }
    atomic_store(&m.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(m.wrong, 0);
    assert_int_equal(
        *(volatile unsigned char *)(atomic_load(&m.at) + page_size()),
        expected);
}

static void what_is_written_during_moves_is_not_lost(void **state)
{
    (void)state;
    on_all_sides(churn_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapping_grows_and_shrinks_in_place),
        cmocka_unit_test(what_cannot_grow_in_place_moves_if_it_may),
        cmocka_unit_test(a_part_from_the_middle_moves_out),
        cmocka_unit_test(fixed_moves_where_it_is_told),
        cmocka_unit_test(a_mapping_moves_between_its_like),
        cmocka_unit_test(what_cannot_be_is_refused_and_changes_nothing),
        cmocka_unit_test(dontunmap_leaves_an_empty_mapping),
        cmocka_unit_test(several_mappings_move_with_their_gaps),
        cmocka_unit_test(what_is_written_during_moves_is_not_lost),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mremap", tests, NULL, NULL);
}
