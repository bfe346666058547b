/* SPDX-License-Identifier: MIT */
/*
 * Files in a space that come and go: they move and grow by mremap; where one
 * was, the place is ours again; and neither descriptors nor the program's
 * record locks are lost on the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW (PROT_READ | PROT_WRITE)

#define NPAGES 16

static uintptr_t map_file(struct side *s, size_t at, int fd, size_t first,
                          size_t npages, int flags)
{
    uintptr_t p = side_at(s, at);

    assert_int_equal(side_mmap(s, p, npages * page_size(), RW,
                               flags | MAP_FIXED, fd,
                               (off_t)(first * page_size())),
                     p);
    return p;
}

/* Runs `body` for a shared and for a private mapping. */
static int kind;
static void for_both_kinds(void (*body)(struct side *))
{
    kind = MAP_SHARED;
    on_all_sides(body);
    kind = MAP_PRIVATE;
    on_all_sides(body);
}

/* ------------------------------------------------------------------ moves --
 */

static void move_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, 4, fd, 2, 8, kind), q = side_at(s, 40);

    memcpy((char *)p + page, "changed", 7);
    assert_int_equal(
        side_mremap(s, p, 8 * page, 8 * page, MREMAP_MAYMOVE | MREMAP_FIXED, q),
        q);
    assert_unmapped(s, p);
    assert_unmapped(s, p + 7 * page);
    assert_true(pages_are(q, 1, 1, 2));
    assert_memory_equal((char *)q + page, "changed", 7);
    assert_true(pages_are(q + 2 * page, 6, 1, 4));
    /* Still the file. */
    memcpy((char *)q + 3 * page, "here too", 8);
    if (kind == MAP_SHARED) {
        char text[8];

        assert_int_equal(pread(fd, text, 8, (off_t)(5 * page)), 8);
        assert_memory_equal(text, "here too", 8);
    }
    close(fd);
}

static void a_file_moves_with_what_was_changed(void **state)
{
    (void)state;
    for_both_kinds(move_body);
}

static void longer_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, 4, fd, 2, 3, kind), q;

    memcpy((char *)p, "changed", 7);
    /* In place: what follows is free. */
    assert_int_equal(side_mremap(s, p, 3 * page, 5 * page, 0, 0), p);
    assert_memory_equal((char *)p, "changed", 7);
    assert_true(pages_are(p + page, 4, 1, 3));
    /* In the way: not without MAYMOVE. */
    side_map(s, 10, 1, RW, 0);
    assert_int_equal(side_mremap(s, p, 5 * page, 8 * page, 0, 0), -ENOMEM);
    q = (uintptr_t)side_mremap(s, p, 5 * page, 8 * page, MREMAP_MAYMOVE, 0);
    assert_true((intptr_t)q > 0 && q != p);
    assert_memory_equal((char *)q, "changed", 7);
    assert_true(pages_are(q + page, 7, 1, 3));
    assert_unmapped(s, p);
    /* Shorter. */
    assert_int_equal(side_mremap(s, q, 8 * page, 2 * page, 0, 0), q);
    assert_true(pages_are(q + page, 1, 1, 3));
    if (s->space)
        assert_unmapped(s, q + 2 * page);
    assert_int_equal(side_munmap(s, q, 2 * page), 0);
    close(fd);
}

static void a_file_grows_in_place_or_moves(void **state)
{
    (void)state;
    for_both_kinds(longer_body);
}

/* FIXED with another length: moved and grown, moved and shortened. */
static void fixed_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, 4, fd, 0, 4, kind), q = side_at(s, 40);

    memcpy((char *)p, "changed", 7);
    side_map(s, 42, 1, RW, 0); /* is replaced */
    assert_int_equal(
        side_mremap(s, p, 4 * page, 9 * page, MREMAP_MAYMOVE | MREMAP_FIXED, q),
        q);
    assert_memory_equal((char *)q, "changed", 7);
    assert_true(pages_are(q + page, 8, 1, 1));
    assert_unmapped(s, p);
    assert_int_equal(
        side_mremap(s, q, 9 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, p),
        p);
    assert_memory_equal((char *)p, "changed", 7);
    assert_true(pages_are(p + page, 1, 1, 1));
    assert_unmapped(s, p + 2 * page);
    assert_unmapped(s, q);
    assert_unmapped(s, q + 8 * page);
    close(fd);
}

static void a_file_moves_to_another_length(void **state)
{
    (void)state;
    for_both_kinds(fixed_body);
}

/* Old size 0: a second mapping of shared memory, none of private. */
static void twice_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, 4, fd, 2, 8, kind), q = side_at(s, 40);
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

    if (kind == MAP_PRIVATE) {
        assert_int_equal(side_mremap(s, p, 0, 4 * page, flags, q), -EINVAL);
        assert_unmapped(s, q);
        close(fd);
        return;
    }
    assert_int_equal(side_mremap(s, p + page, 0, 4 * page, flags, q), q);
    assert_true(pages_are(q, 4, 1, 3));
    memcpy((char *)q, "seen twice", 10);
    assert_memory_equal((char *)p + page, "seen twice", 10);
    assert_int_equal(side_mremap(s, p, 0, 2 * page, 0, 0), -ENOMEM);
    close(fd);
}

static void old_length_zero_duplicates_a_shared_mapping_only(void **state)
{
    (void)state;
    for_both_kinds(twice_body);
}

