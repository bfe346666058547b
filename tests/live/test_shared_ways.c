/* SPDX-License-Identifier: MIT */
/*
 * Shared mappings of a store where something is different: a kernel that does not
 * tell what was written, an engine of several descriptors, a mapping that is too
 * long to be prepared, dirty tracking of the space, copies by ufault/copy.h,
 * children of other policies, children that make the cache longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault/engine.h"
#include "host/uffd_abi.h"
#include "host/uffd_signal.h"
#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/copy.h"
#include "ufault/dirty.h"
#include "ufault/mman.h"
#include "ufault/template.h"

#define RW     (PROT_READ | PROT_WRITE)
#define NPAGES 1024

struct world {
    int fd;
    struct uf_store *store;
    struct uf_pager *pager;
    struct uf_engine *engine;
    struct uf_space *space;
};

/* live_read's handlers come before those of a signal engine, which goes on to
 * them. */
static void be_ready(void)
{
    assert_int_equal(live_read((uintptr_t)&be_ready, NULL, NULL), 0);
}

/* An engine as on a kernel that has these features alone. */
static struct uf_engine *engine_with(uint64_t features, uint32_t ndescriptors)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .kind = live_engine_kind(),
                                  .ndescriptors = ndescriptors};
    bool signal = opts.kind == UF_ENGINE_SIGNAL;
    struct uffd uffds[4];
    struct uf_engine *engine;

    be_ready();
    features |= UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_POISON;
    if (signal)
        features |= UFFD_FEATURE_SIGBUS;
    for (uint32_t i = 0; i < ndescriptors; i++) {
        assert_int_equal(uffd_init(&uffds[i], UF_TIER_SYSCALL, features), 0);
        if (signal)
            assert_int_equal(uffd_signal_init(&uffds[i]), 0);
    }
    assert_int_equal(engine_create_on(&opts, uffds, &engine), 0);
    return engine;
}

static void begin(struct world *w, struct uf_engine *engine,
                  struct uf_space_opts opts)
{
    *w = (struct world){.fd = pages_file(NPAGES, 1), .engine = engine};
    assert_int_equal(uf_store_fd(w->fd, UF_STORE_WRITE, &w->store), 0);
    assert_int_equal(uf_pager_store(w->store, 0, &w->pager), 0);
    assert_int_equal(uf_pager_set_writeback(w->pager, 0), 0);
    opts.engine = engine;
    w->space = live_space(&opts, 0);
}

static void end(struct world *w)
{
    live_assert_law(w->space);
    assert_int_equal(uf_space_destroy(w->space), 0);
    assert_int_equal(uf_engine_destroy(w->engine), 0);
    uf_pager_unref(w->pager);
    assert_int_equal(uf_store_lost(w->store), 0);
    uf_store_unref(w->store);
    close(w->fd);
}

static uintptr_t map(struct world *w, size_t first, size_t npages)
{
    intptr_t at = uf_mmap_pager(w->space, 0, npages * page_size(), RW,
                                MAP_SHARED, w->pager, first * page_size());

    assert_true(at > 0);
    return (uintptr_t)at;
}

static unsigned char in_file(struct world *w, size_t page)
{
    unsigned char byte = 0;

    assert_int_equal(pread(w->fd, &byte, 1, (off_t)(page * page_size() + 100)),
                     1);
    return byte;
}

static volatile unsigned char *byte_at(uintptr_t start, size_t page)
{
    return (volatile unsigned char *)(start + page * page_size() + 100);
}

static uint64_t written(struct world *w)
{
    struct uf_writeback counts = {.size = sizeof(counts)};

    assert_int_equal(uf_pager_writeback(w->pager, &counts), 0);
    return counts.pages_written;
}

/* ------------------------------------------------------------------- kernels -- */

static void an_older_kernel_writes_what_is_there(void **state)
{
    static const uint64_t olds[] = {0, UFFD_FEATURE_PAGEFAULT_FLAG_WP};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        uintptr_t a;

        begin(&w, engine_with(olds[i], 1), (struct uf_space_opts){0});
        a = map(&w, 0, NPAGES);
        *byte_at(a, 3) = 33;
        assert_int_equal(uf_mprotect(w.space, a, 10 * page_size(), PROT_READ),
                         0);
        assert_int_equal(uf_pager_sync(w.pager), 0);
        assert_int_equal(in_file(&w, 3), 33);
        *byte_at(a, 900) = 90;
        *byte_at(a, 901) = 91;
        assert_int_equal(
            uf_msync(w.space, a + 900 * page_size(), page_size(), MS_SYNC), 0);
        assert_int_equal(in_file(&w, 900), 90);
        assert_int_not_equal(in_file(&w, 901), 91);
        assert_int_equal(ftruncate(w.fd, (off_t)(950 * page_size())), 0);
        assert_int_equal(live_read(a + 1000 * page_size(), NULL, NULL), SIGBUS);
        assert_int_equal(uf_munmap(w.space, a, NPAGES * page_size()), 0);
        assert_int_equal(in_file(&w, 901), 91);
        assert_int_equal(lseek(w.fd, 0, SEEK_END), 950 * page_size());
        end(&w);
    }
}

