/* SPDX-License-Identifier: MIT */
/*
 * Shared mappings of a store: one memory for all mappings of a pager, in one
 * space, in others and in children; what is written reaches the file when it is
 * said, at unmapping, in the background, with the last reference, and in no other
 * page; the file does not grow, and what is cut off it is SIGBUS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/mman.h"

#define RW       (PROT_READ | PROT_WRITE)
#define NPAGES   100
#define NTHREADS 4

/* A file, the pager of a store of it, and a space. */
struct world {
    int fd;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_space *space;
    size_t fds, records;
};

static const uint32_t store_flags[] = {UF_STORE_WRITE,
                                       UF_STORE_WRITE | UF_STORE_NO_URING};

static void begin(struct world *w, uint32_t flags)
{
    struct uf_space_opts opts = {.fork = UF_FORK_ENGINE};

    *w = (struct world){.fds = live_count_fds(),
                        .records = slab_live_everywhere()};
    w->fd = pages_file(NPAGES, 1);
    assert_int_equal(uf_store_fd(w->fd, flags, &w->store), 0);
    assert_int_equal(uf_pager_store(w->store, 0, &w->pager), 0);
    assert_int_equal(uf_pager_set_writeback(w->pager, 0), 0);
    w->space = live_space(&opts, 0);
}

static uintptr_t map_in(struct world *w, struct uf_space *space, size_t first,
                        size_t npages, int prot)
{
    intptr_t at = uf_mmap_pager(space, 0, npages * page_size(), prot,
                                MAP_SHARED, w->pager, first * page_size());

    assert_true(at > 0);
    return (uintptr_t)at;
}

static uintptr_t map(struct world *w, size_t first, size_t npages)
{
    return map_in(w, w->space, first, npages, RW);
}

static void end(struct world *w)
{
    live_assert_law(w->space);
    assert_int_equal(uf_space_destroy(w->space), 0);
    uf_pager_unref(w->pager);
    assert_int_equal(uf_store_lost(w->store), 0);
    uf_store_unref(w->store);
    close(w->fd);
    assert_int_equal(live_count_fds(), w->fds);
    assert_int_equal(slab_live_everywhere(), w->records);
}

static unsigned char in_file(struct world *w, size_t at)
{
    unsigned char byte = 0;

    assert_int_equal(pread(w->fd, &byte, 1, (off_t)at), 1);
    return byte;
}

static struct uf_writeback counts(struct world *w)
{
    struct uf_writeback counts = {.size = sizeof(counts)};

    assert_int_equal(uf_pager_writeback(w->pager, &counts), 0);
    return counts;
}

static volatile unsigned char *byte_at(uintptr_t start, size_t page)
{
    return (volatile unsigned char *)(start + page * page_size() + 100);
}

static int sync_all(struct world *w, uintptr_t at)
{
    return uf_msync(w->space, at, page_size(), MS_SYNC);
}

/* ------------------------------------------------------------ one memory -- */

static void mappings_are_one_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct uf_space_opts opts = {0};
        struct uf_space *other;
        struct world w;
        uintptr_t a, b, c;

        begin(&w, store_flags[i]);
        other = live_space(&opts, 0);
        a = map(&w, 0, NPAGES);
        b = map(&w, 10, 50);
        c = map_in(&w, other, 20, 50, RW);
        assert_true(pages_are(c, 10, 1, 20));
        assert_true(pages_are(a, NPAGES, 1, 0));
        assert_true(pages_are(b, 50, 1, 10));
        *byte_at(a, 30) = 7;
        assert_int_equal(*byte_at(b, 20), 7);
        assert_int_equal(*byte_at(c, 10), 7);
        *byte_at(c, 10) = 8;
        assert_int_equal(*byte_at(a, 30), 8);
        assert_int_equal(*byte_at(b, 20), 8);
        assert_int_equal(uf_space_destroy(other), 0);
        assert_int_equal(in_file(&w, 30 * page_size() + 100), 8);
        end(&w);
    }
}

struct family {
    struct world *w;
    uintptr_t at;
};

static void child_reads_and_writes(void *arg)
{
    struct family *f = arg;
    struct world *w = f->w;

    NEED(*byte_at(f->at, 1) == 11);                    /* there */
    NEED(pages_are(f->at + 5 * page_size(), 5, 1, 5)); /* not there */
    *byte_at(f->at, 2) = 22;
    *byte_at(f->at, 50) = 23;
    NEED(uf_msync(w->space, f->at, NPAGES * page_size(), MS_SYNC) == 0);
}

