/* SPDX-License-Identifier: MIT */
/*
 * Files mapped into a space: served by the kernel's page cache, so that all of
 * it is as in memory of the kernel's own; run on both.
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
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW (PROT_READ | PROT_WRITE)

#define FIRST  4 /* page of the side where files are mapped */
#define NPAGES 16

static uintptr_t map_file(struct side *s, int fd, size_t first, size_t npages,
                          int prot, int flags)
{
    uintptr_t p = side_at(s, FIRST);

    assert_int_equal(side_mmap(s, p, npages * page_size(), prot,
                               flags | MAP_FIXED, fd,
                               (off_t)(first * page_size())),
                     p);
    return p;
}

static void put(int fd, size_t offset, const char *text)
{
    assert_int_equal(pwrite(fd, text, strlen(text), (off_t)offset),
                     strlen(text));
}

static void assert_file_has(int fd, size_t offset, const char *text)
{
    char read[64] = "";

    assert_int_equal(pread(fd, read, strlen(text), (off_t)offset),
                     strlen(text));
    assert_string_equal(read, text);
}

/* --------------------------------------------------------------- contents --
 */

static void offset_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    uintptr_t p;

    for (int shared = 0; shared < 2; shared++) {
        int flags = shared ? MAP_SHARED : MAP_PRIVATE;

        p = map_file(s, fd, 0, NPAGES, PROT_READ, flags);
        assert_true(pages_are(p, NPAGES, 1, 0));
        p = map_file(s, fd, 5, NPAGES - 5, PROT_READ, flags);
        assert_true(pages_are(p, NPAGES - 5, 1, 5));
    }
    assert_int_equal(
        side_mmap(s, p, page_size(), PROT_READ, MAP_PRIVATE, fd, 1), -EINVAL);
    assert_int_equal(side_mmap(s, p, page_size(), PROT_READ, MAP_PRIVATE, fd,
                               (off_t)(0 - page_size())),
                     -EOVERFLOW);
    close(fd);
    /* The mapping outlives the descriptor. */
    assert_true(pages_are(p, NPAGES - 5, 1, 5));
}

static void a_mapping_shows_the_file_from_its_offset(void **state)
{
    (void)state;
    on_all_sides(offset_body);
}

static void shared_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    char *p = (char *)map_file(s, fd, 0, NPAGES, RW, MAP_SHARED);

    put(fd, 100, "by write");
    assert_memory_equal(p + 100, "by write", 8);
    memcpy(p + 3 * page_size() + 7, "by touch", 8);
    assert_file_has(fd, 3 * page_size() + 7, "by touch");
    assert_int_equal(side_msync(s, (uintptr_t)p, NPAGES * page_size(), MS_SYNC),
                     0);
    assert_int_equal(
        side_msync(s, (uintptr_t)p, NPAGES * page_size(), MS_ASYNC), 0);
    assert_int_equal(side_msync(s, (uintptr_t)p, NPAGES * page_size(),
                                MS_INVALIDATE | MS_SYNC),
                     0);
    assert_int_equal(side_munmap(s, (uintptr_t)p, NPAGES * page_size()), 0);
    assert_file_has(fd, 3 * page_size() + 7, "by touch");
    close(fd);
}

static void a_shared_file_and_its_mapping_are_one(void **state)
{
    (void)state;
    on_all_sides(shared_body);
}

static void private_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    char *p = (char *)map_file(s, fd, 0, NPAGES, RW, MAP_PRIVATE);

    memcpy(p + page_size(), "mine", 4);
    assert_memory_equal(p + page_size(), "mine", 4);
    put(fd, 2 * page_size() + 100, "theirs");
    put(fd, page_size(), "theirs");
    assert_memory_equal(p + page_size(), "mine", 4);
    /* What was not written to is the file, at least before it is touched. */
    assert_memory_equal(p + 2 * page_size() + 100, "theirs", 6);
    assert_file_has(fd, page_size(), "theirs");
    /* Dropping the copy shows the file again. */
    assert_int_equal(
        side_madvise(s, (uintptr_t)p, NPAGES * page_size(), MADV_DONTNEED), 0);
    assert_memory_equal(p + page_size(), "theirs", 6);
    close(fd);
}