static void several_descriptors_serve_one_mapping(void **state)
{
    struct world w;
    uintptr_t a;

    (void)state;
    if (live_engine_kind() == UF_ENGINE_SIGNAL)
        skip();
    begin(&w,
          engine_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC |
                          UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                      4),
          (struct uf_space_opts){.len_bytes = (size_t)8 << 20});
    a = map(&w, 0, NPAGES); /* 4 MiB of 8 */
    assert_true(pages_are(a, NPAGES, 1, 0));
    for (size_t i = 0; i < NPAGES; i += 100)
        *byte_at(a, i) = (unsigned char)(i / 100 + 1);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(written(&w), 11);
    for (size_t i = 0; i < NPAGES; i += 100)
        assert_int_equal(in_file(&w, i), i / 100 + 1);
    end(&w);
}

static struct uf_engine *plain_engine(void)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .kind = live_engine_kind()};
    struct uf_engine *engine;

    be_ready();
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    return engine;
}

/* --------------------------------------------------------------------- sizes -- */

static void a_long_mapping_is_written_back(void **state)
{
    size_t npages = ((size_t)600 << 20) / page_size();
    struct world w;
    uintptr_t a, b;

    (void)state;
    begin(&w, plain_engine(),
          (struct uf_space_opts){.len_bytes = (size_t)2 << 30});
    assert_int_equal(ftruncate(w.fd, (off_t)(npages * page_size())), 0);
    a = map(&w, 0, npages);
    b = map(&w, 0, NPAGES);
    *byte_at(a, npages - 1) = 99;
    *byte_at(a, 0) = 98;
    *byte_at(b, 1000) = 97;
    assert_int_equal(*byte_at(a, 1000), 97);
    assert_true(pages_are(b + page_size(), 999, 1, 1));
    assert_int_equal(
        uf_madvise(w.space, a, npages * page_size(), MADV_DONTNEED), 0);
    assert_int_equal(uf_msync(w.space, a, npages * page_size(), MS_SYNC), 0);
    assert_int_equal(in_file(&w, npages - 1), 99);
    assert_int_equal(in_file(&w, 0), 98);
    assert_int_equal(in_file(&w, 1000), 97);
    end(&w);
}

/* The pager begins inside the store, and its mapping inside the pager. */
static void offsets_add_up(void **state)
{
    size_t page = page_size();
    struct world w;
    uintptr_t a;

    (void)state;
    begin(&w, plain_engine(), (struct uf_space_opts){0});
    uf_pager_unref(w.pager);
    assert_int_equal(uf_pager_store(w.store, 5 * page, &w.pager), 0);
    assert_int_equal(ftruncate(w.fd, (off_t)(40 * page + 10)), 0);
    a = map(&w, 7, 40);
    assert_true(pages_are(a, 28, 1, 12));
    *byte_at(a, 0) = 12;
    *(volatile unsigned char *)(a + 28 * page + 9) = 77;
    *byte_at(a, 28) = 40; /* behind the end */
    assert_int_equal(live_read(a + 29 * page, NULL, NULL), SIGBUS);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(in_file(&w, 12), 12);
    assert_int_equal(lseek(w.fd, 0, SEEK_END), 40 * page + 10);
    assert_int_equal(ftruncate(w.fd, (off_t)(3 * page)), 0); /* before it */
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(live_read(a, NULL, NULL), SIGBUS);
    end(&w);
}

/* ----------------------------------------------------------------- neighbours -- */

static void dirty_tracking_leaves_it_alone(void **state)
{
    struct uf_range ranges[64];
    struct world w;
    uintptr_t a;
    ssize_t n;

    (void)state;
    begin(&w, plain_engine(), (struct uf_space_opts){0});
    a = map(&w, 0, 50);
    *byte_at(a, 1) = 1;
    assert_int_equal(uf_dirty_start(w.space), 0);
    *byte_at(a, 2) = 2;
    *byte_at(a, 30) = 3;
    n = uf_dirty_collect(w.space, ranges, 64);
    assert_int_equal(n, 1); /* all of it counts as written */
    assert_int_equal(ranges[0].start, a);
    assert_int_equal(ranges[0].end, a + 50 * page_size());
    *byte_at(a, 40) = 4;
    assert_int_equal(uf_dirty_stop(w.space), 0);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(written(&w), 4);
    assert_int_equal(in_file(&w, 1), 1);
    assert_int_equal(in_file(&w, 2), 2);
    assert_int_equal(in_file(&w, 30), 3);
    assert_int_equal(in_file(&w, 40), 4);
    end(&w);
}

