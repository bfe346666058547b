/* SPDX-License-Identifier: MIT */
/*
 * Writing back to stores that fail: what cannot be written stays dirty and is
 * told once, by uf_msync or uf_pager_sync, as -EIO or -ENOSPC; other pages are
 * written; what has no more reference is counted as lost. Functions of a store's
 * find calls that would wait for themselves refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "moody_store.h"

/* --------------------------------------------------------------- failures -- */

/* provokes: uf_msync -EIO -ENOSPC
 * provokes: uf_pager_sync -EIO -ENOSPC */
static void a_failure_is_told_once_and_costs_one_page(void **state)
{
    static const int errs[][2] = {
        {-ENOSPC, -ENOSPC}, {-EIO, -EIO}, {-EDQUOT, -EIO}, {-EAGAIN, -EIO}};

    (void)state;
    for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
        struct world w;

        begin(&w);
        w.m.bad = 7;
        w.m.most = 1500;
        w.m.write_err = errs[i][0];
        for (size_t n = 0; n < NPAGES; n++)
            *page_of(&w, n) = 200;
        assert_int_equal(sync_page(&w, 40), 0); /* alone */
        assert_int_equal(uf_pager_sync(w.pager), errs[i][1]);
        for (size_t n = 0; n < 7; n++)
            assert_int_equal(stored(&w, n), 200);
        assert_int_equal(stored(&w, 7), live_pattern(7 * page_size()));
        assert_int_equal(stored(&w, 33), 200); /* another piece */
        assert_true(counts(&w).pages_dirty > 0);
        assert_int_equal(sync_page(&w, 40), 0); /* it was told */
        assert_int_equal(sync_page(&w, 7), errs[i][1]);
        w.m.write_err = 0;
        assert_int_equal(sync_page(&w, 40), 0);
        assert_int_equal(uf_pager_sync(w.pager), 0);
        for (size_t n = 0; n < NPAGES; n++)
            assert_int_equal(stored(&w, n), 200);
        assert_int_equal(counts(&w).pages_dirty, 0);
        assert_int_equal(counts(&w).write_errors, 2);
        assert_int_equal(uf_store_lost(w.store), 0);
        end(&w);
    }
}

/* An unmapping call succeeds; who looks afterwards is told. */
static void a_failure_of_unmapping_is_told_later(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    w.m.bad = 3;
    w.m.write_err = -ENOSPC;
    *page_of(&w, 3) = 77;
    assert_int_equal(uf_munmap(w.space, w.at, NPAGES * page_size()), 0);
    assert_int_equal(counts(&w).pages_dirty, 1);
    assert_int_equal(counts(&w).write_errors, 1);
    /* The bytes are there for a new mapping. */
    w.at = (uintptr_t)uf_mmap_pager(w.space, 0, NPAGES * page_size(), RW,
                                    MAP_SHARED, w.pager, 0);
    assert_int_equal(*page_of(&w, 3), 77);
    w.m.write_err = 0;
    assert_int_equal(uf_pager_sync(w.pager), -ENOSPC); /* of then */
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(stored(&w, 3), 77);
    end(&w);
}

static void what_fails_at_the_end_is_counted_as_lost(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    w.m.bad = 3;
    w.m.write_err = -EIO;
    *page_of(&w, 3) = 77;
    *page_of(&w, 60) = 78;
    assert_int_equal(uf_space_destroy(w.space), 0);
    assert_int_equal(uf_store_lost(w.store), 0);
    uf_pager_unref(w.pager);
    assert_int_equal(uf_store_lost(w.store), page_size());
    assert_int_equal(stored(&w, 60), 78);
    w.space = live_space(&(struct uf_space_opts){0}, 0);
    w.pager = NULL;
    end(&w);
}

static void other_failures_are_eio(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    *page_of(&w, 3) = 77;
    w.m.size_err = -ENOENT;
    assert_int_equal(sync_page(&w, 3), -EIO);
    w.m.size_err = 0;
    w.m.flush_err = -ENOSPC;
    assert_int_equal(sync_page(&w, 3), -ENOSPC);
    assert_int_equal(stored(&w, 3), 77);
    w.m.flush_err = 0;
    *page_of(&w, 4) = 78;
    slab_inject_failure(1, 1);
    assert_int_equal(sync_page(&w, 4), -EIO);
    slab_inject_failure(0, 0);
    assert_int_equal(sync_page(&w, 4), 0);
    assert_int_equal(stored(&w, 4), 78);
    end(&w);
}

/* The background fails, and uf_msync of another page says so. */
static void a_failure_of_the_background_is_told(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    w.m.bad = 3;
    w.m.write_err = -ENOSPC;
    *page_of(&w, 3) = 77;
    assert_int_equal(uf_pager_set_writeback(w.pager, 10), 0);
    while (counts(&w).write_errors == 0)
        usleep(1000);
    assert_int_equal(uf_pager_set_writeback(w.pager, 0), 0);
    assert_int_equal(sync_page(&w, 20), -ENOSPC);
    w.m.write_err = 0;
    assert_int_equal(uf_pager_sync(w.pager) == 0 || sync_page(&w, 3) == 0, 1);
    assert_int_equal(stored(&w, 3), 77);
    end(&w);
}

