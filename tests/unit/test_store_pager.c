/* SPDX-License-Identifier: MIT */
/*
 * The pager of a store, without a space: what a fill comes to when reads end,
 * or fail, in the middle of a window and of a page. /proc/self/mem is a file
 * whose unmapped pages are read errors, for pread(2) and io_uring alike.
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
#include <sys/resource.h>
#include <unistd.h>

#include "base/range.h"
#include "base/slab.h"
#include "lib/live.h"
#include "pager/pager.h"
#include "ufault/store.h"

#define WINDOW     512
#define MANY_HOLES 6

static unsigned char *buffer; /* of a window, and a red zone */

static int make_buffer(void **state)
{
    (void)state;
    buffer = slab_pages((WINDOW + 1) * page_size());
    return buffer ? 0 : -1;
}

static int drop_buffer(void **state)
{
    (void)state;
    slab_pages_free(buffer, (WINDOW + 1) * page_size());
    return 0;
}

/* Bytes, or -errno, of a fill of [first, first + npages). */
static ssize_t fill(struct uf_pager *pager, size_t first, size_t npages)
{
    struct uf_fill request = {.size = sizeof(request),
                              .offset = first * page_size(),
                              .len_bytes = npages * page_size(),
                              .buffer = buffer,
                              .page_bytes = page_size()};
    const char *why = NULL;
    size_t len = 0;
    int err = 0;

    memset(buffer, 0xee, npages * page_size());
    switch (pager_fill(pager, &request, &len, &err, &why)) {
    case FILL_OK:
        return (ssize_t)len;
    case FILL_FAILED:
        return err;
    case FILL_AGAIN:
        return -EAGAIN;
    default:
        fail_msg("%s", why);
        return 0;
    }
}

static void is_pages(ssize_t got, size_t npages)
{
    assert_int_equal(got, (ssize_t)(npages * page_size()));
}

/* ------------------------------------------------- errors between pages -- */