static void a_private_file_is_copied_when_it_is_written_to(void **state)
{
    (void)state;
    on_all_sides(private_body);
}

struct inherited {
    uintptr_t addr;
    bool shared;
};

static void write_in_child(void *arg)
{
    struct inherited *w = arg;

    NEED(memcmp((char *)w->addr, "parent", 6) == 0);
    memcpy((char *)w->addr, "child!", 6);
}

static void fork_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);

    for (int shared = 0; shared < 2; shared++) {
        struct inherited w = {
            map_file(s, fd, 0, 2, RW, shared ? MAP_SHARED : MAP_PRIVATE),
            shared != 0};

        memcpy((char *)w.addr, "parent", 6);
        in_child(write_in_child, &w);
        assert_memory_equal((char *)w.addr, shared ? "child!" : "parent", 6);
    }
    close(fd);
}

static void a_child_shares_a_shared_file_and_copies_a_private_one(void **state)
{
    (void)state;
    on_all_sides(fork_body);
}

/* ------------------------------------------------------------ past its end --
 */

static void end_body(struct side *s)
{
    int fd = pages_file(2, 1);
    uintptr_t p;
    siginfo_t info;

    assert_int_equal(ftruncate(fd, (off_t)(page_size() + 10)), 0);
    for (int shared = 0; shared < 2; shared++) {
        p = map_file(s, fd, 0, 4, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE);
        /* The rest of the last page is zero. */
        assert_int_equal(*(volatile char *)(p + 2 * page_size() - 1), 0);
        assert_int_equal(live_read(p + 2 * page_size(), NULL, &info), SIGBUS);
        assert_int_equal(info.si_code, BUS_ADRERR);
        assert_int_equal(live_read(p + 3 * page_size(), NULL, NULL), SIGBUS);
    }
    /* The file grows: so does what can be read. */
    assert_int_equal(ftruncate(fd, (off_t)(4 * page_size())), 0);
    assert_true(pages_are_zero(p + 2 * page_size(), 2));
    /* And is cut, under a page that was read. */
    assert_int_equal(ftruncate(fd, (off_t)page_size()), 0);
    assert_int_equal(live_read(p + 2 * page_size(), NULL, NULL), SIGBUS);
    assert_int_equal(live_read(p, NULL, NULL), 0);
    close(fd);
}

static void a_touch_past_the_end_is_sigbus(void **state)
{
    (void)state;
    on_all_sides(end_body);
}

/* ------------------------------------------------------------- permission --
 */

static int reopen(int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static void access_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    int rd = reopen(fd, O_RDONLY), wr = reopen(fd, O_WRONLY);
    size_t page = page_size();
    uintptr_t p = side_at(s, FIRST);

    assert_true(rd >= 0 && wr >= 0);
    assert_int_equal(side_mmap(s, p, page, RW, MAP_SHARED, rd, 0), -EACCES);
    assert_int_equal(side_mmap(s, p, page, PROT_READ, MAP_PRIVATE, wr, 0),
                     -EACCES);
    assert_int_equal(side_mmap(s, p, page, PROT_NONE, MAP_SHARED, wr, 0),
                     -EACCES);
    map_file(s, rd, 0, 2, PROT_READ, MAP_SHARED);
    assert_int_equal(side_mprotect(s, p, page, RW), -EACCES);
    assert_int_equal(side_mprotect(s, p, page, PROT_NONE), 0);
    assert_refused(p, false);
    assert_int_equal(side_mprotect(s, p, page, PROT_READ), 0);
    assert_true(pages_are(p, 2, 1, 0));
    /* A private copy may be written to whatever the descriptor is. */
    map_file(s, rd, 0, 2, PROT_READ, MAP_PRIVATE);
    assert_refused(p, true);
    assert_int_equal(side_mprotect(s, p, 2 * page, RW), 0);
    assert_int_equal(live_write(p, 1, NULL), 0);
    close(rd);
    close(wr);
    close(fd);
}

