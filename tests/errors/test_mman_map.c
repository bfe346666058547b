/* SPDX-License-Identifier: MIT */
/*
 * Every error that ufault/mman.h documents for mmap and munmap; after each,
 * nothing is mapped that was not, and nothing has gone. What the kernel alone
 * decides it is made to answer (lib/hostcalls.h).
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

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct uf_space *space;
static uintptr_t there; /* two pages that are mapped, and written to */

static int setup(void **state)
{
    (void)state;
    space = live_space(NULL, 0);
    there = live_page(space, 100);
    assert_int_equal(
        uf_mmap(space, there, 2 * page_size(), RW, ANON | MAP_FIXED, -1, 0),
        there);
    pages_write(there, 2, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* All refused: those two pages are all there is. */
    assert_int_equal(live_stats(space).total_vm, 2);
    assert_int_equal(live_stats(space).map_count, 1);
    assert_true(pages_are(there, 2, 1, 0));
    assert_int_equal(live_read(there - page_size(), NULL, NULL), SIGSEGV);
    assert_int_equal(live_read(there + 2 * page_size(), NULL, NULL), SIGSEGV);
    return uf_space_destroy(space);
}

/* ------------------------------------------------------------------- mmap --
 */

/* provokes: uf_mmap -EINVAL */
static void arguments_of_mmap(void **state)
{
    size_t page = page_size();
    int fd = pages_file(1, 1);

    (void)state;
    assert_int_equal(uf_mmap(NULL, 0, page, RW, ANON, -1, 0), -EINVAL);
    assert_int_equal(uf_mmap(space, 0, 0, RW, ANON, -1, 0), -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW, ANON, -1, 1), -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW, MAP_PRIVATE, fd, 1), -EINVAL);
    assert_int_equal(
        uf_mmap(space, there + 1, page, RW, ANON | MAP_FIXED, -1, 0), -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW, MAP_ANONYMOUS, -1, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW, 0, fd, 0), -EINVAL);
    assert_int_equal(
        uf_mmap(space, 0, page, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, -1, 0),
        -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW, MAP_ANONYMOUS | 0xf, -1, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap(space, 0, page, RW,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0),
                     -EINVAL);
    assert_int_equal(
        uf_mmap(space, 0, page, RW, MAP_PRIVATE | MAP_GROWSDOWN, fd, 0),
        -EINVAL);
    close(fd);
}

/* provokes: uf_mmap -ENOMEM */
static void no_room_for_mmap(void **state)
{
    size_t page = page_size(), len = uf_space_len(space);
    uintptr_t base = uf_space_base(space), end = base + len;
    int fixed = ANON | MAP_FIXED;

    (void)state;
    assert_int_equal(uf_mmap(space, 0, len, RW, ANON, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, len + page, RW, ANON, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, SIZE_MAX, RW, ANON, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, base - page, page, RW, fixed, -1, 0),
                     -ENOMEM);
    assert_int_equal(uf_mmap(space, end, page, RW, fixed, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, end - page, 2 * page, RW, fixed, -1, 0),
                     -ENOMEM);
    assert_int_equal(uf_mmap(space, 0 - page, page, RW, fixed, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, ANON | MAP_32BIT, -1, 0),
                     -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, ANON | MAP_HUGETLB, -1, 0),
                     -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_AS, 2 * page);
    assert_int_equal(uf_mmap(space, 0, page, PROT_NONE, ANON, -1, 0), -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED);
    uf_space_set_limit(space, UF_LIMIT_DATA, 2 * page);
    assert_int_equal(uf_mmap(space, 0, page, RW, ANON, -1, 0), -ENOMEM);
    uf_space_set_limit(space, UF_LIMIT_DATA, UF_UNLIMITED);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 0);
    assert_int_equal(uf_mmap(space, 0, page, PROT_NONE, ANON, -1, 0), -ENOMEM);
}

/* provokes: uf_mmap -EEXIST */
static void what_is_in_the_way_of_noreplace(void **state)
{
    (void)state;
    assert_int_equal(uf_mmap(space, there, page_size(), RW,
                             ANON | MAP_FIXED_NOREPLACE, -1, 0),
                     -EEXIST);
    assert_int_equal(uf_mmap(space, there - page_size(), 4 * page_size(), RW,
                             ANON | MAP_FIXED_NOREPLACE, -1, 0),
                     -EEXIST);
}

/* provokes: uf_mmap -EBADF -EACCES -ENODEV -ENOTSUP -EOVERFLOW */
static void descriptors_that_cannot_be_mapped(void **state)
{
    int fd = pages_file(1, 1), ends[2], rd;
    size_t page = page_size();
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(rd >= 0);
    assert_int_equal(pipe(ends), 0);
    /* MAP_FIXED where memory is: it stays. */
    for (int fixed = 0; fixed <= MAP_FIXED; fixed += MAP_FIXED) {
        int private = MAP_PRIVATE | fixed, shared = MAP_SHARED | fixed;

        assert_int_equal(uf_mmap(space, there, page, RW, private, -1, 0),
                         -EBADF);
        assert_int_equal(uf_mmap(space, there, page, RW, shared, rd, 0),
                         -EACCES);
        assert_int_equal(uf_mmap(space, there, page, RW, private, ends[0], 0),
                         -ENODEV);
        assert_int_equal(uf_mmap(space, there, page, RW,
                                 MAP_SHARED_VALIDATE | MAP_SYNC | fixed, fd, 0),
                         -ENOTSUP);
        assert_int_equal(
            uf_mmap(space, there, page, RW, private, fd, (off_t)(0 - page)),
            -EOVERFLOW);
    }
    close(ends[0]);
    close(ends[1]);
    close(rd);
    close(fd);
}

