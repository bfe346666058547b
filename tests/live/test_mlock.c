/* SPDX-License-Identifier: MIT */
/*
 * mlock and its family: what is locked is resident and stays so, in the host
 * too (Locked of /proc/self/smaps); and how much may be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"
#include "mm/advice.h"

#define RW (PROT_READ | PROT_WRITE)

static size_t locked_pages(uintptr_t p, size_t npages)
{
    return host_smaps_kb(p, p + npages * page_size(), "Locked:") * 1024 /
           page_size();
}

/* ------------------------------------------------------------ on all sides --
 */

static void lock_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 40, RW, 0);
    size_t page = page_size();

    assert_int_equal(side_mlock2(s, p + 10 * page, 20 * page, 0), 0);
    assert_int_equal(side_resident(s, p + 10 * page, 20), 20);
    assert_int_equal(locked_pages(p, 40), 20);
    assert_false(host_has_flag(p, " lo"));
    assert_true(host_has_flag(p + 10 * page, " lo"));
    assert_true(host_has_flag(p + 29 * page, " lo"));
    assert_false(host_has_flag(p + 30 * page, " lo"));
    /* Whatever pages the bytes are in. */
    assert_int_equal(side_mlock2(s, p + page - 1, 2, 0), 0);
    assert_int_equal(locked_pages(p, 40), 22);
    assert_int_equal(side_munlock(s, p + page - 1, 2), 0);
    assert_int_equal(side_munlock(s, p + 15 * page, 5 * page), 0);
    assert_int_equal(locked_pages(p, 40), 15);
    assert_int_equal(side_munlock(s, p, 40 * page), 0);
    assert_int_equal(locked_pages(p, 40), 0);
    assert_int_equal(side_mlock2(s, p, 0, 0), 0);
    assert_int_equal(side_munlock(s, p, 0), 0);
}

static void what_is_locked_is_resident_and_pinned(void **state)
{
    (void)state;
    on_all_sides(lock_body);
}

static void onfault_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 64, RW, 0);
    size_t page = page_size();

    assert_int_equal(side_mlock2(s, p, 64 * page, UF_MLOCK_ONFAULT), 0);
    assert_int_equal(side_resident(s, p, 64), 0);
    pages_write(p, 3, 1);
    assert_true(locked_pages(p, 64) >= 3);
    /* Then at once after all. */
    assert_int_equal(side_mlock2(s, p, 64 * page, 0), 0);
    assert_int_equal(locked_pages(p, 64), 64);
    assert_int_equal(side_mlock2(s, p, page, 2), -EINVAL);
    assert_int_equal(side_munlock(s, p, 64 * page), 0);
}

static void onfault_locks_pages_as_they_come(void **state)
{
    (void)state;
    on_all_sides(onfault_body);
}

static void hole_body(struct side *s)
{
    uintptr_t p = side_map(s, 10, 4, RW, 0);
    size_t page = page_size();

    side_map(s, 16, 4, RW, 0);
    /* What lies before the hole is locked, and not populated. */
    assert_int_equal(side_mlock2(s, p, 10 * page, 0), -ENOMEM);
    assert_true(host_has_flag(p, " lo"));
    assert_false(host_has_flag(p + 6 * page, " lo"));
    assert_int_equal(side_mlock2(s, p - page, 2 * page, 0), -ENOMEM);
    assert_int_equal(side_munlock(s, p, 10 * page), -ENOMEM);
    assert_false(host_has_flag(p, " lo"));
    assert_int_equal(side_mlock2(s, p, SIZE_MAX - p - page, 0), -ENOMEM);
    assert_int_equal(side_mlock2(s, p, SIZE_MAX - page, 0), -EINVAL);
    assert_int_equal(side_munlock(s, p, SIZE_MAX - page), -EINVAL);
    /* Closed memory is locked; that it cannot be populated is the answer. */
    side_map(s, 10, 4, PROT_NONE, 0);
    assert_int_equal(side_mlock2(s, p, 4 * page, 0), -ENOMEM);
    assert_true(host_has_flag(p, " lo"));
}

static void a_hole_stops_it_half_way(void **state)
{
    (void)state;
    on_all_sides(hole_body);
}

/* Locked memory that moves, grows or is protected stays locked; its contents
 * come along. */
