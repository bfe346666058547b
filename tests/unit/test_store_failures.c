/* SPDX-License-Identifier: MIT */
/*
 * Stores: reads and writes that fail are answered as the header says, by
 * themselves and within a batch; and where io_uring is refused a store says so,
 * and reads all the same.
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
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "store/channel.h"
#include "store/store.h"
#include "unit/store_file.h"

static const uint32_t both_ways[] = {0, UF_STORE_NO_URING};

static bool refuse(int call, int err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok =
        filter &&
        seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)err), call, 0) == 0 &&
        seccomp_load(filter) == 0;

    seccomp_release(filter);
    return ok;
}

static ssize_t answer(void *context, void *to, size_t len, uint64_t offset)
{
    (void)to;
    (void)len;
    (void)offset;
    return *(ssize_t *)context;
}

static int no_size(void *context, uint64_t *ret_bytes)
{
    (void)context;
    *ret_bytes = 99;
    return -EXDEV;
}

/* ---------------------------------------------------- reading and writing -- */

/* All of a batch have that answer after `good` bytes. */
static void batch_answers(struct uf_store *store, bool write, int err)
{
    struct store_io ios[PAGES], *done[PAGES];
    struct store_channel *channel;

    for (size_t i = 0; i < PAGES; i++)
        ios[i] = (struct store_io){.offset = i * 4096,
                                   .buffer = buffer + i * 4096,
                                   .len_bytes = 4096,
                                   .write = write};
    assert_int_equal(store_channel_open(store, &channel), 0);
    store_submit(channel, ios, PAGES);
    assert_int_equal(store_reap(channel, done, PAGES, PAGES), PAGES);
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(ios[i].err, err);
        assert_int_equal(ios[i].done_bytes, err ? 0 : 4096);
    }
    store_channel_close(channel);
}

/* provokes: uf_store_read -EBADF
 * provokes: uf_store_write -EBADF */
static void the_other_direction_is_refused(void **state)
{
    struct uf_store *store;
    int wronly = open(path, O_WRONLY), rdonly = open(path, O_RDONLY);

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            uf_store_fd(wronly, UF_STORE_WRITE | both_ways[i], &store), 0);
        assert_int_equal(uf_store_read(store, buffer, 1, 0), -EBADF);
        batch_answers(store, false, -EBADF);
        uf_store_unref(store);
        assert_int_equal(uf_store_open(path, both_ways[i], &store), 0);
        assert_int_equal(uf_store_write(store, buffer, 1, 0), -EBADF);
        batch_answers(store, true, -EBADF);
        batch_answers(store, false, 0);
        uf_store_unref(store);
        /* Said to be writable, and is not. */
        assert_int_equal(
            uf_store_fd(rdonly, UF_STORE_WRITE | both_ways[i], &store), 0);
        assert_int_equal(uf_store_write(store, buffer, 1, 0), -EBADF);
        batch_answers(store, true, -EBADF);
        uf_store_unref(store);
    }
    close(wronly);
    close(rdonly);
    assert_int_equal(uf_store_memory(buffer, sizeof(buffer), 0, &store), 0);
    assert_int_equal(uf_store_write(store, buffer, 1, 0), -EBADF);
    uf_store_unref(store);
    assert_true(is_good(buffer, sizeof(buffer)));
}

/* provokes: uf_store_read -EIO
 * provokes: uf_store_write -EIO */
static void nonsense_is_an_error(void **state)
{
    static const ssize_t nonsense[] = {-4096, PTRDIFF_MAX, 5};
    ssize_t say = 0;
    struct uf_store_ops ops = {
        .size = sizeof(ops),
        .read = answer,
        .write = (ssize_t(*)(void *, const void *, size_t, uint64_t))answer,
        .get_size = no_size};
    struct uf_store *store;
    uint64_t size = 1;

    (void)state;
    assert_int_equal(uf_store_create(&ops, &say, &store), 0);
    assert_int_equal(uf_store_kind_of(store), UF_STORE_KIND_CALLER);
    assert_int_equal(uf_store_read(store, buffer, 4, 0), 0);
    assert_int_equal(uf_store_write(store, buffer, 4, 0), -EIO);
    for (size_t i = 0; i < 3; i++) {
        say = nonsense[i];
        assert_int_equal(uf_store_read(store, buffer, 4, 0), -EIO);
        assert_int_equal(uf_store_write(store, buffer, 4, 0), -EIO);
    }
    say = -EOVERFLOW;
    assert_int_equal(uf_store_read(store, buffer, 4, 0), -EOVERFLOW);
    batch_answers(store, false, -EOVERFLOW);
    assert_int_equal(uf_store_size(store, &size), -EXDEV);
    assert_int_equal(size, 1);
    assert_int_equal(uf_store_flush(store), 0);
    uf_store_unref(store);
}

/* What fits is written; the next byte is not. */
static int file_limit(const void *arg)
{
    struct rlimit limit = {sizeof(buffer) + 100, RLIM_INFINITY};
    const uint32_t *flags = arg;
    struct uf_store *store;

    signal(SIGXFSZ, SIG_IGN);
    NEED(uf_store_open(path, UF_STORE_WRITE | *flags, &store) == 0);
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    NEED(uf_store_write(store, buffer, 200, sizeof(buffer)) == 100);
    NEED(uf_store_write(store, buffer, 200, sizeof(buffer) + 100) == -EFBIG);
    batch_answers(store, true, 0);
    limit.rlim_cur = 0;
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    batch_answers(store, true, -EFBIG);
    uf_store_unref(store);
    return truncate(path, sizeof(buffer));
}

/* provokes: uf_store_write -EFBIG */
static void the_limit_of_file_sizes(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        in_child(file_limit, &both_ways[i]);
}