/* provokes: uf_mmap -EPERM */
static void what_is_not_permitted(void **state)
{
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);

    (void)state;
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MEMLOCK, 0), 0);
    assert_int_equal(
        uf_mmap(space, 0, page_size(), RW, ANON | MAP_LOCKED, -1, 0), -EPERM);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)page_size()), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(uf_mmap(space, 0, page_size(), RW, MAP_SHARED, fd, 0),
                     -EPERM);
    close(fd);
}

/* provokes: uf_mmap -EAGAIN */
static void too_much_to_lock(void **state)
{
    (void)state;
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MEMLOCK, page_size()),
                     0);
    assert_int_equal(
        uf_mmap(space, 0, 2 * page_size(), RW, ANON | MAP_LOCKED, -1, 0),
        -EAGAIN);
}

/* provokes: uf_mmap -ENFILE */
static void no_file_for_shared_memory(void **state)
{
    (void)state;
    host_fail(HOST_MMAP, 1, ENFILE);
    assert_int_equal(
        uf_mmap(space, 0, page_size(), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        -ENFILE);
    assert_int_equal(host_fail_end(), 1);
}

/* ------------------------------------------------------------- mmap_pager --
 */

/* provokes: uf_mmap_pager -EINVAL -EOVERFLOW */
static void arguments_of_mmap_pager(void **state)
{
    struct uf_space_opts opts = {.fork = UF_FORK_ZERO};
    struct uf_space *zeros = live_space(&opts, 0);
    size_t page = page_size();
    struct live_pager p;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    assert_int_equal(uf_mmap_pager(NULL, 0, page, RW, MAP_PRIVATE, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, page, RW, MAP_PRIVATE, NULL, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, page, RW, MAP_PRIVATE, p.pager, 1),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, 0, RW, MAP_PRIVATE, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, page, RW, MAP_SHARED, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, page, RW,
                                   MAP_PRIVATE | MAP_GROWSDOWN, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, page, RW,
                                   MAP_PRIVATE | MAP_HUGETLB, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(zeros, 0, page, RW, MAP_PRIVATE, p.pager, 0),
                     -EINVAL);
    assert_int_equal(uf_mmap_pager(space, 0, 2 * page, RW, MAP_PRIVATE, p.pager,
                                   UINT64_MAX - page + 1),
                     -EOVERFLOW);
    assert_int_equal(atomic_load(&p.calls), 0);
    uf_pager_unref(p.pager);
    assert_int_equal(atomic_load(&p.released), 1);
    assert_int_equal(uf_space_destroy(zeros), 0);
}

/* ----------------------------------------------------------------- munmap --
 */

/* provokes: uf_munmap -EINVAL -ENOMEM */
static void arguments_of_munmap(void **state)
{
    size_t page = page_size(), len = uf_space_len(space);
    uintptr_t base = uf_space_base(space);

    (void)state;
    assert_int_equal(uf_munmap(NULL, there, page), -EINVAL);
    assert_int_equal(uf_munmap(space, there + 1, page), -EINVAL);
    assert_int_equal(uf_munmap(space, there, 0), -EINVAL);
    assert_int_equal(uf_munmap(space, there, SIZE_MAX), -EINVAL);
    assert_int_equal(uf_munmap(space, there, 0 - there), -EINVAL);
    assert_int_equal(uf_munmap(space, base - page, len), -EINVAL);
    assert_int_equal(uf_munmap(space, base, len + page), -EINVAL);
    /* Nothing there is no error. */
    assert_int_equal(uf_munmap(space, base, 90 * page), 0);
    /* A hole would make two mappings of one. */
    assert_int_equal(
        uf_mmap(space, there + 2 * page, page, RW, ANON | MAP_FIXED, -1, 0),
        there + 2 * page);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, 1), 0);
    assert_int_equal(uf_munmap(space, there + page, page), -ENOMEM);
    assert_int_equal(uf_munmap(space, there + 2 * page, page), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arguments_of_mmap),
        TEST(no_room_for_mmap),
        TEST(what_is_in_the_way_of_noreplace),
        TEST(descriptors_that_cannot_be_mapped),
        TEST(what_is_not_permitted),
        TEST(too_much_to_lock),
        TEST(no_file_for_shared_memory),
        TEST(arguments_of_mmap_pager),
        TEST(arguments_of_munmap),
    };
    int skipped;

    host_calls_begin();
    skipped = live_begin();
    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap and munmap", tests, NULL, NULL);
}