static void a_child_has_the_same_memory(void **state)
{
    struct world w;
    struct family f = {&w, 0};

    (void)state;
    if (!ENGINES_FORK)
        skip();
    begin(&w, UF_STORE_WRITE);
    f.at = map(&w, 0, NPAGES);
    *byte_at(f.at, 1) = 11;
    in_child(child_reads_and_writes, &f);
    assert_int_equal(*byte_at(f.at, 2), 22);
    assert_int_equal(*byte_at(f.at, 50), 23);
    assert_int_equal(in_file(&w, 2 * page_size() + 100), 22);
    assert_int_equal(in_file(&w, 50 * page_size() + 100), 23);
    assert_int_equal(counts(&w).pages_written, 0);
    end(&w);
}

/* ------------------------------------------------------------ the file -- */

static void only_what_was_written_is_written_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        uintptr_t a, b;

        begin(&w, store_flags[i]);
        a = map(&w, 0, NPAGES);
        b = map(&w, 0, NPAGES);
        assert_true(pages_are(a, 40, 1, 0));
        assert_true(pages_are(b, 60, 1, 0)); /* 40 of them through the kernel */
        *byte_at(a, 3) = 33;
        *byte_at(b, 3) = 34;
        *byte_at(b, 77) = 35;
        assert_int_equal(sync_all(&w, a + 3 * page_size()), 0);
        assert_int_equal(in_file(&w, 3 * page_size() + 100), 34);
        assert_int_not_equal(in_file(&w, 77 * page_size() + 100), 35);
        assert_int_equal(counts(&w).pages_written, 1);
        assert_int_equal(uf_pager_sync(w.pager), 0);
        assert_int_equal(in_file(&w, 77 * page_size() + 100), 35);
        assert_int_equal(counts(&w).pages_written, 2);
        *byte_at(a, 3) = 36; /* once more */
        assert_int_equal(uf_msync(w.space, a, page_size(), MS_ASYNC), 0);
        assert_int_equal(uf_pager_sync(w.pager), 0);
        assert_int_equal(in_file(&w, 3 * page_size() + 100), 36);
        assert_int_equal(counts(&w).pages_written, 3);
        assert_int_equal(counts(&w).pages_dirty, 0);
        end(&w);
    }
}

/* All of a mapping of many pieces, at an offset. */
static void many_pages_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t page = page_size(), npages = 1300;
        char *bytes = malloc(npages * page);
        struct world w;
        uintptr_t a;

        begin(&w, store_flags[i]);
        assert_int_equal(ftruncate(w.fd, (off_t)(npages * page)), 0);
        a = map(&w, 0, npages);
        pages_write(a, npages, 5);
        assert_int_equal(uf_msync(w.space, a, npages * page, MS_SYNC), 0);
        assert_int_equal(pread(w.fd, bytes, npages * page, 0), npages * page);
        assert_memory_equal(bytes, (void *)a, npages * page);
        assert_true(pages_are((uintptr_t)bytes, npages, 5, 0));
        free(bytes);
        end(&w);
    }
}

static void unmapping_writes_back(void **state)
{
    size_t page = page_size();
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 0, NPAGES);
    *byte_at(a, 10) = 1;
    *byte_at(a, 20) = 2;
    *byte_at(a, 30) = 3;
    assert_int_equal(uf_munmap(w.space, a + 10 * page, page), 0);
    assert_int_equal(in_file(&w, 10 * page + 100), 1);
    assert_int_not_equal(in_file(&w, 20 * page + 100), 2);
    assert_int_equal(uf_mmap(w.space, a + 20 * page, page, RW,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     a + 20 * page);
    assert_int_equal(in_file(&w, 20 * page + 100), 2);
    assert_int_equal(uf_space_destroy(w.space), 0);
    assert_int_equal(in_file(&w, 30 * page + 100), 3);
    assert_int_equal(counts(&w).pages_written, 3);
    w.space = live_space(&(struct uf_space_opts){0}, 0);
    end(&w);
}

/* The space goes last, and its mapping has the last reference. */
static void the_last_reference_may_be_the_mappings(void **state)
{
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 0, NPAGES);
    uf_pager_unref(w.pager);
    w.pager = NULL;
    *byte_at(a, 99) = 9;
    assert_int_equal(uf_munmap(w.space, a, NPAGES * page_size()), 0);
    assert_int_equal(in_file(&w, 99 * page_size() + 100), 9);
    end(&w);
}