static void the_descriptors_mode_binds_the_protection(void **state)
{
    (void)state;
    on_all_sides(access_body);
}

static void not_files_body(struct side *s)
{
    int ends[2], dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int path = open("/", O_PATH | O_CLOEXEC);
    uintptr_t p = side_at(s, FIRST);
    size_t page = page_size();

    assert_true(dir >= 0 && path >= 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(side_mmap(s, p, page, PROT_READ, MAP_PRIVATE, dir, 0),
                     -ENODEV);
    assert_int_equal(side_mmap(s, p, page, PROT_READ, MAP_SHARED, ends[0], 0),
                     -ENODEV);
    assert_int_equal(side_mmap(s, p, page, PROT_READ, MAP_PRIVATE, path, 0),
                     -EBADF);
    assert_int_equal(side_mmap(s, p, 0, PROT_READ, MAP_PRIVATE, path, 0),
                     -EBADF);
    assert_int_equal(side_mmap(s, p, 0, PROT_READ, MAP_PRIVATE, dir, 0),
                     -EINVAL);
    assert_unmapped(s, p);
    close(ends[0]);
    close(ends[1]);
    close(dir);
    close(path);
}

static void what_is_no_file_cannot_be_mapped(void **state)
{
    (void)state;
    on_all_sides(not_files_body);
}

/* /dev/zero is a file that gives memory; shared, it is shared memory. */
static void dev_zero_body(struct side *s)
{
    int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    uintptr_t p;

    assert_true(fd >= 0);
    for (int shared = 0; shared < 2; shared++) {
        p = map_file(s, fd, 0, 4, RW, shared ? MAP_SHARED : MAP_PRIVATE);
        assert_true(pages_are_zero(p, 4));
        pages_write(p, 4, 1);
        assert_true(pages_are(p, 4, 1, 0));
    }
    close(fd);
}

static void dev_zero_is_memory(void **state)
{
    (void)state;
    on_all_sides(dev_zero_body);
}

/* ----------------------------------------------------------------- flags -- */

static void flags_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, fd, 0, NPAGES, RW, MAP_PRIVATE | MAP_POPULATE);

    assert_true(pages_are(p, NPAGES, 1, 0));
    p = map_file(s, fd, 0, NPAGES, RW, MAP_SHARED | MAP_LOCKED);
    assert_int_equal(host_smaps_kb(p, p + NPAGES * page, "Locked:"),
                     NPAGES * page / 1024);
    assert_int_equal(
        side_mmap(s, p, page, RW, MAP_PRIVATE | MAP_GROWSDOWN, fd, 0), -EINVAL);
    assert_int_equal(
        side_mmap(s, p, page, RW, MAP_SHARED | MAP_GROWSDOWN, fd, 0), -EINVAL);
    assert_int_equal(side_mmap(s, p, page, RW, 0, fd, 0), -EINVAL);
    assert_int_equal(
        side_mmap(s, p, page, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0),
        -EOPNOTSUPP);
    p = map_file(s, fd, 0, NPAGES, RW, MAP_SHARED_VALIDATE);
    assert_true(pages_are(p, NPAGES, 1, 0));
    close(fd);
}

static void flags_mean_for_files_what_they_mean(void **state)
{
    (void)state;
    on_all_sides(flags_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapping_shows_the_file_from_its_offset),
        cmocka_unit_test(a_shared_file_and_its_mapping_are_one),
        cmocka_unit_test(a_private_file_is_copied_when_it_is_written_to),
        cmocka_unit_test(a_child_shares_a_shared_file_and_copies_a_private_one),
        cmocka_unit_test(a_touch_past_the_end_is_sigbus),
        cmocka_unit_test(the_descriptors_mode_binds_the_protection),
        cmocka_unit_test(what_is_no_file_cannot_be_mapped),
        cmocka_unit_test(dev_zero_is_memory),
        cmocka_unit_test(flags_mean_for_files_what_they_mean),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap: files", tests, NULL, NULL);
}