/* A disk of 16 pages. */
static int small_disk(const void *arg)
{
    const uint32_t *flags = arg;
    struct store_io ios[PAGES], *done[PAGES];
    struct store_channel *channel;
    struct uf_store *store;
    unsigned good = 0;
    int fd;

    if (unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/mnt", "tmpfs", 0, "size=64k") < 0) {
        printf("skipped: cannot mount\n");
        return SKIPPED;
    }
    fd = open("/mnt/full", O_RDWR | O_CREAT, 0600);
    NEED(uf_store_fd(fd, UF_STORE_WRITE | *flags, &store) == 0);
    for (size_t i = 0; i < PAGES; i++)
        ios[i] = (struct store_io){.offset = i * 4096,
                                   .buffer = buffer + i * 4096,
                                   .len_bytes = 4096,
                                   .write = true};
    NEED(store_channel_open(store, &channel) == 0);
    store_submit(channel, ios, PAGES);
    NEED(store_reap(channel, done, PAGES, PAGES) == PAGES);
    for (size_t i = 0; i < PAGES; i++) {
        good += ios[i].err == 0;
        NEED(ios[i].err == 0 || ios[i].err == -ENOSPC);
        NEED(ios[i].err != 0 || ios[i].done_bytes == 4096);
    }
    NEED(good == 16);
    store_channel_close(channel);
    NEED(uf_store_write(store, buffer, 4096, 1 << 20) == -ENOSPC);
    uf_store_unref(store);
    close(fd);
    return 0;
}

/* provokes: uf_store_write -ENOSPC */
static void a_full_disk(void **state)
{
    struct uf_store *store;

    (void)state;
    assert_int_equal(uf_store_memory(NULL, 10, UF_STORE_WRITE, &store), 0);
    assert_int_equal(uf_store_write(store, buffer, 8, 4), 6);
    assert_int_equal(uf_store_write(store, buffer, 1, 10), -ENOSPC);
    uf_store_unref(store);
    for (int i = 0; i < 2; i++)
        in_child(small_disk, &both_ways[i]);
}

/* ------------------------------------------------------- io_uring, refused -- */

static int refused_at_open(const void *arg)
{
    const int *err = arg;
    struct uf_store *store;
    struct store_channel *channel;

    if (!refuse(SCMP_SYS(io_uring_setup), *err))
        return SKIPPED;
    NEED(uf_store_open(path, UF_STORE_WRITE, &store) == 0);
    NEED(uf_store_kind_of(store) == UF_STORE_KIND_PREAD);
    NEED(uf_store_uring_error(store) == -*err);
    NEED(!store_channel_take(store));
    NEED(store_channel_open(store, &channel) == 0);
    NEED(!store_channel_is_uring(channel));
    NEED(!store_channel_pin(channel, buffer, sizeof(buffer)));
    store_channel_close(channel);
    memset(buffer, 0, sizeof(buffer));
    batch_answers(store, false, 0);
    NEED(is_good(buffer, sizeof(buffer)));
    uf_store_unref(store);
    return 0;
}

/* Any errno: pread(2), and the store says why. */
static void io_uring_is_refused(void **state)
{
    static const int errs[] = {EPERM, ENOSYS, ENOMEM, EACCES};
    struct uf_store *store;

    (void)state;
    assert_int_equal(uf_store_open(path, 0, &store), 0);
    if (uf_store_kind_of(store) != UF_STORE_KIND_URING)
        print_message("refused anyway\n");
    else
        for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
            in_child(refused_at_open, &errs[i]);
    uf_store_unref(store);
}

/* With requests in the ring, and before any. */
static int refused_later(const void *arg)
{
    const bool *under_way = arg;
    struct store_io ios[PAGES], *done[PAGES];
    struct store_channel *channel;
    struct uf_store *store;

    if (uf_store_open(path, UF_STORE_DIRECT, &store) != 0)
        NEED(uf_store_open(path, 0, &store) == 0);
    NEED(store_channel_open(store, &channel) == 0);
    NEED(store_channel_is_uring(channel) ==
         (uf_store_kind_of(store) == UF_STORE_KIND_URING));
    memset(buffer, 0, sizeof(buffer));
    for (size_t i = 0; i < PAGES; i++)
        ios[i] = (struct store_io){
            .offset = i * 4096, .buffer = buffer + i * 4096, .len_bytes = 4096};
    if (*under_way)
        store_submit(channel, ios, PAGES);
    if (!refuse(SCMP_SYS(io_uring_enter), EPERM))
        return SKIPPED;
    if (!*under_way)
        store_submit(channel, ios, PAGES);
    for (unsigned n = 0; n < PAGES;)
        n += store_reap(channel, done, PAGES, 1);
    for (size_t i = 0; i < PAGES; i++)
        NEED(ios[i].err == 0 && ios[i].done_bytes == 4096);
    NEED(is_good(buffer, sizeof(buffer)));
    store_submit(channel, ios, 1);
    NEED(store_reap(channel, done, PAGES, 1) == 1);
    NEED(!store_channel_is_uring(channel));
    store_channel_close(channel);
    uf_store_unref(store);
    return 0;
}

/* A filter that comes when the ring is there: nothing is lost. */
static void io_uring_is_refused_later(void **state)
{
    static const bool under_way[] = {false, true};

    (void)state;
    for (int i = 0; i < 2; i++)
        in_child(refused_later, &under_way[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_other_direction_is_refused),
        cmocka_unit_test(nonsense_is_an_error),
        cmocka_unit_test(the_limit_of_file_sizes),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(io_uring_is_refused),
        cmocka_unit_test(io_uring_is_refused_later),
    };

    return cmocka_run_group_tests_name("store failures", tests, make_file,
                                       remove_file);
}
