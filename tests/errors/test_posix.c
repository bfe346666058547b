/* SPDX-License-Identifier: MIT */
/*
 * Each errno of uf_posix_* is provoked. The space is one that the test sets,
 * with limits of its own; refusals of the kernel come from seccomp filters, in
 * children.
 *
 * The comments "provokes: FUNCTION -ERRNO ..." are read by
 * tests/build/errno-coverage.sh; these functions set errno.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/posix.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define assert_errno(call, expected)                                           \
    do {                                                                       \
        errno = 0;                                                             \
        assert_true((intptr_t)(call) == -1);                                   \
        assert_int_equal(errno, expected);                                     \
    } while (0)

static struct uf_space *space;
static size_t page;
static char *mapped; /* 4 pages, then nothing */
static char *hole;

static int set_up(void **unused)
{
    const struct uf_space_opts opts = {.len_bytes = (size_t)16 << 20};

    (void)unused;
    page = page_size();
    space = live_space(&opts, 0);
    assert_int_equal(uf_posix_set_space(space), 0);
    mapped = uf_posix_mmap(NULL, 6 * page, RW, ANON, -1, 0);
    assert_true(mapped != MAP_FAILED);
    hole = mapped + 4 * page;
    assert_int_equal(uf_posix_munmap(hole, 2 * page), 0);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return uf_space_destroy(space);
}

static void limit(enum uf_limit which, uint64_t value)
{
    assert_int_equal(uf_space_set_limit(space, which, value), 0);
}

/* provokes: uf_posix_mmap -EINVAL -ENOMEM -EEXIST */
static void test_mmap(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    assert_errno(uf_posix_mmap(NULL, page, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    assert_errno(uf_posix_mmap(NULL, (size_t)1 << 30, RW, ANON, -1, 0), ENOMEM);
    assert_errno(
        uf_posix_mmap(mapped, page, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
        EEXIST);
}

/* As uf_posix_mmap. */
static void test_mmap64(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_mmap64(NULL, 0, RW, ANON, -1, 0), EINVAL);
    assert_errno(uf_posix_mmap64(NULL, (size_t)1 << 30, RW, ANON, -1, 0),
                 ENOMEM);
    assert_errno(
        uf_posix_mmap64(mapped, page, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
        EEXIST);
}

/* provokes: uf_posix_munmap -EINVAL -ENOMEM */
static void test_munmap(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_munmap(mapped + 1, page), EINVAL);
    assert_errno(uf_posix_munmap(mapped, 0), EINVAL);
    limit(UF_LIMIT_MAP_COUNT, 1);
    assert_errno(uf_posix_munmap(mapped + page, page), ENOMEM);
}

/* provokes: uf_posix_mprotect -EINVAL -ENOMEM -EACCES */
static void test_mprotect(void **unused)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    void *file = uf_posix_mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);

    (void)unused;
    assert_true(file != MAP_FAILED);
    assert_errno(uf_posix_mprotect(mapped + 1, page, RW), EINVAL);
    assert_errno(uf_posix_mprotect(hole, page, RW), ENOMEM);
    assert_errno(uf_posix_mprotect(file, page, RW), EACCES);
    close(fd);
}

/* provokes: uf_posix_mremap -EINVAL -EFAULT -ENOMEM -EAGAIN */
static void test_mremap(void **unused)
{
    char *next = mapped + page;

    (void)unused;
    assert_errno(uf_posix_mremap(mapped, page, 0, 0), EINVAL);
    assert_errno(uf_posix_mremap(mapped + 1, page, page, 0), EINVAL);
    assert_errno(uf_posix_mremap(hole, page, 2 * page, MREMAP_MAYMOVE), EFAULT);
    assert_errno(uf_posix_mremap(mapped, page, 2 * page, 0), ENOMEM);
    assert_int_equal(uf_posix_mlock(next, page), 0);
    limit(UF_LIMIT_MEMLOCK, page);
    assert_errno(uf_posix_mremap(next, page, 3 * page, MREMAP_MAYMOVE), EAGAIN);
}

