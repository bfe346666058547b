/* SPDX-License-Identifier: MIT */
/*
 * The steps of a read of a file with direct I/O: what goes past the page cache,
 * and by which way it is had that was refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sys/uio.h>

#include "store/store.h"

/* Reads are direct where they are aligned, and as far; writes never. */
static void aligned_reads_are_direct(void **state)
{
    struct uf_store store = {.file = {{3, 4}, 512, 4096, false, true}};
    const struct store_file *file = &store.file,
                            plain = {{3, -1}, 1, 1, false, true};
    struct store_io io = {
        .offset = 8192, .buffer = (void *)0x200, .len_bytes = 10000};
    struct file_step step = store_file_step(file, &io);

    (void)state;
    assert_int_equal(step.which, FILE_DIRECT);
    assert_int_equal(step.len_bytes, 8192);
    assert_int_equal(store_file_step(&plain, &io).which, FILE_CACHED);
    io.done_bytes = 8192;
    step = store_file_step(file, &io);
    assert_int_equal(step.which, FILE_CACHED);
    assert_int_equal(step.len_bytes, 10000 - 8192);
    io.done_bytes = 100;
    assert_int_equal(store_file_step(file, &io).which, FILE_CACHED);
    io = (struct store_io){.buffer = (void *)0x100, .len_bytes = 4096};
    assert_int_equal(store_file_step(file, &io).which, FILE_CACHED);
    io = (struct store_io){.len_bytes = 4096, .write = true};
    assert_int_equal(store_file_step(file, &io).which, FILE_CACHED);
    /* Should the file system refuse after all. */
    io = (struct store_io){.len_bytes = 4096, .direct = true};
    assert_int_equal(store_file_step(file, &io).which, FILE_DIRECT);
    assert_false(store_io_account(&store, &io, -EINVAL));
    assert_int_equal(store_file_step(file, &io).which, FILE_CACHED);
}

/* Rather than to wait for the file's lock: less, then by the page cache. */
static void direct_reads_do_not_wait(void **state)
{
    struct uf_store store = {.file = {{3, 4}, 512, 4096, false, true}};
    struct store_io io = {.len_bytes = (size_t)1 << 20, .direct = true};
    struct file_step step = store_file_step(&store.file, &io);

    (void)state;
    assert_int_equal(step.len_bytes, (size_t)1 << 20);
    assert_int_equal(step.flags, RWF_NOWAIT);
    assert_false(store_io_account(&store, &io, -EAGAIN));
    step = store_file_step(&store.file, &io);
    assert_int_equal(step.which, FILE_DIRECT);
    assert_true(step.len_bytes < (size_t)1 << 20);
    assert_int_equal(step.flags, RWF_NOWAIT);
    assert_false(store_io_account(&store, &io, (ssize_t)step.len_bytes));
    assert_false(store_io_account(&store, &io, -EAGAIN));
    step = store_file_step(&store.file, &io);
    assert_int_equal(step.which, FILE_CACHED);
    assert_int_equal(step.len_bytes, io.len_bytes - io.done_bytes);
    assert_int_equal(step.flags, 0);
    io.direct = false;
    assert_true(store_io_account(&store, &io, -EAGAIN));
}

/* Not every file system can be asked not to wait. */
static void who_can_only_wait_is_not_read_directly(void **state)
{
    struct uf_store store = {.file = {{3, 4}, 512, 4096, false, true}};
    struct store_io io = {.len_bytes = 4096, .direct = true}, other = io;
    struct file_step step;

    (void)state;
    assert_false(store_io_account(&store, &io, -EOPNOTSUPP));
    step = store_file_step(&store.file, &io);
    assert_int_equal(step.which, FILE_CACHED);
    assert_int_equal(step.flags, 0);
    assert_int_equal(store_file_step(&store.file, &other).which, FILE_CACHED);
    io.direct = false;
    assert_true(store_io_account(&store, &io, -EOPNOTSUPP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_reads_are_direct),
        cmocka_unit_test(direct_reads_do_not_wait),
        cmocka_unit_test(who_can_only_wait_is_not_read_directly),
    };

    return cmocka_run_group_tests_name("store steps", tests, NULL, NULL);
}
