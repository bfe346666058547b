/* SPDX-License-Identifier: MIT */
/*
 * Stores: wrong arguments, and what cannot be opened, are answered as the header
 * says; outputs are not written, and nothing is left open.
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
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/slab.h"
#include "store/store.h"
#include "unit/store_file.h"

/* ----------------------------------------------------------------- opening -- */

/* provokes: uf_store_open -EINVAL -EISDIR -ESPIPE -ENOENT -EACCES -ENOTSUP */
static void what_cannot_be_opened(void **state)
{
    struct uf_store *store = NULL;
    size_t fds = live_count_fds();

    (void)state;
    assert_int_equal(uf_store_open(NULL, 0, &store), -EINVAL);
    assert_int_equal(uf_store_open(path, 0, NULL), -EINVAL);
    assert_int_equal(uf_store_open(path, 8, &store), -EINVAL);
    assert_int_equal(uf_store_open("/tmp", 0, &store), -EISDIR);
    assert_int_equal(uf_store_open("/dev/null", 0, &store), -ESPIPE);
    assert_int_equal(uf_store_open("/nonexistent", 0, &store), -ENOENT);
    assert_int_equal(uf_store_open("/proc/self/mem/x", 0, &store), -ENOTDIR);
    if (geteuid() != 0) {
        assert_int_equal(chmod(path, 0400), 0);
        assert_int_equal(uf_store_open(path, UF_STORE_WRITE, &store), -EACCES);
        assert_int_equal(chmod(path, 0600), 0);
    }
    /* A file system without direct I/O. */
    assert_int_equal(
        uf_store_open("/proc/self/status", UF_STORE_DIRECT, &store), -ENOTSUP);
    assert_null(store);
    assert_int_equal(live_count_fds(), fds);
}

static int no_access(const void *arg)
{
    struct uf_store *store = NULL;
    size_t fds;

    (void)arg;
    NEED(geteuid() != 0 || seteuid(65534) == 0);
    fds = live_count_fds();
    NEED(uf_store_open(path, 0, &store) == -EACCES && !store);
    NEED(live_count_fds() == fds);
    return 0;
}

static void a_file_of_somebody_elses(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    in_child(no_access, NULL);
}

/* provokes: uf_store_fd -EINVAL -EBADF -EISDIR -ESPIPE -ENOTSUP */
static void what_no_descriptor_is(void **state)
{
    struct uf_store *store = NULL;
    size_t fds = live_count_fds();
    int dir = open("/tmp", O_RDONLY), append = open(path, O_RDWR | O_APPEND);
    int direct = open(path, O_RDONLY | O_DIRECT), ends[2];
    int proc = open("/proc/self/status", O_RDONLY);

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(uf_store_fd(append, 0, NULL), -EINVAL);
    assert_int_equal(uf_store_fd(append, 16, &store), -EINVAL);
    assert_int_equal(uf_store_fd(append, UF_STORE_WRITE, &store), -EINVAL);
    if (direct >= 0)
        assert_int_equal(uf_store_fd(direct, 0, &store), -EINVAL);
    assert_int_equal(uf_store_fd(-1, 0, &store), -EBADF);
    assert_int_equal(uf_store_fd(dir, 0, &store), -EISDIR);
    assert_int_equal(uf_store_fd(ends[0], 0, &store), -ESPIPE);
    assert_int_equal(uf_store_fd(proc, UF_STORE_DIRECT, &store), -ENOTSUP);
    assert_null(store);
    assert_int_equal(uf_store_fd(append, 0, &store), 0);
    uf_store_unref(store);
    close(dir);
    close(append);
    close(proc);
    close(ends[0]);
    close(ends[1]);
    if (direct >= 0)
        close(direct);
    assert_int_equal(live_count_fds(), fds);
}

static int open_either(int fd, uint32_t flags, struct uf_store **ret)
{
    return fd >= 0 ? uf_store_fd(fd, flags, ret)
                   : uf_store_open(path, flags, ret);
}

static int few_descriptors(const void *arg)
{
    struct rlimit limit = {0, 64};
    int fd = open(path, O_RDONLY), free_fd = dup(0);
    struct uf_store *store = NULL;

    (void)arg;
    close(free_fd);
    limit.rlim_cur = (rlim_t)free_fd;
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    NEED(uf_store_open(path, 0, &store) == -EMFILE && !store);
    NEED(uf_store_fd(fd, 0, &store) == -EMFILE && !store);
    /* Enough for the file, not for a ring nor the second descriptor. */
    limit.rlim_cur++;
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 0; i < 2; i++) {
        int given = i ? fd : -1;
        int err = open_either(given, UF_STORE_DIRECT, &store);

        NEED((err == -EMFILE || err == -ENOTSUP) && !store);
        NEED(open_either(given, 0, &store) == 0);
        NEED(uf_store_kind_of(store) == UF_STORE_KIND_PREAD);
        NEED(uf_store_uring_error(store) < 0);
        NEED(uf_store_read(store, buffer, 4096, 0) == 4096);
        NEED(is_good(buffer, 4096));
        uf_store_unref(store);
        store = NULL;
    }
    return 0;
}

