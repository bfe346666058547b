/* SPDX-License-Identifier: MIT */
/*
 * User copies and mappings: protections, several mappings in one copy, files
 * and their ends, guards, stacks that grow, and another thread that changes
 * them meanwhile. In all modes of lib/copy_modes.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/copy_modes.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define RW (PROT_READ | PROT_WRITE)

/* A private anonymous mapping of npages. */
static uintptr_t map_pages(struct uf_space *space, size_t npages, int prot)
{
    intptr_t at = uf_mmap(space, 0, npages * page_size(), prot,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(at > 0);
    return (uintptr_t)at;
}

static int file_of(size_t len_bytes)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);

    assert_true(fd >= 0);
    for (size_t i = 0; i < len_bytes; i++) {
        unsigned char byte = live_pattern(i);

        assert_int_equal(write(fd, &byte, 1), 1);
    }
    return fd;
}

static bool can(struct uf_space *space, uintptr_t addr, bool write)
{
    unsigned char byte = 0;
    int copied = write ? uf_copy_out(space, addr, &byte, 1, NULL)
                       : uf_copy_in(space, &byte, addr, 1, NULL);
    int populated = write ? uf_populate_write(space, addr, 1)
                          : uf_populate_read(space, addr, 1);

    assert_true(copied == 0 || copied == -EFAULT);
    assert_int_equal(populated, copied);
    return copied == 0;
}

/* Each protection, of pages that are there and of pages that are not. */
static void protections(void **state)
{
    struct uf_space *space = mode_space(NULL);

    (void)state;
    for (int touched = 0; touched < 2; touched++)
        for (int prot = 0; prot < 8; prot++) {
            uintptr_t at = map_pages(space, 2, RW);

            if (touched)
                memset((void *)at, 1, 2 * page_size());
            assert_int_equal(uf_mprotect(space, at, page_size(), prot), 0);
            assert_int_equal(can(space, at, false), (prot & PROT_READ) != 0);
            assert_int_equal(can(space, at, true), (prot & PROT_WRITE) != 0);
            assert_true(can(space, at + page_size(), true));
            assert_int_equal(uf_munmap(space, at, 2 * page_size()), 0);
            assert_false(can(space, at, false));
        }
    mode_destroy(space);
}

/* One copy over mappings of every kind; and up to the one that forbids it. */
static void many_mappings_in_one_copy(void **state)
{
    struct uf_space *space = mode_space(NULL);
    size_t page = page_size(), len = 8 * page, copied;
    uintptr_t at = map_pages(space, 8, RW);
    unsigned char *bytes = malloc(len);
    struct live_pager p;
    int fd = file_of(2 * page), fixed = MAP_FIXED | MAP_PRIVATE;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    assert_int_equal(uf_mmap(space, at + page, page, RW,
                             MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                     at + page);
    assert_int_equal(uf_mmap(space, at + 2 * page, 2 * page, RW, fixed, fd, 0),
                     at + 2 * page);
    assert_int_equal(uf_mmap_pager(space, at + 4 * page, 2 * page, RW,
                                   fixed | MAP_ANONYMOUS, p.pager, 0),
                     at + 4 * page);
    assert_int_equal(uf_mprotect(space, at + 6 * page, page, PROT_READ), 0);

    memset(bytes, 77, len);
    assert_int_equal(uf_copy_in(space, bytes, at + 1, len - 1, &copied), 0);
    assert_int_equal(copied, len - 1);
    for (size_t i = 0; i < 2 * page - 1; i++)
        assert_int_equal(bytes[i], 0);
    mode_assert_pattern(bytes + 2 * page - 1, 0, 2 * page);
    mode_assert_pattern(bytes + 4 * page - 1, 0, 2 * page);
    assert_int_equal(uf_copy_out(space, at + 1, bytes, len - 1, &copied),
                     -EFAULT);
    assert_int_equal(copied, 6 * page - 1);
    assert_memory_equal((void *)(at + 1), bytes, 6 * page - 1);
    uf_pager_unref(p.pager);
    close(fd);
    free(bytes);
    mode_destroy(space);
}

/* Where a file ends its mapping is SIGBUS: -EFAULT here. A shared mapping
 * writes to the file, a private one does not. */
static void the_end_of_a_file(void **state)
{
    static const int sharing[] = {MAP_SHARED, MAP_PRIVATE};
    struct uf_space *space = mode_space(NULL);
    size_t page = page_size();

    (void)state;
    for (int i = 0; i < 2; i++) {
        int fd = file_of(page + 100);
        intptr_t map = uf_mmap(space, 0, 4 * page, RW, sharing[i], fd, 0);
        uintptr_t at = (uintptr_t)map;
        unsigned char byte = 200, now = 0;

        assert_true(map > 0);
        mode_assert_refused(space, at + 2 * page, 10, 0);
        mode_assert_refused(space, at + 2 * page - 50, 100, 50);
        assert_int_equal(uf_strnlen(space, at + page + 50, SIZE_MAX), 50);
        assert_int_equal(uf_copy_out(space, at + 5, &byte, 1, NULL), 0);
        assert_int_equal(pread(fd, &now, 1, 5), 1);
        assert_int_equal(now, i == 0 ? 200 : live_pattern(5));
        assert_int_equal(ftruncate(fd, 0), 0);
        mode_assert_refused(space, at + (i == 0 ? 0 : page), 1, 0);
        assert_int_equal(uf_munmap(space, at, 4 * page), 0);
        close(fd);
    }
    mode_destroy(space);
}

/* A guard is -EFAULT, and is one afterwards. */
static void guards(void **state)
{
    struct uf_space *space = mode_space(NULL);
    size_t page = page_size();
    uintptr_t at = map_pages(space, 8, RW);
    int err = uf_madvise(space, at + 3 * page, page, MADV_GUARD_INSTALL);

    (void)state;
    if (err) {
        print_message("no guards before Linux 6.13\n");
    } else {
        for (int i = 0; i < 2; i++) {
            mode_assert_refused(space, at + 3 * page + 5, 10, 0);
            mode_assert_refused(space, at + page, 6 * page, 2 * page);
            assert_int_equal(uf_strnlen(space, at + 3 * page, 1), -EFAULT);
        }
        assert_true(can(space, at + 4 * page, true));
    }
    mode_destroy(space);
    if (err)
        skip();
}

/* A copy below a stack makes it grow, as a touch would; not beyond its limit,
 * nor into its guard gap. */
static void a_stack_grows(void **state)
{
    struct uf_space *space = mode_space(NULL);
    size_t page = page_size();
    intptr_t map = uf_mmap(space, 0, 4 * page, RW,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    uintptr_t at = (uintptr_t)map;
    unsigned char bytes[3] = {1, 2, 3};

    (void)state;
    assert_true(map > 0);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_STACK, 32 * page), 0);
    assert_int_equal(uf_copy_out(space, at - 2, bytes, 3, NULL), 0);
    assert_memory_equal((void *)(at - 2), bytes, 3);
    assert_true(can(space, at - 20 * page, false));
    assert_true(can(space, at - 10 * page, true));
    mode_assert_refused(space, at - 40 * page, 10, 0);
    assert_false(can(space, uf_space_base(space) - 1, false));
    mode_destroy(space);
}