/* provokes: uf_posix_madvise -EINVAL -ENOMEM */
static void test_madvise(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_madvise(mapped, page, 12345), EINVAL);
    assert_errno(uf_posix_madvise(mapped + 1, page, MADV_DONTNEED), EINVAL);
    assert_errno(uf_posix_madvise(hole, page, MADV_DONTNEED), ENOMEM);
}

/* provokes: uf_posix_mincore -EINVAL -ENOMEM -EFAULT */
static void test_mincore(void **unused)
{
    unsigned char vec[1];

    (void)unused;
    assert_errno(uf_posix_mincore(mapped + 1, page, vec), EINVAL);
    assert_errno(uf_posix_mincore(hole, page, vec), ENOMEM);
    assert_errno(uf_posix_mincore(mapped, page, NULL), EFAULT);
}

/* provokes: uf_posix_msync -EINVAL -ENOMEM -EBUSY */
static void test_msync(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_msync(mapped, page, MS_SYNC | MS_ASYNC), EINVAL);
    assert_errno(uf_posix_msync(hole, page, MS_SYNC), ENOMEM);
    assert_int_equal(uf_posix_mlock(mapped, page), 0);
    assert_errno(uf_posix_msync(mapped, page, MS_INVALIDATE), EBUSY);
}

/* provokes: uf_posix_mlock -EINVAL -ENOMEM -EPERM */
/* provokes: uf_posix_mlock2 -EINVAL -ENOMEM -EPERM */
static void test_mlock(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_mlock(mapped, SIZE_MAX - 3 * page + 1), EINVAL);
    assert_errno(uf_posix_mlock2(mapped, page, 8), EINVAL);
    assert_errno(uf_posix_mlock(hole, page), ENOMEM);
    assert_errno(uf_posix_mlock2(hole, page, MLOCK_ONFAULT), ENOMEM);
    limit(UF_LIMIT_MEMLOCK, page);
    assert_errno(uf_posix_mlock(mapped, 2 * page), ENOMEM);
    limit(UF_LIMIT_MEMLOCK, 0);
    assert_errno(uf_posix_mlock(mapped, page), EPERM);
    assert_errno(uf_posix_mlock2(mapped, page, MLOCK_ONFAULT), EPERM);
}

/* provokes: uf_posix_munlock -EINVAL -ENOMEM */
static void test_munlock(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_munlock(mapped, SIZE_MAX - 3 * page + 1), EINVAL);
    assert_errno(uf_posix_munlock(hole, page), ENOMEM);
}

/* provokes: uf_posix_mlockall -EINVAL -ENOMEM -EPERM */
static void test_mlockall(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_mlockall(0), EINVAL);
    assert_errno(uf_posix_mlockall(MCL_ONFAULT), EINVAL);
    limit(UF_LIMIT_MEMLOCK, page);
    assert_errno(uf_posix_mlockall(MCL_CURRENT), ENOMEM);
    limit(UF_LIMIT_MEMLOCK, 0);
    assert_errno(uf_posix_mlockall(MCL_CURRENT), EPERM);
}

/* provokes: uf_posix_brk -ENOMEM */
/* provokes: uf_posix_sbrk -ENOMEM */
static void test_break(void **unused)
{
    (void)unused;
    assert_errno(uf_posix_brk((void *)INTPTR_MAX), ENOMEM);
    assert_errno(uf_posix_sbrk((intptr_t)1 << 40), ENOMEM);
}

/* ------------------------------------------------------- on a handler thread
 */

#define NCALLS 9

static atomic_int answers[NCALLS];
static void *_Atomic outside;

static ssize_t call_all(struct live_pager *pager, const struct uf_fill *request)
{
    int n = 0;

    (void)pager;
#define CALL(call) answers[n++] = (intptr_t)(call) == -1 ? errno : 0
    CALL(uf_posix_munmap(mapped, page));
    CALL(uf_posix_mprotect(mapped, page, RW));
    CALL(uf_posix_mremap(mapped, page, page, 0));
    CALL(uf_posix_madvise(mapped, page, MADV_DONTNEED));
    CALL(uf_posix_mlock(mapped, page));
    CALL(uf_posix_mlock2(mapped, page, 0));
    CALL(uf_posix_munlock(mapped, page));
    CALL(uf_posix_mlockall(MCL_CURRENT));
    CALL(uf_posix_munlockall());
#undef CALL
    outside = uf_posix_mmap(NULL, page, RW, ANON, -1, 0);
    return live_fill(request, request->len_bytes);
}

