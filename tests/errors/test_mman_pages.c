/* SPDX-License-Identifier: MIT */
/*
 * Every error that ufault/mman.h documents for mincore, mlock and its family,
 * and msync; and -EDEADLK of all that change a map, called by a pager.
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
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/hostcalls.h"
#include "lib/sides.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct uf_space *space;
static size_t page;
static uintptr_t there; /* four pages that are mapped */

static int setup(void **state)
{
    (void)state;
    page = page_size();
    space = live_space(NULL, 0);
    there = live_page(space, 100);
    assert_int_equal(
        uf_mmap(space, there, 4 * page, RW, ANON | MAP_FIXED, -1, 0), there);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slab_inject_failure(0, 0);
    pages_write(there, 4, 1);
    assert_true(pages_are(there, 4, 1, 0));
    assert_int_equal(uf_munlockall(space), 0);
    assert_int_equal(live_stats(space).locked_vm, 0);
    return uf_space_destroy(space);
}

/* ---------------------------------------------------------------- mincore --
 */

/* provokes: uf_mincore -EINVAL -EFAULT -ENOMEM */
static void arguments_of_mincore(void **state)
{
    unsigned char vec[8];

    (void)state;
    assert_int_equal(uf_mincore(NULL, there, page, vec), -EINVAL);
    assert_int_equal(uf_mincore(space, there + 1, page, vec), -EINVAL);
    assert_int_equal(uf_mincore(space, there, page, NULL), -EFAULT);
    assert_int_equal(uf_mincore(space, there, page, (unsigned char *)8),
                     -EFAULT);
    assert_int_equal(uf_mincore(space, there - page, page, vec), -ENOMEM);
    assert_int_equal(uf_mincore(space, there, 5 * page, vec), -ENOMEM);
    assert_int_equal(uf_mincore(space, there, SIZE_MAX, vec), -ENOMEM);
    host_fail(HOST_MINCORE, 1, EAGAIN); /* no memory for a moment */
    assert_int_equal(uf_mincore(space, there, page, vec), -ENOMEM);
    assert_int_equal(host_fail_end(), 1);
    assert_int_equal(uf_mincore(space, there, 0, NULL), 0);
}

/* ------------------------------------------------------------------ locks --
 */

/* provokes: uf_mlock -EINVAL -ENOMEM
 * provokes: uf_mlock2 -EINVAL -ENOMEM
 * provokes: uf_munlock -EINVAL -ENOMEM */
static void arguments_of_mlock(void **state)
{
    (void)state;
    assert_int_equal(uf_mlock(NULL, there, page), -EINVAL);
    assert_int_equal(uf_mlock2(NULL, there, page, 0), -EINVAL);
    assert_int_equal(uf_munlock(NULL, there, page), -EINVAL);
    assert_int_equal(uf_mlock(space, there, SIZE_MAX - page), -EINVAL);
    assert_int_equal(uf_mlock2(space, there, SIZE_MAX - page, 0), -EINVAL);
    assert_int_equal(uf_mlock2(space, there, page, 2), -EINVAL);
    assert_int_equal(uf_munlock(space, there, SIZE_MAX - page), -EINVAL);
    assert_int_equal(uf_mlock(space, there - page, page), -ENOMEM);
    assert_int_equal(uf_mlock2(space, there + 4 * page, 1, UF_MLOCK_ONFAULT),
                     -ENOMEM);
    assert_int_equal(uf_munlock(space, there - page, page), -ENOMEM);
    /* The host's own limit. */
    host_fail(HOST_MLOCK, 1, ENOMEM);
    assert_int_equal(uf_mlock(space, there, page), -ENOMEM);
    assert_int_equal(host_fail_end(), 1);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 2);
    assert_int_equal(uf_mlock(space, there + page, page), -ENOMEM);
    assert_int_equal(live_stats(space).locked_vm, 0);
    assert_int_equal(uf_mlock(space, there, 4 * page), 0);
    assert_int_equal(uf_munlock(space, there + page, page), -ENOMEM);
    assert_int_equal(live_stats(space).locked_vm, 4);
}

