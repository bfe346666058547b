/* SPDX-License-Identifier: MIT */
/*
 * Every error that ufault/mman.h documents for mprotect, mremap and madvise.
 * What the kernel rarely answers it is made to (lib/hostcalls.h).
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
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/hostcalls.h"
#include "lib/sides.h"
#include "mm/advice.h"

#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static struct uf_space *space;
static size_t page;
static uintptr_t there; /* four pages that are mapped, and written to */

static intptr_t map(uintptr_t p, size_t npages, int prot, int flags, int fd)
{
    return uf_mmap(space, p, npages * page, prot, flags | MAP_FIXED, fd, 0);
}

static int setup(void **state)
{
    (void)state;
    page = page_size();
    space = live_space(NULL, 0);
    there = live_page(space, 100);
    assert_int_equal(map(there, 4, RW, ANON, -1), there);
    pages_write(there, 4, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(pages_are(there, 4, 1, 0));
    assert_int_equal(live_write(there, 0, NULL), 0);
    assert_int_equal(live_read(there - page, NULL, NULL), SIGSEGV);
    return uf_space_destroy(space);
}

/* --------------------------------------------------------------- mprotect --
 */

/* provokes: uf_mprotect -EINVAL -ENOMEM */
static void arguments_of_mprotect(void **state)
{
    (void)state;
    assert_int_equal(uf_mprotect(NULL, there, page, PROT_READ), -EINVAL);
    assert_int_equal(uf_mprotect(space, there + 1, page, PROT_READ), -EINVAL);
    assert_int_equal(uf_mprotect(space, there, page, 0x40), -EINVAL);
    assert_int_equal(uf_mprotect(space, there, page, RW | PROT_GROWSUP),
                     -EINVAL);
    assert_int_equal(uf_mprotect(space, there, page, RW | PROT_GROWSDOWN),
                     -EINVAL);
    assert_int_equal(uf_mprotect(space, there - page, page, PROT_READ),
                     -ENOMEM);
    assert_int_equal(uf_mprotect(space, there + 4 * page, page, PROT_READ),
                     -ENOMEM);
    assert_int_equal(uf_mprotect(space, there, 0 - page, PROT_READ), -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 2);
    assert_int_equal(uf_mprotect(space, there + page, page, PROT_READ),
                     -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 100);
    assert_int_equal(map(there + 10 * page, 2, PROT_READ, ANON, -1),
                     there + 10 * page);
    uf_space_set_limit(space, UF_LIMIT_DATA, 4 * page);
    assert_int_equal(uf_mprotect(space, there + 10 * page, page, RW), -ENOMEM);
    assert_int_equal(live_write(there + 10 * page, 1, NULL), SIGSEGV);
}

/* provokes: uf_mprotect -EACCES */
static void a_file_opened_for_reading(void **state)
{
    int fd = pages_file(1, 1), rd;
    uintptr_t p = there + 10 * page;
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(rd >= 0);
    assert_int_equal(map(p, 1, PROT_READ, MAP_SHARED, rd), p);
    assert_int_equal(uf_mprotect(space, p, page, RW), -EACCES);
    assert_int_equal(live_write(p, 1, NULL), SIGSEGV);
    assert_int_equal(live_read(p, NULL, NULL), 0);
    close(rd);
    close(fd);
}

/* ----------------------------------------------------------------- mremap --
 */

/* provokes: uf_mremap -EINVAL */
static void arguments_of_mremap(void **state)
{
    size_t len = 4 * page;
    uintptr_t to = there + 20 * page, base = uf_space_base(space);
    uintptr_t end = base + uf_space_len(space);
    const struct {
        uintptr_t from, old_len, new_len;
        int flags;
        uintptr_t to;
    } calls[] = {
        {there + 1, len, len, FIXED, to},
        {there, len, 0, FIXED, to},
        {there, len, 0, 0, 0},
        {there, len, len, FIXED | 8, to},
        {there, len, len, MREMAP_FIXED, to},
        {there, len, len, MREMAP_DONTUNMAP, to},
        {there, len, 2 * len, FIXED | MREMAP_DONTUNMAP, to},
        {there, len, len, FIXED, to + 1},
        {there, len, len, FIXED, there + page},
        {there, len, len, FIXED, there - page},
        {there, len, len, FIXED, end},
        {there, len, len, FIXED, end - page},
        {there, len, len, FIXED, base - page},
        {there, len, len, FIXED, 0 - page},
        {there, 0, len, MREMAP_MAYMOVE, 0},
        {there, 0, len, FIXED, to},
        {there, len, SIZE_MAX / 2, MREMAP_MAYMOVE, 0},
    };

    (void)state;
    assert_int_equal(uf_mremap(NULL, there, len, len, FIXED, to), -EINVAL);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        assert_int_equal(uf_mremap(space, calls[i].from, calls[i].old_len,
                                   calls[i].new_len, calls[i].flags,
                                   calls[i].to),
                         -EINVAL);
    assert_int_equal(live_stats(space).total_vm, 4);
}

/* provokes: uf_mremap -EFAULT */
static void nothing_to_move(void **state)
{
    uintptr_t to = there + 20 * page;

    (void)state;
    assert_int_equal(uf_mremap(space, to, page, page, FIXED, to + page),
                     -EFAULT);
    assert_int_equal(uf_mremap(space, to, page, 2 * page, MREMAP_MAYMOVE, 0),
                     -EFAULT);
    assert_int_equal(
        uf_mremap(space, there - page, 2 * page, 2 * page, FIXED, to), -EFAULT);
    assert_int_equal(uf_mremap(space, there, 5 * page, 6 * page, FIXED, to),
                     -EFAULT);
    assert_int_equal(uf_mremap(space, there, 5 * page, 5 * page,
                               MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to),
                     -EFAULT);
    assert_int_equal(live_stats(space).total_vm, 4);
}

/* provokes: uf_mremap -ENOMEM -EAGAIN */
static void no_room_to_grow(void **state)
{
    size_t len = 4 * page;
    uintptr_t to = there + 20 * page;

    (void)state;
    assert_int_equal(map(there + len, 1, PROT_NONE, ANON, -1), there + len);
    assert_int_equal(uf_mremap(space, there, len, 2 * len, 0, 0), -ENOMEM);
    assert_int_equal(
        uf_mremap(space, there, len, uf_space_len(space), MREMAP_MAYMOVE, 0),
        -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_AS, 5 * page);
    assert_int_equal(uf_mremap(space, there, len, 2 * len, MREMAP_MAYMOVE, 0),
                     -ENOMEM);
    assert_int_equal(
        uf_mremap(space, there, len, len, FIXED | MREMAP_DONTUNMAP, to),
        -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 4);
    assert_int_equal(uf_mremap(space, there, len, len, FIXED, to), -ENOMEM);
    assert_int_equal(uf_mremap(space, there, len, 2 * len, MREMAP_MAYMOVE, 0),
                     -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 100);
    assert_int_equal(uf_mlock(space, there, len), 0);
    uf_space_set_limit(space, UF_LIMIT_MEMLOCK, len);
    assert_int_equal(uf_mremap(space, there, len, 2 * len, MREMAP_MAYMOVE, 0),
                     -EAGAIN);
    assert_int_equal(live_stats(space).total_vm, 5);
}

/* ---------------------------------------------------------------- madvise --
 */

/* provokes: uf_madvise -EINVAL -ENOMEM -EPERM */
static void arguments_of_madvise(void **state)
{
    (void)state;
    assert_int_equal(uf_madvise(NULL, there, page, MADV_NORMAL), -EINVAL);
    assert_int_equal(uf_madvise(space, there + 1, page, MADV_NORMAL), -EINVAL);
    assert_int_equal(uf_madvise(space, there, SIZE_MAX, MADV_NORMAL), -EINVAL);
    assert_int_equal(uf_madvise(space, there, page, 5), -EINVAL);
    assert_int_equal(uf_madvise(space, there, page, MADV_REMOVE), -EINVAL);
    assert_int_equal(uf_mlock(space, there, page), 0);
    assert_int_equal(uf_madvise(space, there, page, MADV_DONTNEED), -EINVAL);
    assert_int_equal(uf_munlock(space, there, page), 0);
    assert_int_equal(uf_madvise(space, there + 4 * page, page, MADV_NORMAL),
                     -ENOMEM);
    assert_int_equal(uf_madvise(space, there, 5 * page, MADV_RANDOM), -ENOMEM);
    assert_int_equal(uf_madvise(space, there, 5 * page, MADV_POPULATE_WRITE),
                     -ENOMEM);
    host_fail(HOST_MADVISE, 1, ENOMEM);
    assert_int_equal(uf_madvise(space, there, page, MADV_COLD), -ENOMEM);
    assert_int_equal(host_fail_end(), 1);
    assert_int_equal(uf_madvise(space, there, page, MADV_HWPOISON), -EPERM);
    assert_int_equal(uf_madvise(space, there, page, MADV_SOFT_OFFLINE), -EPERM);
}

static ssize_t supply_nothing(struct live_pager *p,
                              const struct uf_fill *request)
{
    (void)p;
    (void)request;
    return -EIO;
}

/* provokes: uf_madvise -EFAULT */
static void pages_that_cannot_be_supplied(void **state)
{
    uintptr_t p = there + 10 * page;
    struct live_pager failing;

    (void)state;
    live_pager_init(&failing, supply_nothing, NULL);
    assert_int_equal(uf_mmap_pager(space, p, 2 * page, RW,
                                   MAP_PRIVATE | MAP_FIXED, failing.pager, 0),
                     p);
    assert_int_equal(uf_madvise(space, p, page, MADV_POPULATE_READ), -EFAULT);
    assert_int_equal(uf_madvise(space, p, page, MADV_POPULATE_WRITE), -EFAULT);
    assert_int_equal(uf_munmap(space, p, 2 * page), 0);
    uf_pager_unref(failing.pager);
    assert_int_equal(atomic_load(&failing.released), 1);
}

/* provokes: uf_madvise -EACCES -EOPNOTSUPP */
static void what_cannot_be_removed(void **state)
{
    int fd = pages_file(2, 1);
    uintptr_t p = there + 10 * page;

    (void)state;
    assert_int_equal(map(p, 2, RW, MAP_PRIVATE, fd), p);
    assert_int_equal(uf_madvise(space, p, page, MADV_REMOVE), -EACCES);
    assert_int_equal(map(p, 2, RW, MAP_SHARED, fd), p);
    host_fail(HOST_MADVISE, 1, EOPNOTSUPP);
    assert_int_equal(uf_madvise(space, p, page, MADV_REMOVE), -EOPNOTSUPP);
    assert_int_equal(host_fail_end(), 1);
    assert_true(pages_are(p, 2, 1, 0));
    close(fd);
}

/* provokes: uf_madvise -EAGAIN -EBUSY */
static void not_now(void **state)
{
    (void)state;
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 2);
    assert_int_equal(uf_madvise(space, there + page, page, MADV_DONTDUMP),
                     -EAGAIN);
    host_fail(HOST_MADVISE, 1, EBUSY);
    assert_int_equal(uf_madvise(space, there, 4 * page, MADV_COLLAPSE), -EBUSY);
    assert_int_equal(host_fail_end(), 1);
    host_fail(HOST_MADVISE, 1, EAGAIN);
    assert_int_equal(uf_madvise(space, there, 4 * page, MADV_COLLAPSE),
                     -EAGAIN);
    assert_int_equal(host_fail_end(), 1);
    assert_int_equal(live_stats(space).map_count, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arguments_of_mprotect),
        TEST(a_file_opened_for_reading),
        TEST(arguments_of_mremap),
        TEST(nothing_to_move),
        TEST(no_room_to_grow),
        TEST(arguments_of_madvise),
        TEST(pages_that_cannot_be_supplied),
        TEST(what_cannot_be_removed),
        TEST(not_now),
    };
    int skipped;

    host_calls_begin();
    skipped = live_begin();
    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mprotect, mremap, madvise", tests, NULL,
                                       NULL);
}