/* provokes: uf_posix_munmap -EDEADLK */
/* provokes: uf_posix_mprotect -EDEADLK */
/* provokes: uf_posix_mremap -EDEADLK */
/* provokes: uf_posix_madvise -EDEADLK */
/* provokes: uf_posix_mlock -EDEADLK */
/* provokes: uf_posix_mlock2 -EDEADLK */
/* provokes: uf_posix_munlock -EDEADLK */
/* provokes: uf_posix_mlockall -EDEADLK */
/* provokes: uf_posix_munlockall -EDEADLK */
static void test_a_handler_changes_nothing(void **unused)
{
    struct live_pager pager;
    intptr_t paged;

    (void)unused;
    live_pager_init(&pager, call_all, NULL);
    paged = uf_mmap_pager(space, 0, page, RW, MAP_PRIVATE, pager.pager, 0);
    assert_true(paged > 0);
    assert_int_equal(live_write((uintptr_t)paged, 1, NULL), 0);
    for (int i = 0; i < NCALLS; i++)
        assert_int_equal(answers[i], EDEADLK);
    /* What it maps, the kernel maps. */
    assert_true(outside != MAP_FAILED);
    assert_true((uintptr_t)outside - uf_space_base(space) >=
                uf_space_len(space));
    assert_int_equal(munmap(outside, page), 0);
    assert_int_equal(uf_posix_munmap((void *)paged, page), 0);
    uf_pager_unref(pager.pager);
}

/* ------------------------------------------------------------- no such space
 */

/* Refuses userfaultfd(2), all of it or what is more than user mode. */
static int refuse(bool all)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    uint32_t eperm = SCMP_ACT_ERRNO(EPERM);
    int rc;

    if (!filter)
        return -1;
    rc = all ? seccomp_rule_add(filter, eperm, SCMP_SYS(userfaultfd), 0)
             : seccomp_rule_add(
                   filter, eperm, SCMP_SYS(userfaultfd), 1,
                   SCMP_A0(SCMP_CMP_MASKED_EQ, UFFD_USER_MODE_ONLY, 0));
    if (rc == 0) /* /dev/userfaultfd */
        rc = seccomp_rule_add(filter, eperm, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, 0xaa00, 0));
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

static void have_none(void *arg)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    bool *all = arg;
    void *p;

    if (refuse(*all) != 0)
        return; /* no filters here */
    errno = 0;
    NEED(uf_posix_mmap(NULL, page, RW, ANON, -1, 0) == MAP_FAILED &&
         errno == EPERM);
    errno = 0;
    NEED(uf_posix_space() == NULL && errno == EPERM);
    NEED(uf_posix_sbrk(0) == (void *)-1 && uf_posix_brk(NULL) == -1);
    NEED(uf_posix_mlockall(MCL_FUTURE) == -1 && errno == EPERM);
    NEED(uf_posix_munlockall() == 0);
    /* What others mapped goes on to be the kernel's. */
    p = mmap(NULL, page, RW, ANON, -1, 0);
    NEED(uf_posix_munmap(p, page) == 0);
    if (!*all) { /* a program that knows may go on in user mode */
        NEED(uf_space_create(&opts, &space) == 0);
        NEED(uf_posix_set_space(space) == 0);
        p = uf_posix_mmap(NULL, page, RW, ANON, -1, 0);
        NEED(p != MAP_FAILED);
        *(char *)p = 1;
    }
}

static void test_no_space_without_userfaultfd(void **unused)
{
    bool all = true;

    (void)unused;
    page = page_size();
    in_child(have_none, &all);
    all = false;
    in_child(have_none, &all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_space_without_userfaultfd),
        TEST(test_mmap),
        TEST(test_mmap64),
        TEST(test_munmap),
        TEST(test_mprotect),
        TEST(test_mremap),
        TEST(test_madvise),
        TEST(test_mincore),
        TEST(test_msync),
        TEST(test_mlock),
        TEST(test_munlock),
        TEST(test_mlockall),
        TEST(test_break),
        TEST(test_a_handler_changes_nothing),
    };
    int skip = live_begin();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