static void changes_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, RW, 0), q = side_at(s, 50);
    size_t page = page_size();

    assert_int_equal(side_mlock2(s, p, 8 * page, 0), 0);
    pages_write(p, 8, 1);
    assert_int_equal(side_mremap(s, p, 8 * page, 12 * page, 0, 0), p);
    assert_int_equal(locked_pages(p, 12), 12);
    assert_int_equal(side_mremap(s, p, 12 * page, 20 * page,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, q),
                     q);
    assert_int_equal(locked_pages(q, 20), 20);
    assert_true(pages_are(q, 8, 1, 0));
    assert_int_equal(side_mprotect(s, q, 10 * page, PROT_READ), 0);
    assert_int_equal(locked_pages(q, 20), 20);
    assert_int_equal(side_munmap(s, q, 20 * page), 0);
    side_map(s, 50, 20, RW, 0);
    pages_write(q, 20, 1);
    assert_int_equal(locked_pages(q, 20), 0);
    side_map(s, 0, 12, RW, 0);
    pages_write(p, 12, 1);
    assert_int_equal(locked_pages(p, 12), 0);
}

static void locks_move_and_end_with_the_mapping(void **state)
{
    (void)state;
    on_all_sides(changes_body);
}

/* Files and shared memory, too. */
static void shared_body(struct side *s)
{
    uintptr_t p = side_at(s, 0);
    size_t page = page_size();
    int fd = pages_file(8, 1);

    assert_int_equal(
        side_mmap(s, p, 8 * page, RW, MAP_SHARED | MAP_FIXED, fd, 0), p);
    assert_int_equal(side_mmap(s, p + 8 * page, 8 * page, RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     p + 8 * page);
    assert_int_equal(side_mlock2(s, p, 16 * page, 0), 0);
    assert_int_equal(locked_pages(p, 16), 16);
    assert_int_equal(side_msync(s, p, 8 * page, MS_INVALIDATE), -EBUSY);
    assert_int_equal(side_munlock(s, p, 16 * page), 0);
    assert_int_equal(locked_pages(p, 16), 0);
    assert_int_equal(side_msync(s, p, 8 * page, MS_INVALIDATE), 0);
    close(fd);
}

static void files_can_be_locked(void **state)
{
    (void)state;
    on_all_sides(shared_body);
}

/* ------------------------------------------------- a space's own: mlockall --
 */

static struct uf_space *space;
static struct side side;

static void make(void)
{
    struct uf_space_opts opts = {.window_pages = 1};

    space = live_space(&opts, 4);
    side = (struct side){.space = space, .base = live_page(space, 100)};
}

static void unmake(void)
{
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void current_locks_what_is_there(void **state)
{
    uintptr_t p, q;

    (void)state;
    make();
    p = side_map(&side, 0, 8, RW, 0);
    q = side_map(&side, 20, 8, PROT_NONE, 0);
    assert_int_equal(uf_mlockall(space, UF_MCL_CURRENT), 0);
    assert_int_equal(locked_pages(p, 8), 8);
    assert_true(host_has_flag(q, " lo"));
    assert_int_equal(live_stats(space).locked_vm, 20);
    assert_int_equal(live_stats(space).resident, 12);
    /* What comes is not. */
    p = side_map(&side, 40, 4, RW, 0);
    assert_int_equal(live_mincore(p, p + 4 * page_size()), 0);
    assert_int_equal(live_stats(space).locked_vm, 20);
    assert_int_equal(uf_munlockall(space), 0);
    assert_int_equal(live_stats(space).locked_vm, 0);
    assert_int_equal(live_stats(space).locked_vm_peak, 20);
    assert_int_equal(locked_pages(side.base, 60), 0);
    unmake();
}

static void future_locks_what_comes(void **state)
{
    size_t page = page_size();
    uintptr_t p;

    (void)state;
    make();
    assert_int_equal(uf_mlockall(space, UF_MCL_FUTURE), 0);
    assert_int_equal(live_stats(space).locked_vm, 0);
    p = side_map(&side, 0, 8, RW, 0);
    assert_int_equal(locked_pages(p, 8), 8);
    assert_int_equal(uf_sbrk(space, (intptr_t)(2 * page)), live_page(space, 4));
    assert_int_equal(live_mincore(live_page(space, 4), live_page(space, 6)), 2);
    assert_int_equal(live_stats(space).locked_vm, 10);
    /* As it is touched. */
    assert_int_equal(uf_mlockall(space, UF_MCL_FUTURE | UF_MCL_ONFAULT), 0);
    p = side_map(&side, 20, 8, RW, 0);
    assert_int_equal(live_mincore(p, p + 8 * page), 0);
    pages_write(p, 2, 1);
    assert_int_equal(locked_pages(p, 8), 2);
    assert_int_equal(uf_munlockall(space), 0);
    p = side_map(&side, 40, 8, RW, 0);
    pages_write(p, 8, 1);
    assert_int_equal(live_stats(space).locked_vm, 0);
    assert_int_equal(locked_pages(p, 8), 0);
    unmake();
}

/* A page that was closed when it was locked is populated when it opens. */
static void opening_locked_memory_populates_it(void **state)
{
    uintptr_t p;

    (void)state;
    make();
    p = side_map(&side, 0, 8, PROT_READ, MAP_LOCKED);
    assert_int_equal(live_mincore(p, p + 8 * page_size()), 8);
    p = side_map(&side, 20, 8, PROT_NONE, MAP_LOCKED);
    assert_int_equal(live_mincore(p, p + 8 * page_size()), 0);
    assert_int_equal(uf_mprotect(space, p, 8 * page_size(), RW), 0);
    assert_int_equal(live_mincore(p, p + 8 * page_size()), 8);
    unmake();
}

/* ----------------------------------------------------------------- limits --
 */

static void the_limit_counts_pages_once(void **state)
{
    size_t page = page_size();
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uintptr_t p;

    (void)state;
    make();
    p = side_map(&side, 0, 40, RW, 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 10 * page), 0);
    assert_int_equal(uf_mlock(space, p, 11 * page), -ENOMEM);
    assert_int_equal(live_stats(space).locked_vm, 0);
    assert_int_equal(uf_mlock(space, p, 6 * page), 0);
    /* What is locked already does not count again. */
    assert_int_equal(uf_mlock(space, p + 2 * page, 8 * page), 0);
    assert_int_equal(live_stats(space).locked_vm, 10);
    assert_int_equal(uf_mlock(space, p, 10 * page), 0);
    assert_int_equal(uf_mlock(space, p + 10 * page, 1), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, flags | MAP_LOCKED, -1, 0),
                     -EAGAIN);
    assert_int_equal(uf_mlockall(space, UF_MCL_CURRENT), -ENOMEM);
    assert_int_equal(
        uf_mremap(space, p, 10 * page, 11 * page, MREMAP_MAYMOVE, 0), -EAGAIN);
    assert_int_equal(uf_munlock(space, p, page), 0);
    assert_int_equal(uf_mlock(space, p + 10 * page, 1), 0);
    assert_int_equal(live_stats(space).locked_vm, 10);
    /* FUTURE: what would be too much cannot be mapped. */
    assert_int_equal(uf_mlockall(space, UF_MCL_FUTURE), 0);
    assert_int_equal(uf_mmap(space, 0, page, RW, flags, -1, 0), -EAGAIN);
    assert_int_equal(uf_sbrk(space, (intptr_t)page), -ENOMEM);
    assert_int_equal(live_stats(space).locked_vm, 10);
    unmake();
}

