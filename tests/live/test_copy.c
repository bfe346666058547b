/* SPDX-License-Identifier: MIT */
/*
 * User copies: what the guest could access is copied, what it could not is
 * -EFAULT, with the bytes before it copied, and never a signal. In all modes of
 * lib/copy_modes.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/copy_modes.h"

/* -------------------------------------------------------------- copying -- */

/* Any place, any length, absent or there: the bytes are those of the pager. */
static void what_is_there_is_copied(void **state)
{
    struct live_pager p = {0};
    struct uf_space *space = mode_pattern_space(&p);
    size_t page = page_size(), all = MODE_PAGES * page, copied;
    unsigned char *bytes = malloc(all + 1);
    unsigned seed = 1;

    (void)state;
    for (int i = 0; i < 200; i++) {
        size_t offset = (size_t)rand_r(&seed) % all;
        size_t len = (size_t)rand_r(&seed) % (i % 2 ? all : 100);

        len = len > all - offset ? all - offset : len;
        bytes[len] = 77;
        assert_int_equal(uf_copy_in(space, bytes, live_page(space, 0) + offset,
                                    len, &copied),
                         0);
        assert_int_equal(copied, len);
        assert_int_equal(bytes[len], 77);
        mode_assert_pattern(bytes, offset, len);
    }
    free(bytes);
    mode_destroy(space);
}

/* A copy out is seen by the guest; what is around it is the pager's. */
static void what_is_copied_out_is_seen(void **state)
{
    struct live_pager p = {0};
    struct uf_space *space = mode_pattern_space(&p);
    size_t page = page_size(), copied = 0;
    unsigned char bytes[300];
    const unsigned char *guest = (unsigned char *)live_page(space, 0);

    (void)state;
    memset(bytes, 200, sizeof(bytes));
    /* Inside a page; over the border of two; the heap's last bytes. */
    for (int i = 0; i < 3; i++) {
        size_t at = i == 0 ? 1000 : 5 * page - 100;

        at = i == 2 ? MODE_PAGES * page - sizeof(bytes) : at;
        assert_int_equal(uf_copy_out(space, (uintptr_t)guest + at, bytes,
                                     sizeof(bytes), &copied),
                         0);
        assert_int_equal(copied, sizeof(bytes));
        assert_memory_equal(guest + at, bytes, sizeof(bytes));
        mode_assert_pattern(guest + at - 50, at - 50, 50);
    }
    mode_assert_pattern(guest + 1300, 1300, 500);
    mode_destroy(space);
}

/* The calling thread does the work: no handler is asked. */
static void no_fault_is_raised(void **state)
{
    struct uf_space *space = mode_space(NULL);
    size_t all = MODE_PAGES * page_size();
    char *bytes = calloc(1, all);

    (void)state;
    assert_int_equal(uf_copy_in(space, bytes, live_page(space, 0), all, NULL),
                     0);
    assert_int_equal(uf_copy_out(space, live_page(space, 0), bytes, all, NULL),
                     0);
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(live_stats(space).resident, MODE_PAGES);
    assert_int_equal(
        live_mincore(live_page(space, 0), live_page(space, MODE_PAGES)),
        MODE_PAGES);
    free(bytes);
    mode_destroy(space);
}

/* Nothing is nothing, wherever it is. */
static void zero_bytes_are_always_copied(void **state)
{
    struct uf_space *space = mode_space(NULL);
    size_t copied = 9;

    (void)state;
    assert_int_equal(uf_copy_in(space, NULL, 0, 0, &copied), 0);
    assert_int_equal(copied, 0);
    assert_int_equal(uf_copy_out(space, UINTPTR_MAX, NULL, 0, NULL), 0);
    assert_int_equal(uf_strnlen(space, 0, 0), 0);
    assert_int_equal(uf_populate_read(space, 0, 0), 0);
    assert_int_equal(uf_populate_write(space, UINTPTR_MAX, 0), 0);
    mode_destroy(space);
}

/* The caller's side may be absent memory of a space too. */
static void from_space_to_space(void **state)
{
    struct live_pager p = {0};
    struct uf_space *from = mode_pattern_space(&p);
    struct uf_space *to = mode_space(NULL);
    size_t len = 10 * page_size();

    (void)state;
    assert_int_equal(uf_copy_in(from, (void *)(live_page(to, 2) + 3),
                                live_page(from, 1), len, NULL),
                     0);
    mode_assert_pattern((unsigned char *)live_page(to, 2) + 3, page_size(),
                        len);
    assert_int_equal(uf_copy_out(to, live_page(to, 14),
                                 (void *)live_page(from, 12), len, NULL),
                     0);
    mode_assert_pattern((unsigned char *)live_page(to, 14), 12 * page_size(),
                        len);
    mode_destroy(to);
    mode_destroy(from);
}

/* Pages that the program has dropped itself are as new, not -EFAULT. */
static void dropped_behind_our_back(void **state)
{
    struct live_pager p = {0};
    struct uf_space *space = mode_pattern_space(&p);
    size_t len = 6 * page_size();
    unsigned char *bytes = malloc(len);
    void *guest = (void *)live_page(space, 3);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(uf_copy_in(space, bytes, (uintptr_t)guest, len, NULL),
                         0);
        mode_assert_pattern(bytes, 3 * page_size(), len);
        memset(bytes, 0, len);
        assert_int_equal(uf_copy_out(space, (uintptr_t)guest, bytes, len, NULL),
                         0);
        assert_int_equal(madvise(guest, len, MADV_DONTNEED), 0);
    }
    assert_int_equal(uf_populate_read(space, (uintptr_t)guest, len), 0);
    assert_int_equal(live_mincore((uintptr_t)guest, (uintptr_t)guest + len), 6);
    free(bytes);
    mode_destroy(space);
}