/* ---------------------------------------------------------------- a race -- */

struct race {
    struct uf_space *space;
    uintptr_t at;
    atomic_bool stop;
    atomic_uint rounds;
};

/* Protects, unmaps and maps the upper four pages of eight. */
static void *change_maps(void *arg)
{
    struct race *r = arg;
    uintptr_t half = r->at + 4 * page_size();
    size_t len = 4 * page_size();

    while (!atomic_load(&r->stop)) {
        if (uf_mprotect(r->space, half, len, PROT_NONE) < 0 ||
            uf_mprotect(r->space, half, len, PROT_READ) < 0 ||
            uf_munmap(r->space, half, len) < 0 ||
            uf_mmap(r->space, half, len, RW,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                    0) != (intptr_t)half)
            break;
        atomic_fetch_add(&r->rounds, 1);
        sched_yield();
    }
    return NULL;
}

/* The lower half is copied always, the rest or -EFAULT; never a signal. */
static void race_once(struct race *r, unsigned char *bytes)
{
    size_t half = 4 * page_size(), copied;
    int err = uf_copy_out(r->space, r->at, bytes, 2 * half, &copied);

    assert_true(err == 0 || err == -EFAULT);
    assert_true(copied >= half);
    assert_int_equal(err == 0, copied == 2 * half);
    err = uf_copy_in(r->space, bytes, r->at, 2 * half, &copied);
    assert_true(err == 0 || err == -EFAULT);
    assert_true(copied >= half);
    for (size_t i = 0; i < half; i += 61)
        assert_int_equal(bytes[i], 9);
    memset(bytes, 9, 2 * half);
    err = uf_populate_write(r->space, r->at + half, half);
    assert_true(err == 0 || err == -EFAULT);
}

static void while_mappings_change(void **state)
{
    struct race r = {.space = mode_space(NULL)};
    unsigned char *bytes = malloc(8 * page_size());
    pthread_t thread;

    (void)state;
    r.at = map_pages(r.space, 8, RW);
    memset(bytes, 9, 8 * page_size());
    assert_int_equal(pthread_create(&thread, NULL, change_maps, &r), 0);
    for (int i = 0; i < 300 || atomic_load(&r.rounds) < 300; i++)
        race_once(&r, bytes);
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    free(bytes);
    mode_destroy(r.space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protections),
        cmocka_unit_test(many_mappings_in_one_copy),
        cmocka_unit_test(the_end_of_a_file),
        cmocka_unit_test(guards),
        cmocka_unit_test(a_stack_grows),
        cmocka_unit_test(while_mappings_change),
    };

    return modes_run(tests, sizeof(tests) / sizeof(tests[0]));
}
