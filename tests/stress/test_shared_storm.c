/* SPDX-License-Identifier: MIT */
/*
 * Threads that map, move, advise, sync and unmap parts of one file at once, each
 * writing into pages of its own through whatever mapping it has just made, while
 * the background writes back. In the end each page of the file has what was
 * written there last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "ufault/mman.h"

#define RW       (PROT_READ | PROT_WRITE)
#define NTHREADS 4
#define OWN      16 /* pages of a thread */
#define NPAGES   (NTHREADS * OWN)
#define ROUNDS   (LIVE_SANITIZED ? 150 : 600)

struct storm {
    struct uf_space *spaces[2];
    struct uf_pager *pager;
};

struct worker {
    pthread_t thread;
    struct storm *storm;
    unsigned number, rng;
    uint32_t last[OWN]; /* written into each page */
    const char *wrong;
};

static unsigned pick(struct worker *w, unsigned below)
{
    w->rng = w->rng * 1664525u + 1013904223u;
    return (w->rng >> 8) % below;
}

static volatile uint32_t *word(uintptr_t at, unsigned page)
{
    return (volatile uint32_t *)(at + page * page_size());
}

/* One mapping's life, of all of the file. */
static const char *one_round(struct worker *w, uint32_t round)
{
    struct uf_space *space = w->storm->spaces[pick(w, 2)];
    size_t len = NPAGES * page_size();
    intptr_t at =
        uf_mmap_pager(space, 0, len, RW, MAP_SHARED, w->storm->pager, 0);
    unsigned first = w->number * OWN;

    if (at < 0)
        return "uf_mmap_pager";
    for (unsigned i = 0; i < 6; i++) {
        unsigned page = pick(w, OWN);

        if (*word((uintptr_t)at, first + page) != w->last[page])
            return "a page is not what was written last";
        w->last[page] = round * 8 + i + 1;
        *word((uintptr_t)at, first + page) = w->last[page];
        switch (pick(w, 8)) {
        case 0:
            at = uf_mremap(space, (uintptr_t)at, len, len + page_size(),
                           MREMAP_MAYMOVE, 0);
            if (at < 0 || uf_munmap(space, (uintptr_t)at + len, page_size()))
                return "uf_mremap";
            break;
        case 1:
            if (uf_madvise(space, (uintptr_t)at, len, MADV_DONTNEED))
                return "uf_madvise";
            break;
        case 2:
            if (uf_msync(space, (uintptr_t)at, len, MS_SYNC))
                return "uf_msync";
            break;
        case 3:
            if (uf_mprotect(space, (uintptr_t)at, len, PROT_READ) ||
                uf_mprotect(space, (uintptr_t)at, len, RW))
                return "uf_mprotect";
            break;
        default:
            break;
        }
    }
    return uf_munmap(space, (uintptr_t)at, len) == 0 ? NULL : "uf_munmap";
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (uint32_t round = 0; round < ROUNDS && !w->wrong; round++)
        w->wrong = one_round(w, round);
    return NULL;
}

static void every_page_has_what_was_written_last(void **state)
{
    struct uf_space_opts opts = {.len_bytes = (size_t)64 << 20};
    struct worker workers[NTHREADS] = {{0}};
    char path[] = "/tmp/ufault-shared-storm-XXXXXX";
    struct uf_store *store;
    struct storm storm;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(ftruncate(fd, (off_t)(NPAGES * page_size())), 0);
    assert_int_equal(uf_store_fd(fd, UF_STORE_WRITE, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &storm.pager), 0);
    assert_int_equal(uf_pager_set_writeback(storm.pager, 1), 0);
    storm.spaces[0] = live_space(&opts, 0);
    storm.spaces[1] = live_space(&opts, 0);
    for (unsigned i = 0; i < NTHREADS; i++) {
        workers[i].storm = &storm;
        workers[i].number = i;
        workers[i].rng = i * 77777u + 1;
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < NTHREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < NTHREADS; i++)
        if (workers[i].wrong)
            fail_msg("thread %u: %s", i, workers[i].wrong);
    for (unsigned i = 0; i < NPAGES; i++) {
        uint32_t in = 0;

        assert_int_equal(pread(fd, &in, sizeof(in), (off_t)(i * page_size())),
                         sizeof(in));
        if (in != workers[i / OWN].last[i % OWN])
            fail_msg("page %u: %u in the file, and %u was written", i, in,
                     workers[i / OWN].last[i % OWN]);
    }
    live_assert_law(storm.spaces[0]);
    live_assert_law(storm.spaces[1]);
    assert_int_equal(uf_space_destroy(storm.spaces[0]), 0);
    assert_int_equal(uf_space_destroy(storm.spaces[1]), 0);
    uf_pager_unref(storm.pager);
    assert_int_equal(uf_store_lost(store), 0);
    uf_store_unref(store);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_has_what_was_written_last),
    };
    int skipped = live_begin();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