static void a_limit_of_nothing_forbids_to_ask(void **state)
{
    size_t page = page_size();
    uintptr_t p;

    (void)state;
    make();
    p = side_map(&side, 0, 4, RW, MAP_LOCKED);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 0), 0);
    assert_int_equal(uf_mlock(space, p, page), -EPERM);
    assert_int_equal(uf_mlock2(space, p, page, UF_MLOCK_ONFAULT), -EPERM);
    assert_int_equal(uf_mlockall(space, UF_MCL_CURRENT), -EPERM);
    assert_int_equal(uf_mmap(space, 0, page, RW,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0),
                     -EPERM);
    assert_int_equal(live_stats(space).locked_vm, 4);
    assert_int_equal(uf_munlock(space, p, page), 0);
    assert_int_equal(uf_munlockall(space), 0);
    assert_int_equal(live_stats(space).locked_vm, 0);
    unmake();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_locked_is_resident_and_pinned),
        cmocka_unit_test(onfault_locks_pages_as_they_come),
        cmocka_unit_test(a_hole_stops_it_half_way),
        cmocka_unit_test(locks_move_and_end_with_the_mapping),
        cmocka_unit_test(files_can_be_locked),
        cmocka_unit_test(current_locks_what_is_there),
        cmocka_unit_test(future_locks_what_comes),
        cmocka_unit_test(opening_locked_memory_populates_it),
        cmocka_unit_test(the_limit_counts_pages_once),
        cmocka_unit_test(a_limit_of_nothing_forbids_to_ask),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mlock", tests, NULL, NULL);
}