/* ------------------------------------------------------- functions that call -- */

static void call_back(struct moody *m)
{
    struct world *w = m->world;

    m->also = NULL;
    w->err = uf_pager_sync(w->pager);
    if (w->err == -EDEADLK)
        w->err = sync_page(w, 5);
    /* Not refused: it does not wait. What was written there goes later. */
    if (uf_munmap(w->space, w->at + 9 * page_size(), page_size()) != 0)
        w->err = -EPROTO;
    *page_of(w, 50) = 99; /* a first touch */
}

/* provokes: uf_msync -EDEADLK
 * provokes: uf_pager_sync -EDEADLK */
static void a_store_does_not_wait_for_itself(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    *page_of(&w, 1) = 77;
    *page_of(&w, 9) = 79;
    w.m.also = call_back;
    assert_int_equal(sync_page(&w, 1), 0);
    assert_int_equal(w.err, -EDEADLK);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(stored(&w, 1), 77);
    assert_int_equal(stored(&w, 9), 79);
    assert_int_equal(stored(&w, 50), 99);
    end(&w);
}

static struct live_gate gate = LIVE_GATE_INIT;

static void wait_at_gate(struct moody *m)
{
    (void)m;
    live_gate_pass(&gate);
}

static void *sync_3(void *arg)
{
    struct world *w = arg;

    return sync_page(w, 3) == 0 && stored(w, 3) == 77 ? arg : NULL;
}

/* One that writes slowly keeps nobody from touching; who wants the same page on
 * the disk waits. */
static void touches_do_not_wait_for_a_write(void **state)
{
    pthread_t threads[2];
    struct world w;
    void *good;

    (void)state;
    begin(&w);
    *page_of(&w, 3) = 77;
    w.m.also = wait_at_gate;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, sync_3, &w);
    live_gate_await(&gate, 1);
    for (size_t n = 10; n < NPAGES; n++)
        *page_of(&w, n) = (unsigned char)n;
    *page_of(&w, 3) = 77;
    live_gate_open(&gate);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &good);
        assert_non_null(good);
    }
    end(&w);
}

static struct live_gate cut_gate = LIVE_GATE_INIT;

static void wait_with_50(uint64_t start, uint64_t end)
{
    uint64_t last = 51 * page_size() - 1;

    if (start <= last && end > last)
        live_gate_pass(&cut_gate);
}

static void *touch_50(void *arg)
{
    struct world *w = arg;

    w->err = live_read(w->at + 50 * page_size(), NULL, NULL);
    return NULL;
}

/* Its bytes were read before the store was cut off, and what is behind its end
 * went from the cache before they go in. */
static void what_was_read_before_a_cut_does_not_go_in(void **state)
{
    pthread_t thread;
    struct world w;

    (void)state;
    begin(&w);
    *page_of(&w, 1) = 77;
    atomic_store(&w.m.has_read, wait_with_50);
    assert_int_equal(pthread_create(&thread, NULL, touch_50, &w), 0);
    live_gate_await(&cut_gate, 1);
    atomic_store(&w.m.len, 5 * page_size());
    assert_int_equal(sync_page(&w, 1), 0);
    live_gate_open(&cut_gate);
    pthread_join(thread, NULL);
    assert_int_equal(w.err, SIGBUS);
    assert_int_equal(live_read(w.at + 50 * page_size(), NULL, NULL), SIGBUS);
    assert_int_equal(*page_of(&w, 1), 77);
    end(&w);
}

/* ---------------------------------------------------------------- arguments -- */

static ssize_t no_fill(void *context, const struct uf_fill *request)
{
    (void)context;
    return (ssize_t)request->len_bytes;
}

/* provokes: uf_mmap_pager -EINVAL -EACCES
 * provokes: uf_mprotect -EACCES
 * provokes: uf_madvise -EOPNOTSUPP -EACCES -EINVAL
 * provokes: uf_pager_sync -EINVAL
 * provokes: uf_pager_set_writeback -EINVAL
 * provokes: uf_pager_writeback -EINVAL */