static void await_written(struct world *w, uint64_t pages)
{
    while (counts(w).pages_written < pages)
        usleep(1000);
}

static void it_happens_in_the_background(void **state)
{
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    assert_int_equal(uf_pager_set_writeback(w.pager, 20), 0);
    a = map(&w, 0, NPAGES);
    *byte_at(a, 1) = 1;
    await_written(&w, 1);
    assert_int_equal(in_file(&w, page_size() + 100), 1);
    *byte_at(a, 2) = 2;
    await_written(&w, 2);
    assert_int_equal(in_file(&w, 2 * page_size() + 100), 2);
    end(&w);
}

/* --------------------------------------------------------------- its end -- */

static void the_file_keeps_its_length(void **state)
{
    size_t page = page_size(), len = 10 * page + 1000;
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    assert_int_equal(ftruncate(w.fd, (off_t)len), 0);
    a = map(&w, 0, 20);
    *(char *)(a + len - 1) = 'x';
    *(char *)(a + len) = 'y';
    assert_int_equal(live_write(a + 11 * page, 1, NULL), SIGBUS);
    assert_int_equal(live_read(a + 19 * page, NULL, NULL), SIGBUS);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(lseek(w.fd, 0, SEEK_END), len);
    assert_int_equal(in_file(&w, len - 1), 'x');
    end(&w);
}

static void what_is_cut_off_is_sigbus(void **state)
{
    size_t page = page_size();
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 0, NPAGES);
    assert_true(pages_are(a, NPAGES, 1, 0));
    *byte_at(a, 4) = 4;
    *byte_at(a, 50) = 50;
    assert_int_equal(ftruncate(w.fd, (off_t)(5 * page + 10)), 0);
    assert_int_equal(sync_all(&w, a), 0);
    assert_int_equal(lseek(w.fd, 0, SEEK_END), 5 * page + 10);
    assert_int_equal(live_read(a + 50 * page, NULL, NULL), SIGBUS);
    assert_int_equal(live_write(a + 6 * page, 1, NULL), SIGBUS);
    assert_int_equal(*byte_at(a, 4), 4);
    assert_int_equal(*byte_at(a, 5), 0); /* behind the end */
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(in_file(&w, 4 * page + 100), 4);
    /* It grows again: what was refused is looked for again when it is dropped. */
    assert_int_equal(ftruncate(w.fd, (off_t)(NPAGES * page)), 0);
    assert_int_equal(uf_madvise(w.space, a, NPAGES * page, MADV_DONTNEED), 0);
    assert_true(pages_are_zero(a + 6 * page, NPAGES - 6));
    assert_int_equal(*byte_at(a, 4), 4);
    end(&w);
}

/* -------------------------------------------------------- the mmap family -- */

static void nothing_is_lost_by_advice_and_protection(void **state)
{
    static const int advices[] = {MADV_DONTNEED, MADV_COLD,   MADV_PAGEOUT,
                                  MADV_NORMAL,   MADV_RANDOM, MADV_WILLNEED};
    size_t page = page_size();
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 0, NPAGES);
    for (unsigned char i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        *byte_at(a, i) = (unsigned char)(i + 60);
        assert_int_equal(uf_madvise(w.space, a, 10 * page, advices[i]), 0);
        assert_int_equal(uf_mprotect(w.space, a, 10 * page, PROT_READ), 0);
        assert_int_equal(*byte_at(a, i), i + 60);
        assert_int_equal(uf_mprotect(w.space, a, 10 * page, PROT_NONE), 0);
        assert_int_equal(sync_all(&w, a + i * page), 0);
        assert_int_equal(in_file(&w, i * page + 100), i + 60);
        assert_int_equal(uf_mprotect(w.space, a, 10 * page, RW), 0);
    }
    assert_int_equal(counts(&w).pages_written,
                     sizeof(advices) / sizeof(advices[0]));
    end(&w);
}