/* -------------------------------------------------------------- -EFAULT -- */

/* Outside the mappings, whatever is there in the host; the part before is
 * copied. */
static void what_is_not_mapped(void **state)
{
    struct uf_space *space = mode_space(NULL);
    uintptr_t base = live_page(space, 0), end = live_page(space, MODE_PAGES);
    int own = 5;

    (void)state;
    mode_assert_refused(space, end, 1, 0);
    mode_assert_refused(space, end - 1, 2, 1);
    mode_assert_refused(space, end - page_size() - 10, 10000, page_size() + 10);
    mode_assert_refused(space, base - 1, 2, 0);
    mode_assert_refused(space, base + uf_space_len(space) - 1, 100, 0);
    mode_assert_refused(space, base + uf_space_len(space), 100, 0);
    mode_assert_refused(space, 0, 1, 0);
    mode_assert_refused(space, UINTPTR_MAX, 1, 0);
    mode_assert_refused(space, UINTPTR_MAX - 10, 100, 0);
    mode_assert_refused(space, (uintptr_t)&own, sizeof(own), 0);
    assert_int_equal(own, 5);
    assert_int_equal(uf_copy_in(space, &own, UINTPTR_MAX, SIZE_MAX, NULL),
                     -EFAULT);
    mode_destroy(space);
}

#define BROKEN 6

static ssize_t all_but_one(struct live_pager *p, const struct uf_fill *request)
{
    uint64_t broken = BROKEN * page_size();

    (void)p;
    if (request->offset <= broken &&
        broken < request->offset + request->len_bytes)
        return -EIO;
    return live_fill(request, request->len_bytes);
}

/* A page that its pager cannot supply; the pages around it are fine. */
static void what_a_pager_cannot_supply(void **state)
{
    struct live_pager p = {.behave = all_but_one};
    struct uf_space *space = mode_pattern_space(&p);
    size_t page = page_size();
    unsigned char byte;

    (void)state;
    for (int i = 0; i < 3; i++) {
        mode_assert_refused(space, live_page(space, BROKEN), 10, 0);
        mode_assert_refused(space, live_page(space, BROKEN - 2) + 7, 4 * page,
                            2 * page - 7);
        assert_int_equal(uf_strnlen(space, live_page(space, BROKEN) - 3, 9),
                         -EFAULT);
    }
    assert_int_equal(
        uf_copy_in(space, &byte, live_page(space, BROKEN + 1), 1, NULL), 0);
    mode_destroy(space);
}

/* -------------------------------------------------------------- strings -- */

/* A string that ends with the last byte before a hole, at every distance. */
static void strings_before_a_hole(void **state)
{
    struct uf_space *space = mode_space(NULL);
    uintptr_t end = live_page(space, MODE_PAGES);
    size_t all = MODE_PAGES * page_size();
    char *text = malloc(all);

    (void)state;
    memset(text, 'x', all);
    assert_int_equal(uf_copy_out(space, live_page(space, 0), text, all, NULL),
                     0);
    for (size_t len = 1; len < all; len += len < 300 ? 1 : 4001) {
        assert_int_equal(uf_strnlen(space, end - len, len), len);
        assert_int_equal(uf_strnlen(space, end - len, len + 1), -EFAULT);
        assert_int_equal(uf_strnlen(space, end - len, SIZE_MAX), -EFAULT);
        assert_int_equal(uf_strnlen(space, end - len, len / 2), len / 2);
    }
    assert_int_equal(uf_copy_out(space, end - 1, "", 1, NULL), 0);
    for (size_t len = 1; len < all; len += len < 300 ? 1 : 4001) {
        assert_int_equal(uf_strnlen(space, end - len, len), len - 1);
        assert_int_equal(uf_strnlen(space, end - len, SIZE_MAX), len - 1);
    }
    assert_int_equal(uf_strnlen(space, end, 1), -EFAULT);
    assert_int_equal(uf_strnlen(space, UINTPTR_MAX, 5), -EFAULT);
    free(text);
    mode_destroy(space);
}

/* ----------------------------------------------------------- populating -- */

/* Afterwards a system call may be handed the memory, in any tier. */
static void system_calls_can_follow(void **state)
{
    struct live_pager p = {0};
    struct uf_space *space = mode_pattern_space(&p);
    char *guest = (char *)live_page(space, 4) - 10;
    size_t len = 3000;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(uf_populate_read(space, (uintptr_t)guest, len), 0);
    assert_int_equal(write(fds[1], guest, len), len);
    guest += 8 * page_size();
    assert_int_equal(uf_populate_write(space, (uintptr_t)guest, len), 0);
    assert_int_equal(read(fds[0], guest, len), len);
    mode_assert_pattern((unsigned char *)guest, 4 * page_size() - 10, len);
    assert_int_equal(live_stats(space).faults, 0);
    close(fds[0]);
    close(fds[1]);
    mode_destroy(space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_copied),
        cmocka_unit_test(what_is_copied_out_is_seen),
        cmocka_unit_test(no_fault_is_raised),
        cmocka_unit_test(zero_bytes_are_always_copied),
        cmocka_unit_test(from_space_to_space),
        cmocka_unit_test(dropped_behind_our_back),
        cmocka_unit_test(what_is_not_mapped),
        cmocka_unit_test(what_a_pager_cannot_supply),
        cmocka_unit_test(strings_before_a_hole),
        cmocka_unit_test(system_calls_can_follow),
    };

    return modes_run(tests, sizeof(tests) / sizeof(tests[0]));
}
