/* SPDX-License-Identifier: MIT */
/*
 * Dirty tracking, on every way that the kernel may offer: exactly what was
 * written is reported when one thread writes, and nothing is lost when several
 * do. Checked against a copy that takes over what is reported, page by page.
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
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/ways.h"
#include "ufault/dirty.h"
#include "ufault/mman.h"
#include "ufault/store.h"

#define RW     (PROT_READ | PROT_WRITE)
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGES  1024
#define RANGES 2048

/* Which of the space's first npages are reported, `max` ranges at a time; how
 * many in all. */
static size_t collect(struct uf_space *space, bool *dirty, size_t npages,
                      size_t max)
{
    static struct uf_range ranges[RANGES];
    uintptr_t base = uf_space_base(space);
    size_t total = 0;
    ssize_t n;

    memset(dirty, 0, npages * sizeof(dirty[0]));
    do {
        uintptr_t above = 0;

        n = uf_dirty_collect(space, ranges, max);
        assert_in_range(n, 0, max);
        for (ssize_t i = 0; i < n; i++) {
            assert_true(ranges[i].start >= above);
            assert_true(ranges[i].start < ranges[i].end);
            above = ranges[i].end;
            for (uintptr_t at = ranges[i].start; at < above;
                 at += page_size()) {
                assert_false(dirty[(at - base) / page_size()]);
                dirty[(at - base) / page_size()] = true;
                total++;
            }
        }
    } while (n == (ssize_t)max);
    return total;
}

static enum uf_dirty_kind kind_of(enum way way)
{
    static const enum uf_dirty_kind kinds[] = {[WAY_ASYNC] = UF_DIRTY_ASYNC,
                                               [WAY_SYNC] = UF_DIRTY_SYNC,
                                               [WAY_COMPARE] =
                                                   UF_DIRTY_COMPARE};

    return kinds[way];
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

/* One thread reads and writes at random: what it wrote since the last time is
 * what is reported, with every window and any number of ranges a call. */
static void what_was_written_is_reported(void **state)
{
    static bool dirty[PAGES], written[PAGES];
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < (LIVE_SANITIZED ? 1 : 2) * ALL_WAYS * 3; i++) {
        const uint32_t windows[] = {1, 0, 64};
        struct uf_space_opts opts = {.window_pages = windows[i / ALL_WAYS % 3]};
        enum way way = (enum way)(i % ALL_WAYS);
        struct uf_space *space;

        if (!ways_are_here[way])
            continue;
        space = ways_space(way, &opts, PAGES);
        for (size_t n = 0; n < 100; n++)
            live_write(live_page(space, draw(&seed, PAGES)), 9, NULL);
        assert_int_equal(uf_dirty_kind(space), UF_DIRTY_OFF);
        assert_int_equal(uf_dirty_start(space), 0);
        assert_int_equal(uf_dirty_kind(space), kind_of(way));
        assert_int_equal(collect(space, dirty, PAGES, 1), 0);
        for (int round = 0; round < 6; round++) {
            size_t expected = 0;

            memset(written, 0, sizeof(written));
            for (size_t n = 0; n < 50u << round; n++) {
                size_t page = draw(&seed, PAGES);
                unsigned char byte;

                if (draw(&seed, 3) == 0) {
                    /* Not what it was: to compare finds no others. */
                    assert_int_equal(live_write(live_page(space, page),
                                                (unsigned char)(20 + round),
                                                NULL),
                                     0);
                    written[page] = true;
                } else {
                    assert_int_equal(
                        live_read(live_page(space, page), &byte, NULL), 0);
                }
            }
            for (size_t page = 0; page < PAGES; page++)
                expected += written[page];
            assert_int_equal(
                collect(space, dirty, PAGES, round % 2 ? RANGES : 3), expected);
            assert_memory_equal(dirty, written, sizeof(dirty));
        }
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 0);
        assert_int_equal(uf_dirty_stop(space), 0);
        assert_int_equal(live_write(live_page(space, 3), 1, NULL), 0);
        ways_end(space);
    }
}

struct writer {
    pthread_t thread;
    struct uf_space *space;
    uint64_t seed;
    atomic_bool *stop;
    bool failed;
};

static void *write_until_told(void *arg)
{
    struct writer *w = arg;

    for (uint64_t n = 1; !atomic_load(w->stop) && !w->failed; n++) {
        uintptr_t page = live_page(w->space, draw(&w->seed, PAGES));
        uintptr_t at = page + 8 * draw(&w->seed, 16);

        w->failed = live_write(at, (unsigned char)n, NULL) != 0;
    }
    return NULL;
}

/* While others write: the copy may be of any moment, and the next is told of
 * what it missed. */
__attribute__((no_sanitize("thread"))) static void copy_page(char *to,
                                                             uintptr_t from)
{
    volatile uint64_t *t = (uint64_t *)to;
    const volatile uint64_t *f = (const uint64_t *)from;

    for (size_t i = 0; i < page_size() / sizeof(*t); i++)
        t[i] = f[i];
}