/* provokes: uf_mlock -EPERM
 * provokes: uf_mlock2 -EPERM
 * provokes: uf_mlockall -EPERM -EINVAL -ENOMEM
 * provokes: uf_munlockall -EINVAL */
static void too_much_to_lock(void **state)
{
    (void)state;
    uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 3 * page);
    assert_int_equal(uf_mlock(space, there, 4 * page), -ENOMEM);
    assert_int_equal(uf_mlockall(space, UF_MCL_CURRENT), -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 0);
    assert_int_equal(uf_mlock(space, there, page), -EPERM);
    assert_int_equal(uf_mlock2(space, there, page, 0), -EPERM);
    assert_int_equal(uf_mlockall(space, UF_MCL_FUTURE), -EPERM);
    assert_int_equal(uf_mlockall(space, 0), -EINVAL);
    assert_int_equal(uf_mlockall(space, 8), -EINVAL);
    assert_int_equal(uf_mlockall(space, UF_MCL_ONFAULT), -EINVAL);
    assert_int_equal(uf_mlockall(NULL, UF_MCL_CURRENT), -EINVAL);
    assert_int_equal(uf_munlockall(NULL), -EINVAL);
    assert_int_equal(live_stats(space).locked_vm, 0);
}

static ssize_t supply_nothing(struct live_pager *p,
                              const struct uf_fill *request)
{
    (void)p;
    (void)request;
    return -EIO;
}

/* provokes: uf_mlock -ENOMEM -EAGAIN
 * provokes: uf_mlock2 -ENOMEM -EAGAIN */
static void pages_that_cannot_be_locked_in(void **state)
{
    uintptr_t p = there + 10 * page;
    struct live_pager failing;

    (void)state;
    live_pager_init(&failing, supply_nothing, NULL);
    assert_int_equal(uf_mmap_pager(space, p, 2 * page, RW,
                                   MAP_PRIVATE | MAP_FIXED, failing.pager, 0),
                     p);
    assert_int_equal(uf_mlock(space, p, page), -ENOMEM);
    assert_int_equal(uf_munlock(space, p, page), 0);
    assert_int_equal(uf_mlock2(space, p, 2 * page, 0), -ENOMEM);
    /* No buffer to fill: whichever allocation that is. */
    assert_int_equal(uf_mlock(space, p, 2 * page), -ENOMEM);
    slab_inject_failure(1, 1);
    assert_int_equal(uf_mlock(space, p, 2 * page), -EAGAIN);
    slab_inject_failure(1, 1);
    assert_int_equal(uf_mlock2(space, p, 2 * page, 0), -EAGAIN);
    slab_inject_failure(0, 0);
    assert_int_equal(uf_munmap(space, p, 2 * page), 0);
    uf_pager_unref(failing.pager);
}

/* ------------------------------------------------------------------ msync --
 */

/* provokes: uf_msync -EINVAL -ENOMEM -EBUSY -EIO -ENOSPC */
static void arguments_of_msync(void **state)
{
    int fd = pages_file(2, 1);
    uintptr_t p = there + 10 * page;

    (void)state;
    assert_int_equal(uf_msync(NULL, there, page, MS_SYNC), -EINVAL);
    assert_int_equal(uf_msync(space, there + 1, page, MS_SYNC), -EINVAL);
    assert_int_equal(uf_msync(space, there, page, MS_SYNC | MS_ASYNC), -EINVAL);
    assert_int_equal(uf_msync(space, there, page, 0x100), -EINVAL);
    assert_int_equal(uf_msync(space, there - page, page, MS_SYNC), -ENOMEM);
    assert_int_equal(uf_msync(space, there, 5 * page, MS_ASYNC), -ENOMEM);
    assert_int_equal(uf_msync(space, there, 0 - there - page, MS_SYNC),
                     -ENOMEM);
    assert_int_equal(uf_msync(space, there, SIZE_MAX - 2 * page, MS_SYNC),
                     -ENOMEM);
    assert_int_equal(uf_mlock(space, there, page), 0);
    assert_int_equal(uf_msync(space, there, page, MS_INVALIDATE), -EBUSY);
    assert_int_equal(
        uf_mmap(space, p, 2 * page, RW, MAP_SHARED | MAP_FIXED, fd, 0), p);
    host_fail(HOST_MSYNC, 1, EIO);
    assert_int_equal(uf_msync(space, p, 2 * page, MS_SYNC), -EIO);
    host_fail(HOST_MSYNC, 1, ENOSPC);
    assert_int_equal(uf_msync(space, p, 2 * page, MS_SYNC), -ENOSPC);
    assert_int_equal(host_fail_end(), 1);
    assert_int_equal(uf_msync(space, p, 2 * page, MS_SYNC), 0);
    close(fd);
}