static void holes_with(uint32_t flags)
{
    const size_t page = page_size(), holes[] = {1, 31, 32, 100, 300, 511};
    struct uf_store *store;
    struct uf_pager *pager;
    unsigned char *memory = mmap(NULL, WINDOW * page, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    for (size_t i = 0; i < WINDOW * page; i++)
        memory[i] = live_pattern(i);
    assert_int_equal(uf_store_open("/proc/self/mem", flags, &store), 0);
    assert_int_equal(uf_pager_store(store, (uintptr_t)memory, &pager), 0);
    is_pages(fill(pager, 0, WINDOW), WINDOW);
    assert_memory_equal(buffer, memory, WINDOW * page);
    for (size_t i = MANY_HOLES; i-- > 0;) {
        size_t hole = holes[i];

        assert_int_equal(munmap(memory + hole * page, page), 0);
        is_pages(fill(pager, 0, WINDOW), hole);
        assert_memory_equal(buffer, memory, hole * page);
        assert_int_equal(fill(pager, hole, WINDOW - hole), -EIO);
        assert_int_equal(fill(pager, hole, 1), -EIO);
        if (hole + 1 < WINDOW &&
            (i + 1 == MANY_HOLES || holes[i + 1] > hole + 1)) {
            is_pages(fill(pager, hole + 1, 1), 1);
            assert_memory_equal(buffer, memory + (hole + 1) * page, page);
        }
    }
    uf_pager_unref(pager);
    uf_store_unref(store);
    munmap(memory, WINDOW * page);
}

static void a_fill_ends_before_what_cannot_be_read(void **state)
{
    (void)state;
    holes_with(0);
    holes_with(UF_STORE_NO_URING);
}

/* ----------------------------------------- ends and errors inside a page -- */

/* A store of `end` bytes, read 100 at a time; there it says `at_end`. */
struct ending {
    uint64_t end;
    ssize_t at_end;
};

static ssize_t read_some(void *context, void *to, size_t len, uint64_t offset)
{
    const struct ending *e = context;

    if (offset >= e->end)
        return e->at_end;
    if (len > 100)
        len = 100;
    if (len > e->end - offset)
        len = e->end - offset;
    memset(to, 7, len);
    return (ssize_t)len;
}

static int no_size(void *context, uint64_t *ret_bytes)
{
    (void)context;
    (void)ret_bytes;
    return -EXDEV;
}

static void what_is_short_of_a_page(void **state)
{
    const size_t page = page_size();
    struct ending e = {0, 0};
    struct uf_store_ops ops = {
        .size = sizeof(ops), .read = read_some, .get_size = no_size};
    struct uf_store *store;
    struct uf_pager *pager;

    (void)state;
    assert_int_equal(uf_store_create(&ops, &e, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    assert_false(pager_runs_in_signals(pager));
    /* The end: the rest of its page is zeros. */
    e = (struct ending){2 * page + 5, 0};
    is_pages(fill(pager, 0, 8), 3);
    assert_int_equal(buffer[2 * page + 4], 7);
    for (size_t i = 2 * page + 5; i < 3 * page; i++)
        assert_int_equal(buffer[i], 0);
    assert_int_equal(buffer[3 * page], 0xee);
    assert_int_equal(fill(pager, 3, 8), -ENXIO);
    e.end = 2 * page;
    is_pages(fill(pager, 0, 8), 2);
    assert_int_equal(fill(pager, 2, 1), -ENXIO);
    /* An error: no part of its page is good. */
    e = (struct ending){2 * page + 5, -EREMOTEIO};
    is_pages(fill(pager, 0, 8), 2);
    assert_int_equal(fill(pager, 2, 8), -EREMOTEIO);
    assert_int_equal(fill(pager, 5, 1), -EREMOTEIO);
    /* Not now. */
    e = (struct ending){page, -EAGAIN};
    is_pages(fill(pager, 0, 2), 1);
    assert_int_equal(fill(pager, 1, 1), -EAGAIN);
    uf_pager_unref(pager);
    uf_store_unref(store);
}

/* ------------------------------------------------------------- at once -- */

static enum fill_verdict at_once(struct uf_pager *pager, size_t first)
{
    struct uf_fill request = {.size = sizeof(request),
                              .offset = first * page_size(),
                              .len_bytes = 2 * page_size(),
                              .buffer = buffer,
                              .page_bytes = page_size()};
    const char *why;
    size_t len;
    int err;

    memset(buffer, 0xee, request.len_bytes);
    return pager_fill_at_once(pager, &request, &len, &err, &why);
}

static enum fill_verdict store_at_once(struct uf_store *store)
{
    struct uf_pager *pager;
    enum fill_verdict verdict;

    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    verdict = at_once(pager, 0);
    uf_pager_unref(pager);
    uf_store_unref(store);
    return verdict;
}

static int all_zeros_end(void *context, uint64_t *ret_bytes)
{
    (void)context;
    *ret_bytes = 2 * page_size();
    return 0;
}

static ssize_t all_zeros(void *context, void *bytes, size_t len,
                         uint64_t offset)
{
    (void)context;
    (void)offset;
    memset(bytes, 0, len);
    return (ssize_t)len;
}

/* What may be anything, a function or memory that others page, is not asked. */
static void foreign_stores_are_not_asked_at_once(void **state)
{
    struct uf_store_ops ops = {
        .size = sizeof(ops), .read = all_zeros, .get_size = all_zeros_end};
    size_t len = 2 * page_size();
    struct uf_store *store;

    (void)state;
    assert_int_equal(uf_store_create(&ops, NULL, &store), 0);
    assert_int_equal(store_at_once(store), FILL_AGAIN);
    assert_int_equal(uf_store_memory(buffer + len, len, 0, &store), 0);
    assert_int_equal(store_at_once(store), FILL_AGAIN);
    assert_int_equal(uf_store_memory(NULL, len, 0, &store), 0);
    assert_int_equal(store_at_once(store), FILL_OK);
    assert_int_equal(buffer[0], 0);
}

/* Past the page cache there is nothing at hand. */
static void a_file_is_asked_for_what_is_cached(void **state)
{
    char path[] = "/tmp/ufault-at-once-XXXXXX";
    size_t len = 2 * page_size();
    struct uf_pager *pager;
    struct uf_store *store;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    unlink(path);
    memset(buffer, 7, len);
    assert_int_equal(write(fd, buffer, len), len);
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(uf_store_fd(fd, 0, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    is_pages(fill(pager, 0, 2), 2);
    assert_int_equal(at_once(pager, 0), FILL_OK);
    assert_int_equal(buffer[0], 7);
    assert_int_equal(buffer[len - 1], 7);
    assert_int_equal(at_once(pager, 2), FILL_FAILED);
    uf_pager_unref(pager);
    uf_store_unref(store);
    if (uf_store_fd(fd, UF_STORE_DIRECT, &store) == 0)
        assert_int_equal(store_at_once(store), FILL_AGAIN);
    close(fd);
}

/* ---------------------------------------------------------------- views -- */

static const unsigned char *view_of(struct uf_store *store, size_t first)
{
    struct uf_fill request = {.size = sizeof(request),
                              .offset = first * page_size(),
                              .len_bytes = page_size(),
                              .page_bytes = page_size()};
    const unsigned char *view;
    struct uf_pager *pager;

    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    view = pager->view(pager->context, &request);
    uf_pager_unref(pager);
    return view;
}

/* A file as memory: what is in the page cache, to its end, and not if the cache
 * is to be left alone. */
static void a_view_shows_what_is_cached(void **state)
{
    char path[] = "/tmp/ufault-view-XXXXXX";
    size_t len = page_size() + 100;
    const unsigned char *view;
    struct uf_store *store;
    struct rlimit limit;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    unlink(path);
    memset(buffer, 7, len);
    assert_int_equal(write(fd, buffer, len), len);
    assert_int_equal(uf_store_fd(fd, 0, &store), 0);
    view = view_of(store, 1);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    assert_true((view != NULL) == (limit.rlim_cur == RLIM_INFINITY));
    if (view) {
        assert_int_equal(view[99], 7);
        assert_int_equal(view[100], 0);
    }
    assert_null(view_of(store, 2));
    assert_null(view_of(store, SIZE_MAX / page_size() / 2));
    uf_store_unref(store);
    if (uf_store_fd(fd, UF_STORE_DIRECT, &store) == 0) {
        assert_null(view_of(store, 0));
        uf_store_unref(store);
    }
    close(fd);
    assert_int_equal(uf_store_memory(NULL, len, 0, &store), 0);
    assert_null(view_of(store, 0));
    uf_store_unref(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fill_ends_before_what_cannot_be_read),
        cmocka_unit_test(what_is_short_of_a_page),
        cmocka_unit_test(foreign_stores_are_not_asked_at_once),
        cmocka_unit_test(a_file_is_asked_for_what_is_cached),
        cmocka_unit_test(a_view_shows_what_is_cached),
    };

    return cmocka_run_group_tests_name("store pager", tests, make_buffer,
                                       drop_buffer);
}
