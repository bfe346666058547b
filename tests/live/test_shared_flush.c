/* SPDX-License-Identifier: MIT */
/*
 * Shared mappings of a store: what is lost by a flush that fails is written
 * again, and what others append to the store inside a page that is mapped stays.
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

#include "moody_store.h"
#include "ufault/store.h"

/* As a disk does that had it in its cache: the bytes are those before. */
static void forget(struct world *w, size_t n)
{
    pthread_mutex_lock(&w->m.lock);
    w->m.bytes[n * page_size()] = 0;
    pthread_mutex_unlock(&w->m.lock);
}

static void a_failed_flush_is_written_again(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    *page_of(&w, 3) = 77;
    *page_of(&w, 60) = 78;
    w.m.flush_err = -EIO;
    assert_int_equal(sync_page(&w, 3), -EIO);
    assert_int_equal(stored(&w, 3), 77);
    forget(&w, 3);
    w.m.flush_err = 0;
    assert_int_equal(sync_page(&w, 3), 0);
    assert_int_equal(stored(&w, 3), 77);
    assert_int_equal(sync_page(&w, 60), 0);
    /* And once is enough. */
    forget(&w, 3);
    assert_int_equal(sync_page(&w, 3), 0);
    assert_int_equal(stored(&w, 3), 0);
    end(&w);
}

struct mapped_file {
    int fd;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    volatile unsigned char *at;
};

static void map_file(struct mapped_file *f, const char *bytes)
{
    char path[] = "/tmp/ufault-append-XXXXXX";
    intptr_t at;

    f->fd = mkstemp(path);
    assert_true(f->fd >= 0);
    unlink(path);
    assert_int_equal(write(f->fd, bytes, strlen(bytes)), strlen(bytes));
    assert_int_equal(uf_store_fd(f->fd, UF_STORE_WRITE, &f->store), 0);
    assert_int_equal(uf_pager_store(f->store, 0, &f->pager), 0);
    f->space = live_space(&(struct uf_space_opts){0}, 0);
    at = uf_mmap_pager(f->space, 0, 2 * page_size(), RW, MAP_SHARED, f->pager,
                       0);
    assert_true(at > 0);
    f->at = (volatile unsigned char *)at;
}

static void assert_file(const struct mapped_file *f, const char *bytes)
{
    char got[64] = {0};

    assert_int_equal(pread(f->fd, got, sizeof(got), 0), strlen(bytes));
    assert_string_equal(got, bytes);
}

static void what_others_append_stays(void **state)
{
    struct mapped_file f;

    (void)state;
    map_file(&f, "12345");
    f.at[0] = 'a';
    assert_int_equal(pwrite(f.fd, "67890", 5, 5), 5);
    assert_int_equal(uf_pager_sync(f.pager), 0);
    assert_file(&f, "a234567890");
    assert_int_equal(f.at[9], '0');
    f.at[9] = 'z'; /* which is the file's now */
    assert_int_equal(pwrite(f.fd, "!", 1, 10), 1);
    assert_int_equal(uf_pager_sync(f.pager), 0);
    assert_file(&f, "a23456789z!");
    assert_int_equal(ftruncate(f.fd, 3), 0);
    f.at[1] = 'b';
    assert_int_equal(uf_pager_sync(f.pager), 0);
    assert_int_equal(pwrite(f.fd, "cd", 2, 3), 2);
    f.at[0] = 'A';
    assert_int_equal(uf_pager_sync(f.pager), 0);
    assert_file(&f, "Ab3cd");
    assert_int_equal(f.at[5], 0);
    assert_int_equal(uf_space_destroy(f.space), 0);
    uf_pager_unref(f.pager);
    uf_store_unref(f.store);
    close(f.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_flush_is_written_again),
        cmocka_unit_test(what_others_append_stays),
    };
    int skipped = live_begin();

    return skipped
               ? skipped
               : cmocka_run_group_tests_name("shared flush", tests, NULL, NULL);
}