/* -------------------------------------------------------- handler threads --
 */

/* What a fill may not do. Returns how many calls were not refused. */
static int change_the_map(void)
{
    uintptr_t p = there;
    int wrong = 0;

    wrong += uf_mmap(space, 0, page, RW, ANON, -1, 0) != -EDEADLK;
    wrong += uf_mmap_pager(space, 0, page, RW, MAP_PRIVATE, uf_pager_zero(),
                           0) != -EDEADLK;
    wrong += uf_munmap(space, p, page) != -EDEADLK;
    wrong += uf_mprotect(space, p, page, PROT_READ) != -EDEADLK;
    wrong += uf_mremap(space, p, page, page, 0, 0) != -EDEADLK;
    wrong += uf_madvise(space, p, page, MADV_DONTNEED) != -EDEADLK;
    wrong += uf_mlock(space, p, page) != -EDEADLK;
    wrong += uf_mlock2(space, p, page, 0) != -EDEADLK;
    wrong += uf_munlock(space, p, page) != -EDEADLK;
    wrong += uf_mlockall(space, UF_MCL_CURRENT) != -EDEADLK;
    wrong += uf_munlockall(space) != -EDEADLK;
    return wrong;
}

static ssize_t fill_and_change(struct live_pager *p,
                               const struct uf_fill *request)
{
    atomic_fetch_add((atomic_int *)p->arg, 1 + 100 * change_the_map());
    return live_fill(request, request->len_bytes);
}

/* provokes: uf_mmap -EDEADLK
 * provokes: uf_munmap -EDEADLK
 * provokes: uf_mprotect -EDEADLK
 * provokes: uf_mremap -EDEADLK
 * provokes: uf_madvise -EDEADLK
 * provokes: uf_mlock -EDEADLK
 * provokes: uf_mlock2 -EDEADLK
 * provokes: uf_munlock -EDEADLK
 * provokes: uf_mlockall -EDEADLK
 * provokes: uf_munlockall -EDEADLK */
static void a_pager_may_not_change_the_map(void **state)
{
    uintptr_t p = there + 10 * page;
    atomic_int count = 0;
    struct live_pager changing;

    (void)state;
    live_pager_init(&changing, fill_and_change, &count);
    assert_int_equal(uf_mmap_pager(space, p, page, RW, MAP_PRIVATE | MAP_FIXED,
                                   changing.pager, 0),
                     p);
    assert_int_equal(live_read(p, NULL, NULL), 0);
    assert_int_equal(atomic_load(&count), 1);
    assert_int_equal(live_stats(space).total_vm, 5);
    assert_int_equal(uf_munmap(space, p, page), 0);
    uf_pager_unref(changing.pager);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arguments_of_mincore), TEST(arguments_of_mlock),
        TEST(too_much_to_lock),     TEST(pages_that_cannot_be_locked_in),
        TEST(arguments_of_msync),   TEST(a_pager_may_not_change_the_map),
    };
    int skipped;

    host_calls_begin();
    skipped = live_begin();
    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mincore, mlock, msync", tests, NULL,
                                       NULL);
}