/* DONTUNMAP: the file is at both places (private copies have moved). */
static void stay_body(struct side *s)
{
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p = map_file(s, 4, fd, 0, 4, kind), q = side_at(s, 40);

    memcpy((char *)p, "changed", 7);
    assert_int_equal(
        side_mremap(s, p, 4 * page, 4 * page,
                    MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, q),
        q);
    assert_memory_equal((char *)q, "changed", 7);
    if (kind == MAP_SHARED)
        assert_memory_equal((char *)p, "changed", 7);
    else
        assert_true(pages_are(p, 1, 1, 0));
    assert_true(pages_are(p + page, 3, 1, 1));
    assert_true(pages_are(q + page, 3, 1, 1));
    close(fd);
}

static void dontunmap_leaves_the_file_where_it_was(void **state)
{
    (void)state;
    for_both_kinds(stay_body);
}

/* ------------------------------------------------------ the place is ours --
 */

/* After a file, and after any part of one, the place is paged by us again. */
static void a_place_is_served_by_us_after_a_file(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = live_space(&opts, 0);
    struct side s = {.space = space, .base = uf_space_base(space)};
    size_t page = page_size();
    int fd = pages_file(NPAGES, 1);

    (void)state;
    for (int way = 0; way < 3; way++) {
        uintptr_t p = map_file(&s, 4, fd, 0, 8, way ? MAP_PRIVATE : MAP_SHARED);
        uint64_t before = live_stats(space).faults;

        assert_true(pages_are(p, 8, 1, 0));
        assert_int_equal(live_stats(space).faults, before);
        if (way == 1)
            assert_int_equal(uf_munmap(space, p + 2 * page, 3 * page), 0);
        if (way == 2) /* shortened, and moved away */
            assert_int_equal(uf_mremap(space, p, 8 * page, 2 * page,
                                       MREMAP_MAYMOVE | MREMAP_FIXED,
                                       side_at(&s, 40)),
                             side_at(&s, 40));
        if (way != 0)
            assert_unmapped(&s, p + 2 * page);
        side_map(&s, 6, 3, RW, 0);
        assert_true(pages_are_zero(p + 2 * page, 3));
        assert_int_equal(live_stats(space).faults, before + 3);
        pages_write(p + 2 * page, 3, 2);
        assert_int_equal(uf_munmap(space, side_at(&s, 0), 64 * page), 0);
    }
    assert_int_equal(live_stats(space).resident, 0);
    assert_int_equal(host_count_vmas(s.base, s.base + uf_space_len(space)), 1);
    close(fd);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ------------------------------------------------------ what is not lost --
 */

static void descriptors_do_not_leak(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct side s = {.space = space, .base = uf_space_base(space)};
    size_t page = page_size(), fds, maps;
    int fd = pages_file(NPAGES, 1);

    (void)state;
    fds = live_count_fds();
    maps = live_count_maps();
    for (int i = 0; i < 1000; i++) {
        int flags = i % 2 ? MAP_SHARED : MAP_PRIVATE;
        uintptr_t p = map_file(&s, 4, fd, (size_t)i % 4, 8, flags);

        assert_true(pages_are(p, 1, 1, (size_t)i % 4));
        if (i % 3 == 0)
            assert_int_equal(uf_munmap(space, p + 3 * page, page), 0);
        if (i % 5 == 0)
            assert_int_equal(uf_mremap(space, p, 2 * page, 12 * page,
                                       MREMAP_MAYMOVE | MREMAP_FIXED,
                                       side_at(&s, 40)),
                             side_at(&s, 40));
        if (i % 7 == 0)
            assert_int_equal(uf_mmap(space, p, 8 * page, PROT_READ,
                                     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
                                     0),
                             p);
        assert_int_equal(uf_munmap(space, s.base, 64 * page), 0);
    }
    assert_int_equal(live_count_fds(), fds);
    if (!LIVE_SANITIZED) /* a sanitizer maps for itself */
        assert_int_equal(live_count_maps(), maps);
    close(fd);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void lock_is_there(void *arg)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    const int *fd = arg;

    NEED(fcntl(*fd, F_GETLK, &lock) == 0);
    NEED(lock.l_type == F_WRLCK);
}

/* Closing any descriptor of a file drops the process's record locks on it: so
 * a space may not, when it maps and unmaps one. */
static void the_programs_record_locks_survive(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct side s = {.space = space, .base = uf_space_base(space)};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    int fd = pages_file(NPAGES, 1);
    size_t page = page_size();
    uintptr_t p;

    (void)state;
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    in_child(lock_is_there, &fd);
    p = map_file(&s, 4, fd, 0, 8, MAP_SHARED);
    in_child(lock_is_there, &fd);
    assert_int_equal(uf_mprotect(space, p + page, page, PROT_READ), 0);
    assert_int_equal(uf_munmap(space, p, 8 * page), 0);
    in_child(lock_is_there, &fd);
    /* Refused. */
    assert_int_equal(uf_mmap(space, 0, page, RW, MAP_SHARED, fd, -1), -EINVAL);
    assert_int_equal(uf_space_destroy(space), 0);
    in_child(lock_is_there, &fd);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_moves_with_what_was_changed),
        cmocka_unit_test(a_file_grows_in_place_or_moves),
        cmocka_unit_test(a_file_moves_to_another_length),
        cmocka_unit_test(old_length_zero_duplicates_a_shared_mapping_only),
        cmocka_unit_test(dontunmap_leaves_the_file_where_it_was),
        cmocka_unit_test(a_place_is_served_by_us_after_a_file),
        cmocka_unit_test(descriptors_do_not_leak),
        cmocka_unit_test(the_programs_record_locks_survive),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mmap: files that move", tests, NULL,
                                       NULL);
}