/* provokes: uf_store_open -EMFILE
 * provokes: uf_store_fd -EMFILE */
static void descriptors_run_out(void **state)
{
    (void)state;
    in_child(few_descriptors, NULL);
}

/* provokes: uf_store_memory -EINVAL
 * provokes: uf_store_create -EINVAL
 * provokes: uf_store_size -EINVAL
 * provokes: uf_store_read -EINVAL
 * provokes: uf_store_write -EINVAL
 * provokes: uf_store_flush -EINVAL
 * provokes: uf_pager_store -EINVAL */
static void wrong_arguments(void **state)
{
    struct uf_store_ops ops = {.size = sizeof(ops)};
    struct uf_store *store = NULL;
    struct uf_pager *pager = NULL;
    uint64_t size = 1;

    (void)state;
    assert_int_equal(uf_store_memory(buffer, 0, 0, &store), -EINVAL);
    assert_int_equal(uf_store_memory(buffer, SIZE_MAX, 0, &store), -EINVAL);
    assert_int_equal(uf_store_memory(buffer, 1, UF_STORE_DIRECT, &store),
                     -EINVAL);
    assert_int_equal(uf_store_memory(buffer, 1, 0, NULL), -EINVAL);
    assert_int_equal(uf_store_create(NULL, NULL, &store), -EINVAL);
    assert_int_equal(uf_store_create(&ops, NULL, &store), -EINVAL);
    assert_null(store);
    assert_int_equal(uf_store_memory(buffer, sizeof(buffer), 0, &store), 0);
    assert_int_equal(uf_store_size(NULL, &size), -EINVAL);
    assert_int_equal(uf_store_size(store, NULL), -EINVAL);
    assert_int_equal(uf_store_read(NULL, buffer, 1, 0), -EINVAL);
    assert_int_equal(uf_store_read(store, NULL, 1, 0), -EINVAL);
    assert_int_equal(uf_store_read(store, buffer, 1, INT64_MAX), -EINVAL);
    assert_int_equal(uf_store_read(store, buffer, SIZE_MAX, 0), -EINVAL);
    assert_int_equal(uf_store_write(NULL, buffer, 1, 0), -EINVAL);
    assert_int_equal(uf_store_write(store, buffer, 2, INT64_MAX - 1), -EINVAL);
    assert_int_equal(uf_store_flush(NULL), -EINVAL);
    assert_int_equal(uf_pager_store(NULL, 0, &pager), -EINVAL);
    assert_int_equal(uf_pager_store(store, 0, NULL), -EINVAL);
    assert_int_equal(uf_pager_store(store, 512, &pager), -EINVAL);
    assert_int_equal(size, 1);
    assert_null(pager);
    uf_store_unref(store);
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

/* provokes: uf_store_open -ENOMEM
 * provokes: uf_store_fd -ENOMEM
 * provokes: uf_store_memory -ENOMEM
 * provokes: uf_store_create -ENOMEM
 * provokes: uf_pager_store -ENOMEM */
static void memory_runs_out(void **state)
{
    struct uf_store_ops ops = {
        .size = sizeof(ops), .read = answer, .get_size = no_size};
    size_t fds = live_count_fds(), records = slab_live_everywhere();
    struct uf_store *store = NULL, *good;
    struct uf_pager *pager = NULL;
    int fd = open(path, O_RDONLY);

    (void)state;
    assert_int_equal(uf_store_memory(buffer, sizeof(buffer), 0, &good), 0);
    for (unsigned n = 1; n <= 2; n++) {
        slab_inject_failure(n, 1);
        if (n == 1)
            assert_int_equal(uf_store_create(&ops, NULL, &store), -ENOMEM);
        slab_inject_failure(n, 1);
        assert_int_equal(uf_store_memory(NULL, 1, 0, &store), -ENOMEM);
        slab_inject_failure(n, 1);
        assert_int_equal(uf_pager_store(good, 0, &pager), -ENOMEM);
    }
    slab_inject_failure(1, 1);
    assert_int_equal(uf_store_open(path, 0, &store), -ENOMEM);
    slab_inject_failure(1, 1);
    assert_int_equal(uf_store_fd(fd, 0, &store), -ENOMEM);
    assert_null(store);
    assert_null(pager);
    /* No memory for a ring is no reason to fail. */
    for (unsigned n = 2; n <= 3; n++) {
        slab_inject_failure(n, 1);
        assert_int_equal(uf_store_open(path, 0, &store), 0);
        assert_int_equal(uf_store_kind_of(store), UF_STORE_KIND_PREAD);
        assert_true(uf_store_uring_error(store) < 0);
        uf_store_unref(store);
    }
    slab_inject_failure(0, 0);
    uf_store_unref(good);
    close(fd);
    assert_int_equal(live_count_fds(), fds);
    assert_int_equal(slab_live_everywhere(), records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_opened),
        cmocka_unit_test(a_file_of_somebody_elses),
        cmocka_unit_test(what_no_descriptor_is),
        cmocka_unit_test(descriptors_run_out),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests_name("store errors", tests, make_file,
                                       remove_file);
}