static void it_moves_and_grows(void **state)
{
    size_t page = page_size();
    struct world w;
    uintptr_t a, b, c;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 10, 10);
    *byte_at(a, 0) = 91;
    *byte_at(a, 9) = 92;
    b = (uintptr_t)uf_mremap(w.space, a, 10 * page, 40 * page, MREMAP_MAYMOVE,
                             0);
    assert_true((intptr_t)b > 0);
    assert_int_equal(*byte_at(b, 0), 91);
    assert_int_equal(*byte_at(b, 9), 92);
    assert_true(pages_are(b + 10 * page, 30, 1, 20));
    *byte_at(b, 39) = 93;
    c = (uintptr_t)uf_mremap(w.space, b, 40 * page, 40 * page,
                             MREMAP_MAYMOVE | MREMAP_FIXED, b - 100 * page);
    assert_int_equal(c, b - 100 * page);
    assert_int_equal(*byte_at(c, 39), 93);
    assert_int_equal(live_read(b, NULL, NULL), SIGSEGV);
    a = (uintptr_t)uf_mremap(w.space, c, 0, 20 * page, MREMAP_MAYMOVE, 0);
    assert_true((intptr_t)a > 0);
    *byte_at(a, 1) = 94;
    assert_int_equal(*byte_at(c, 1), 94);
    assert_int_equal(uf_mremap(w.space, c, 40 * page, 5 * page, 0, 0), c);
    assert_int_equal(in_file(&w, 49 * page + 100), 93);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(in_file(&w, 10 * page + 100), 91);
    assert_int_equal(in_file(&w, 11 * page + 100), 94);
    assert_int_equal(in_file(&w, 19 * page + 100), 92);
    assert_int_equal(counts(&w).pages_written, 4);
    end(&w);
}

static void it_can_be_populated_and_locked(void **state)
{
    size_t page = page_size();
    unsigned char vec[NPAGES];
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    a = map(&w, 0, NPAGES);
    assert_int_equal(uf_madvise(w.space, a, 10 * page, MADV_POPULATE_READ), 0);
    assert_int_equal(uf_mlock(w.space, a + 10 * page, 10 * page), 0);
    assert_int_equal(uf_mincore(w.space, a, 20 * page, vec), 0);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(vec[i] & 1, 1);
    assert_true(pages_are(a, 20, 1, 0));
    assert_int_equal(uf_munlock(w.space, a, 20 * page), 0);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(counts(&w).pages_written, 0);
    end(&w);
}

/* ------------------------------------------------------- while it is written -- */

struct writer {
    pthread_t thread;
    atomic_bool *stop;
    uintptr_t at;
    size_t first;
    uint32_t rounds;
};

/* Each round writes its number into every fourth page. */
static void *write_rounds(void *arg)
{
    struct writer *w = arg;

    do {
        w->rounds++;
        for (size_t i = w->first; i < NPAGES; i += NTHREADS)
            *(volatile uint32_t *)(w->at + i * page_size()) = w->rounds;
    } while (!atomic_load(w->stop));
    return NULL;
}

static void what_was_written_before_is_in_the_file(void **state)
{
    struct writer writers[NTHREADS];
    atomic_bool stop = false;
    struct world w;
    uintptr_t a, b;

    (void)state;
    begin(&w, UF_STORE_WRITE);
    assert_int_equal(uf_pager_set_writeback(w.pager, 1), 0);
    a = map(&w, 0, NPAGES);
    b = map(&w, 0, NPAGES);
    for (size_t i = 0; i < NTHREADS; i++) {
        writers[i] =
            (struct writer){.stop = &stop, .at = i % 2 ? a : b, .first = i};
        pthread_create(&writers[i].thread, NULL, write_rounds, &writers[i]);
    }
    for (int i = 0; i < 50; i++)
        assert_int_equal(uf_msync(w.space, a, NPAGES * page_size(), MS_SYNC),
                         0);
    atomic_store(&stop, true);
    for (size_t i = 0; i < NTHREADS; i++)
        pthread_join(writers[i].thread, NULL);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    for (size_t i = 0; i < NPAGES; i++) {
        uint32_t in = 0;

        assert_int_equal(pread(w.fd, &in, sizeof(in), (off_t)(i * page_size())),
                         sizeof(in));
        assert_int_equal(in, writers[i % NTHREADS].rounds);
    }
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_are_one_memory),
        cmocka_unit_test(a_child_has_the_same_memory),
        cmocka_unit_test(only_what_was_written_is_written_back),
        cmocka_unit_test(many_pages_are_written),
        cmocka_unit_test(unmapping_writes_back),
        cmocka_unit_test(the_last_reference_may_be_the_mappings),
        cmocka_unit_test(it_happens_in_the_background),
        cmocka_unit_test(the_file_keeps_its_length),
        cmocka_unit_test(what_is_cut_off_is_sigbus),
        cmocka_unit_test(nothing_is_lost_by_advice_and_protection),
        cmocka_unit_test(it_moves_and_grows),
        cmocka_unit_test(it_can_be_populated_and_locked),
        cmocka_unit_test(what_was_written_before_is_in_the_file),
    };
    int skipped = live_begin();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