static void copies_reach_it(void **state)
{
    unsigned char bytes[5000], back[5000];
    struct world w;
    uintptr_t a, b;
    size_t done;

    (void)state;
    begin(&w, plain_engine(), (struct uf_space_opts){0});
    a = map(&w, 0, NPAGES);
    b = map(&w, 0, NPAGES);
    memset(bytes, 0x5a, sizeof(bytes));
    assert_int_equal(
        uf_copy_out(w.space, a + 5 * page_size(), bytes, sizeof(bytes), &done),
        0);
    assert_int_equal(done, sizeof(bytes));
    assert_int_equal(
        uf_copy_in(w.space, back, b + 5 * page_size(), sizeof(back), &done), 0);
    assert_memory_equal(bytes, back, sizeof(bytes));
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(in_file(&w, 5), 0x5a);
    assert_int_equal(in_file(&w, 6), 0x5a);
    assert_int_equal(ftruncate(w.fd, (off_t)page_size()), 0);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(
        uf_copy_in(w.space, back, b + 5 * page_size(), sizeof(back), &done),
        -EFAULT);
    end(&w);
}

static int see(void *data, const struct uf_vma_info *vma)
{
    *(uint32_t *)data = vma->flags;
    return 0;
}

static void it_is_shown_as_shared(void **state)
{
    static char text[8192];
    size_t kb = 32 * page_size() / 1024;
    char expected[64];
    uint32_t flags = 0;
    struct world w;

    (void)state;
    begin(&w, plain_engine(), (struct uf_space_opts){0});
    assert_true(pages_are(map(&w, 16, 32), 32, 1, 16));
    assert_int_equal(uf_space_walk(w.space, see, &flags), 0);
    assert_int_equal(flags & (UF_VMA_SHARED | UF_VMA_KERNEL), UF_VMA_SHARED);
    assert_true(uf_space_maps(w.space, text, sizeof(text)) > 0);
    snprintf(expected, sizeof(expected), " rw-s %08zx 00:00 0 ",
             16 * page_size());
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "[store]"));
    assert_true(uf_space_smaps(w.space, text, sizeof(text)) > 0);
    snprintf(expected, sizeof(expected), "\nRss: %19zu kB", kb);
    assert_non_null(strstr(text, expected));
    assert_true(uf_space_status(w.space, text, sizeof(text)) > 0);
    snprintf(expected, sizeof(expected), "\nRssShmem:\t%8zu kB", kb);
    assert_non_null(strstr(text, expected));
    end(&w);
}

/* It is another's memory, too: no image or template can have it. */
static void it_is_not_saved(void **state)
{
    struct uf_template *template;
    struct world w;

    (void)state;
    begin(&w, plain_engine(), (struct uf_space_opts){0});
    map(&w, 0, NPAGES);
    assert_int_equal(uf_template_create(w.space, &template), -EOPNOTSUPP);
    end(&w);
}

/* ------------------------------------------------------------------- children -- */

struct family {
    struct world *w;
    uintptr_t at;
};

static void child_has_it_not(void *arg)
{
    struct family *f = arg;

    NEED(live_read(f->at, NULL, NULL) == SIGSEGV);
    NEED(live_read(f->at + page_size(), NULL, NULL) == SIGSEGV);
}

static void other_children_have_it_not(void **state)
{
    static const enum uf_fork policies[] = {UF_FORK_DEFAULT, UF_FORK_NONE};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct family f = {&w, 0};

        begin(&w, plain_engine(), (struct uf_space_opts){.fork = policies[i]});
        f.at = map(&w, 0, NPAGES);
        *byte_at(f.at, 1) = 5;
        in_child(child_has_it_not, &f);
        assert_int_equal(*byte_at(f.at, 1), 5);
        end(&w);
    }
}

static void child_maps_more(void *arg)
{
    struct family *f = arg;

    NEED(*byte_at(f->at, 0) == 5);
    NEED(map(f->w, 0, 20) > 0); /* shorter than the parent's by now, or not */
    NEED(map(f->w, 0, 600) > 0);
}

static void the_cache_does_not_become_shorter(void **state)
{
    struct world w;
    struct family f = {&w, 0};
    uintptr_t b;

    (void)state;
    if (!ENGINES_FORK)
        skip();
    begin(&w, plain_engine(), (struct uf_space_opts){.fork = UF_FORK_ENGINE});
    f.at = map(&w, 0, 10);
    *byte_at(f.at, 0) = 5;
    in_child(child_maps_more, &f);
    b = map(&w, 0, 500); /* shorter than the child's */
    *byte_at(b, 499) = 6;
    in_child(child_maps_more, &f);
    assert_int_equal(uf_pager_sync(w.pager), 0);
    assert_int_equal(in_file(&w, 0), 5);
    assert_int_equal(in_file(&w, 499), 6);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_kernel_writes_what_is_there),
        cmocka_unit_test(several_descriptors_serve_one_mapping),
        cmocka_unit_test(a_long_mapping_is_written_back),
        cmocka_unit_test(offsets_add_up),
        cmocka_unit_test(it_is_shown_as_shared),
        cmocka_unit_test(dirty_tracking_leaves_it_alone),
        cmocka_unit_test(copies_reach_it),
        cmocka_unit_test(it_is_not_saved),
        cmocka_unit_test(other_children_have_it_not),
        cmocka_unit_test(the_cache_does_not_become_shorter),
    };
    int skipped = live_begin();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