/* Takes over what is reported. */
static void catch_up(struct uf_space *space, char *copy)
{
    static bool dirty[PAGES];

    collect(space, dirty, PAGES, 64);
    for (size_t i = 0; i < PAGES; i++)
        if (dirty[i])
            copy_page(copy + i * page_size(), live_page(space, i));
}

/* Writers go on while it is collected: whatever they have written is in the copy
 * in the end. */
static void no_write_is_lost(void **state)
{
    char *copy = malloc(PAGES * page_size());

    (void)state;
    for (int way = 0; way < ALL_WAYS; way++) {
        struct uf_space_opts opts = {.window_pages = 4};
        struct uf_space *space;
        struct writer writers[3];
        atomic_bool stop = false;

        if (!ways_are_here[way])
            continue;
        space = ways_space((enum way)way, &opts, PAGES);
        assert_int_equal(uf_dirty_start(space), 0);
        memset(copy, 0, PAGES * page_size());
        for (uint64_t i = 0; i < 3; i++) {
            writers[i] =
                (struct writer){.space = space, .seed = i, .stop = &stop};
            pthread_create(&writers[i].thread, NULL, write_until_told,
                           &writers[i]);
        }
        for (int i = 0; i < (LIVE_SANITIZED ? 40 : 200); i++)
            catch_up(space, copy);
        atomic_store(&stop, true);
        for (size_t i = 0; i < 3; i++) {
            pthread_join(writers[i].thread, NULL);
            assert_false(writers[i].failed);
        }
        catch_up(space, copy);
        assert_memory_equal(copy, (void *)live_page(space, 0),
                            PAGES * page_size());
        ways_end(space);
    }
    free(copy);
}

/* A call that changes what pages hold, or a write. */
static void change_something(struct uf_space *space, uint64_t *seed, int round)
{
    uintptr_t at = live_page(space, 16 * draw(seed, PAGES / 16)), to;
    const int advice[] = {MADV_DONTNEED, MADV_FREE};
    size_t len = 16 * page_size();

    switch (draw(seed, 6)) {
    case 0:
        assert_int_equal(uf_madvise(space, at, len, advice[draw(seed, 2)]), 0);
        break;
    case 1:
        assert_int_equal(uf_munmap(space, at, len), 0);
        assert_int_equal(uf_mmap(space, at, len, RW, ANON | MAP_FIXED, -1, 0),
                         at);
        break;
    case 2:
        to = live_page(space, 16 * draw(seed, PAGES / 16));
        if (to == at)
            break;
        assert_int_equal(
            uf_mremap(space, at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to),
            to);
        assert_int_equal(uf_mmap(space, at, len, RW, ANON | MAP_FIXED, -1, 0),
                         at);
        break;
    case 3:
        assert_int_equal(uf_mprotect(space, at, len, PROT_READ), 0);
        assert_int_equal(uf_mprotect(space, at, len, RW), 0);
        break;
    default:
        assert_int_equal(
            live_write(at + 16 * draw(seed, 256), (unsigned char)round, NULL),
            0);
        break;
    }
}

/* A space with a mapping of PAGES pages at its base, some of them written. */
static struct uf_space *mapped_space(enum way way)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = ways_space(way, &opts, 0);
    uintptr_t base = uf_space_base(space);

    assert_int_equal(
        uf_mmap(space, base, PAGES * page_size(), RW, ANON | MAP_FIXED, -1, 0),
        base);
    for (size_t i = 0; i < PAGES; i += 3)
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
    return space;
}

/* In turn with reads and writes: the copy stays right. */
static void calls_change_pages_too(void **state)
{
    char *copy = malloc(PAGES * page_size());
    static bool dirty[PAGES];
    uint64_t seed = 5;

    (void)state;
    for (int way = 0; way < ALL_WAYS; way++) {
        struct uf_space *space;

        if (!ways_are_here[way])
            continue;
        space = mapped_space((enum way)way);
        memcpy(copy, (void *)uf_space_base(space), PAGES * page_size());
        assert_int_equal(uf_dirty_start(space), 0);
        for (int round = 0; round < 400; round++) {
            change_something(space, &seed, round);
            if (round % 10 == 9)
                catch_up(space, copy);
        }
        catch_up(space, copy);
        assert_memory_equal(copy, (void *)uf_space_base(space),
                            PAGES * page_size());
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 0);
        ways_end(space);
    }
    free(copy);
}

/* What is dropped, or mapped where something was, and nothing else. */
static void only_what_a_call_concerned(void **state)
{
    size_t len = 16 * page_size();
    static bool dirty[PAGES];

    (void)state;
    for (int way = 0; way < ALL_WAYS; way++) {
        struct uf_space *space;
        uintptr_t base;

        if (!ways_are_here[way])
            continue;
        space = mapped_space((enum way)way);
        base = uf_space_base(space);
        assert_int_equal(uf_dirty_start(space), 0);
        assert_int_equal(uf_madvise(space, base, len, MADV_DONTNEED), 0);
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 16);
        assert_int_equal(uf_munmap(space, base, len), 0);
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 0);
        assert_int_equal(uf_mmap(space, base, len, RW, ANON | MAP_FIXED, -1, 0),
                         base);
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 16);
        assert_int_equal(live_write(base + len, 9, NULL), 0);
        assert_int_equal(uf_dirty_start(space), 0); /* anew */
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 0);
        ways_end(space);
    }
}