static void what_cannot_be_shared_is_refused(void **state)
{
    struct uf_writeback counts = {.size = sizeof(counts) - 1};
    size_t page = page_size();
    struct uf_pager *plain;
    struct world w;

    (void)state;
    begin_with(&w, false);
    assert_int_equal(
        uf_mmap_pager(w.space, 0, page, RW, MAP_SHARED, w.pager, 0), -EACCES);
    assert_int_equal(uf_mprotect(w.space, w.at, page, RW), -EACCES);
    assert_int_equal(uf_mprotect(w.space, w.at, page, PROT_NONE), 0);
    assert_int_equal(uf_mprotect(w.space, w.at, page, PROT_READ), 0);
    assert_int_equal(*page_of(&w, 0), live_pattern(0));
    assert_int_equal(sync_page(&w, 0), 0);
    assert_int_equal(uf_madvise(w.space, w.at, page, MADV_REMOVE), -EACCES);
    end(&w);

    begin(&w);
    assert_int_equal(uf_pager_callback(no_fill, NULL, &plain), 0);
    assert_int_equal(uf_mmap_pager(w.space, 0, page, RW, MAP_SHARED, plain, 0),
                     -EINVAL);
    assert_int_equal(
        uf_mmap_pager(w.space, 0, page, RW, MAP_SHARED_VALIDATE, w.pager, 0),
        -EINVAL);
    assert_int_equal(uf_madvise(w.space, w.at, page, MADV_REMOVE), -EOPNOTSUPP);
    assert_int_equal(uf_madvise(w.space, w.at, page, 102), -EINVAL);
    assert_int_equal(uf_pager_sync(NULL), -EINVAL);
    assert_int_equal(uf_pager_sync(plain), -EINVAL);
    assert_int_equal(uf_pager_set_writeback(NULL, 1), -EINVAL);
    assert_int_equal(uf_pager_set_writeback(plain, 1), -EINVAL);
    assert_int_equal(uf_pager_writeback(w.pager, &counts), -EINVAL);
    assert_int_equal(uf_pager_writeback(w.pager, NULL), -EINVAL);
    counts.size++;
    assert_int_equal(uf_pager_writeback(plain, &counts), -EINVAL);
    uf_pager_unref(plain);
    end(&w);
}

/* provokes: uf_mmap_pager -EMFILE */
static void limits_of_files_are_told(void **state)
{
    struct rlimit files, old, length;
    struct uf_pager *pager;
    struct world w;

    (void)state;
    begin(&w);
    assert_int_equal(uf_pager_store(w.store, 0, &pager), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    files = old;
    files.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(
        uf_mmap_pager(w.space, 0, page_size(), RW, MAP_SHARED, pager, 0),
        -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    length = old;
    length.rlim_cur = page_size();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &length), 0);
    assert_int_equal(
        uf_mmap_pager(w.space, 0, 2 * page_size(), RW, MAP_SHARED, pager, 0),
        -ENOMEM);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    uf_pager_unref(pager);
    end(&w);
}

/* --------------------------------------------------------------- a full disk -- */

static void a_full_disk_is_enospc(void **state)
{
    char dir[] = "/tmp/ufault-full-XXXXXX", path[64];
    size_t page = page_size(), len = 32 * page;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    uintptr_t at;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    if (mount("none", dir, "tmpfs", 0, "size=64k") != 0) {
        rmdir(dir);
        skip();
    }
    snprintf(path, sizeof(path), "%s/file", dir);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    assert_int_equal(uf_store_open(path, UF_STORE_WRITE, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    assert_int_equal(uf_pager_set_writeback(pager, 0), 0);
    space = live_space(&(struct uf_space_opts){0}, 0);
    at = (uintptr_t)uf_mmap_pager(space, 0, len, RW, MAP_SHARED, pager, 0);
    for (size_t i = 0; i < len; i++)
        *(volatile unsigned char *)(at + i) = live_pattern(i);
    assert_int_equal(uf_msync(space, at, len, MS_SYNC), -ENOSPC);
    assert_true(live_is_pattern(space, at, 0));
    assert_int_equal(mount("none", dir, "tmpfs", MS_REMOUNT, "size=1m"), 0);
    assert_int_equal(uf_msync(space, at, len, MS_SYNC), 0);
    for (size_t i = 0; i < len; i += 97) {
        unsigned char byte = 0;

        assert_int_equal(pread(fd, &byte, 1, (off_t)i), 1);
        assert_int_equal(byte, live_pattern(i));
    }
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(pager);
    uf_store_unref(store);
    close(fd);
    assert_int_equal(umount2(dir, MNT_DETACH), 0); /* a ring ends later */
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_told_once_and_costs_one_page),
        cmocka_unit_test(a_failure_of_unmapping_is_told_later),
        cmocka_unit_test(what_fails_at_the_end_is_counted_as_lost),
        cmocka_unit_test(other_failures_are_eio),
        cmocka_unit_test(a_failure_of_the_background_is_told),
        cmocka_unit_test(a_store_does_not_wait_for_itself),
        cmocka_unit_test(touches_do_not_wait_for_a_write),
        cmocka_unit_test(what_was_read_before_a_cut_does_not_go_in),
        cmocka_unit_test(what_cannot_be_shared_is_refused),
        cmocka_unit_test(limits_of_files_are_told),
        cmocka_unit_test(a_full_disk_is_enospc),
    };
    int skipped = live_begin();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