static ssize_t fill_pattern(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    return live_fill(r, r->len_bytes);
}

/* What a pager brings in is clean; what the kernel serves is always reported. */
static void pagers_and_files(void **state)
{
    static bool dirty[PAGES];

    (void)state;
    for (int way = 0; way < ALL_WAYS; way++) {
        struct uf_space_opts opts = {.window_pages = 8};
        struct live_pager p;
        struct uf_space *space;
        unsigned char byte = 0;
        intptr_t file;

        if (!ways_are_here[way])
            continue;
        live_pager_init(&p, fill_pattern, NULL);
        opts.heap_pager = p.pager;
        space = ways_space((enum way)way, &opts, 64);
        assert_int_equal(uf_dirty_start(space), 0);
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(live_read(live_page(space, i), &byte, NULL), 0);
        assert_int_equal(collect(space, dirty, PAGES, RANGES),
                         way == WAY_COMPARE ? 64 : 0); /* once */
        assert_int_equal(live_write(live_page(space, 20), 1, NULL), 0);
        assert_int_equal(collect(space, dirty, PAGES, RANGES), 1);
        assert_true(dirty[20]);
        file = uf_mmap(space, live_page(space, 128), 4 * page_size(), RW,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        assert_true(file > 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(collect(space, dirty, PAGES, 2), 4);
        ways_end(space);
        uf_pager_unref(p.pager);
    }
}

/* As one, in parts: several descriptors, and huge pages asked for. */
static void parts_and_huge_pages(void **state)
{
    static bool dirty[8192];
    struct uf_space_opts opts = {.flags = UF_SPACE_HUGE,
                                 .len_bytes = (size_t)32 << 20};
    struct uf_space *space;

    (void)state;
    if (!ways_are_here[WAY_ASYNC] || live_engine_kind() == UF_ENGINE_SIGNAL)
        return;
    opts.engine = ways_engine(WAY_ASYNC, 4);
    space = live_space(&opts, 8000);
    assert_int_equal(uf_dirty_start(space), 0);
    for (size_t i = 0; i < 8000; i += 160)
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
    assert_int_equal(collect(space, dirty, 8192, RANGES), 50);
    for (size_t i = 0; i < 8000; i++)
        assert_int_equal(dirty[i], i % 160 == 0);
    ways_end(space);
}

/* A forked child has the memory, and nobody who tracks it. */
static void a_child_does_not_track(void **state)
{
    struct uf_space_opts opts = {0};
    static bool dirty[PAGES];
    struct uf_space *space;
    int status = 0;
    pid_t child;

    (void)state;
    if (!ways_are_here[WAY_ASYNC])
        return;
    space = ways_space(WAY_ASYNC, &opts, 16);
    assert_int_equal(uf_dirty_start(space), 0);
    assert_int_equal(live_write(live_page(space, 2), 5, NULL), 0);
    child = fork();
    if (child == 0) {
        *(volatile char *)live_page(space, 3) = 1;
        _exit(uf_dirty_kind(space) == UF_DIRTY_OFF ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(collect(space, dirty, PAGES, RANGES), 1);
    assert_true(dirty[2]);
    ways_end(space);
}

/* Its copies are not in the child, where other memory takes their place. */
static void a_child_of_one_that_compares(void **state)
{
    struct uf_space_opts opts = {.fork = UF_FORK_ENGINE};
    size_t len = 256 * page_size();
    struct uf_space *space;
    struct uf_pager *pager;
    struct uf_store *store;
    int status = 0;
    intptr_t at;
    pid_t child;

    (void)state;
    if (!ways_are_here[WAY_COMPARE] || LIVE_SANITIZED)
        skip();
    space = ways_space(WAY_COMPARE, &opts, 16);
    assert_int_equal(uf_store_memory(NULL, len, 0, &store), 0);
    assert_int_equal(uf_pager_store(store, 0, &pager), 0);
    at = uf_mmap_pager(space, 0, len, PROT_READ, MAP_PRIVATE, pager, 0);
    assert_true(at > 0);
    assert_int_equal(live_read((uintptr_t)at, NULL, NULL), 0);
    assert_int_equal(uf_dirty_start(space), 0);
    child = fork();
    if (child == 0) {
        for (size_t i = 0; i < len; i += page_size())
            (void)*(volatile char *)((uintptr_t)at + i);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    uf_pager_unref(pager);
    uf_store_unref(store);
    ways_end(space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_reported),
        cmocka_unit_test(no_write_is_lost),
        cmocka_unit_test(calls_change_pages_too),
        cmocka_unit_test(only_what_a_call_concerned),
        cmocka_unit_test(pagers_and_files),
        cmocka_unit_test(parts_and_huge_pages),
        cmocka_unit_test(a_child_does_not_track),
        cmocka_unit_test(a_child_of_one_that_compares),
    };
    int skipped = live_begin();

    if (!skipped)
        skipped = ways_begin();
    return skipped ? skipped
                   : cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
