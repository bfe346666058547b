/* SPDX-License-Identifier: MIT */
/*
 * No memory, of ours or of the host's: each call that changes a map is made
 * with its 1st, 2nd, 3rd ... allocation failing, then with its 1st, 2nd ...
 * system call failing, until it needs no more. When it answers an error nothing
 * has changed: mappings, gauges, residency, every byte. When it answers success
 * all is as without the failure, but for who the host keeps the memory for.
 *
 *     layout, page:  10        18      22      26        34    38
 *                    [rw, tagged)[r    )[locked )[pager    ) [file)
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

#include "base/slab.h"
#include "lib/hostcalls.h"
#include "lib/sides.h"
#include "mm/advice.h"

#define RW     (PROT_READ | PROT_WRITE)
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define NPAGES 64
#define FIXED  (MREMAP_MAYMOVE | MREMAP_FIXED)

static struct live_pager told;
static int file;
static bool verbose; /* UFAULT_VERBOSE */

/* ----------------------------------------------------------------- layout --
 */

static uintptr_t map(struct uf_space *space, size_t first, size_t npages,
                     int prot, int flags, int fd)
{
    uintptr_t p = live_page(space, first);

    assert_int_equal(
        uf_mmap(space, p, npages * page_size(), prot, flags | MAP_FIXED, fd, 0),
        p);
    return p;
}

static struct uf_space *make(void)
{
    struct uf_space_opts opts = {.len_bytes = NPAGES * page_size(),
                                 .window_pages = 1,
                                 .fork = UF_FORK_ENGINE};
    struct uf_space *space = live_space(&opts, 2);
    size_t page = page_size();
    uintptr_t p;

    pages_write(live_page(space, 0), 1, 1);
    pages_write(map(space, 10, 8, RW, ANON, -1), 6, 2);
    assert_true(pages_are_zero(map(space, 18, 4, PROT_READ, ANON, -1), 2));
    pages_write(map(space, 22, 4, RW, ANON, -1), 4, 3);
    assert_int_equal(uf_mlock(space, live_page(space, 22), 4 * page), 0);
    p = live_page(space, 26);
    assert_int_equal(uf_mmap_pager(space, p, 8 * page, RW,
                                   MAP_PRIVATE | MAP_FIXED, told.pager,
                                   100 * page),
                     p);
    assert_int_equal(live_read(p + 3 * page, NULL, NULL), 0);
    pages_write(p + 5 * page, 1, 4);
    p = map(space, 38, 4, RW, MAP_PRIVATE, file);
    pages_write(p + page, 1, 5);
    return space;
}

/* ------------------------------------------------------------------- look --
 */

struct look {
    size_t nvmas;
    struct uf_vma_info vmas[32];
    unsigned char resident[NPAGES];
    struct uf_stats stats;
    uint64_t bytes[NPAGES]; /* a sum of each page; 1: SIGSEGV, 2: SIGBUS */
    uintptr_t base;
};

static int note_vma(void *data, const struct uf_vma_info *v)
{
    struct look *look = data;
    struct uf_vma_info *note = &look->vmas[look->nvmas++];

    *note = *v;
    note->start -= look->base;
    note->end -= look->base;
    note->pager = NULL; /* valid during the call only */
    return look->nvmas == 32;
}

static uint64_t sum_of(uintptr_t p)
{
    uint64_t sum = 3;
    unsigned char byte;
    int signo = live_read(p, &byte, NULL);

    if (signo != 0)
        return signo == SIGSEGV ? 1 : 2;
    for (size_t i = 0; i < page_size() / 8; i++)
        sum = sum * 31 + ((const volatile uint64_t *)p)[i];
    return sum | 4;
}

static void look_at(struct uf_space *space, struct look *look)
{
    memset(look, 0, sizeof(*look));
    look->base = uf_space_base(space);
    assert_int_equal(uf_space_walk(space, note_vma, look), 0);
    look->stats = live_stats(space);
    for (size_t i = 0; i < NPAGES; i++)
        if (uf_mincore(space, live_page(space, i), page_size(),
                       &look->resident[i]) != 0)
            look->resident[i] = 2;
    for (size_t i = 0; i < NPAGES; i++)
        look->bytes[i] = sum_of(live_page(space, i));
}

/* `populated`: not all that should be resident need be, as it is for the first
 * touch to bring in what a call could not. */
static void assert_same(const struct look *a, const struct look *b,
                        bool populated)
{
    assert_int_equal(a->nvmas, b->nvmas);
    assert_memory_equal(a->vmas, b->vmas, sizeof(a->vmas));
    if (!populated) {
        assert_memory_equal(a->resident, b->resident, sizeof(a->resident));
        assert_int_equal(a->stats.resident, b->stats.resident);
    }
    assert_memory_equal(a->bytes, b->bytes, sizeof(a->bytes));
    assert_int_equal(a->stats.total_vm, b->stats.total_vm);
    assert_int_equal(a->stats.data_vm, b->stats.data_vm);
    assert_int_equal(a->stats.exec_vm, b->stats.exec_vm);
    assert_int_equal(a->stats.locked_vm, b->stats.locked_vm);
    assert_int_equal(a->stats.map_count, b->stats.map_count);
    assert_int_equal(a->stats.brk - a->base, b->stats.brk - b->base);
}

/* ------------------------------------------------------------------ calls --
 */

struct call {
    const char *name;
    enum {
        MMAP,
        MMAP_SHARED,
        MMAP_FILE,
        MUNMAP,
        MPROTECT,
        MREMAP,
        MADVISE,
        MLOCK,
        MUNLOCK,
        SBRK
    } what;
    size_t first, npages;
    size_t arg; /* prot, advice, new length in pages */
    size_t to;  /* mremap: 0 is anywhere */
};

static const struct call calls[] = {
    {"map free pages", MMAP, 50, 6, RW, 0},
    {"map locked pages", MMAP, 50, 6, RW, 1},
    {"map over", MMAP, 12, 2, PROT_READ, 0},
    {"map over a pager", MMAP, 28, 4, RW, 0},
    {"map over locked", MMAP, 23, 2, RW, 0},
    {"map shared", MMAP_SHARED, 50, 4, RW, 0},
    {"map a file", MMAP_FILE, 50, 4, RW, 0},
    {"unmap the middle", MUNMAP, 12, 3, 0, 0},
    {"unmap locked", MUNMAP, 23, 2, 0, 0},
    {"unmap a pager's", MUNMAP, 28, 4, 0, 0},
    {"unmap a file", MUNMAP, 39, 2, 0, 0},
    {"unmap all", MUNMAP, 0, NPAGES, 0, 0},
    {"close the middle", MPROTECT, 12, 3, PROT_NONE, 0},
    {"open", MPROTECT, 19, 2, RW, 0},
    {"read only, a pager's", MPROTECT, 28, 4, PROT_READ, 0},
    {"grow a file", MREMAP, 38, 4, 6, 0},
    {"grow a pager's", MREMAP, 26, 8, 10, 0},
    {"shrink", MREMAP, 10, 8, 4, 0},
    {"move", MREMAP, 10, 8, 8, 50},
    {"move a part", MREMAP, 12, 3, 3, 50},
    {"move a pager's", MREMAP, 26, 8, 8, 50},
    {"move and grow", MREMAP, 12, 4, 8, 50},
    {"move locked", MREMAP, 22, 4, 4, 50},
    {"move and grow locked", MREMAP, 22, 4, 6, 50},
    {"move a file", MREMAP, 38, 4, 4, 50},
    {"move and grow a file", MREMAP, 38, 4, 8, 50},
    {"drop", MADVISE, 11, 4, MADV_DONTNEED, 0},
    {"flag", MADVISE, 12, 2, MADV_DONTFORK, 0},
    {"flag here", MADVISE, 12, 2, MADV_RANDOM, 0},
    {"lock", MLOCK, 12, 3, 0, 0},
    {"unlock", MUNLOCK, 23, 2, 0, 0},
    {"raise the break", SBRK, 0, 4, 0, 0},
};

static intptr_t make_call(struct uf_space *space, const struct call *c)
{
    uintptr_t p = live_page(space, c->first);
    size_t len = c->npages * page_size();
    int locked = c->to ? MAP_LOCKED : 0, arg = (int)c->arg;

    switch (c->what) {
    case MMAP:
        return uf_mmap(space, p, len, arg, ANON | MAP_FIXED | locked, -1, 0);
    case MMAP_SHARED:
        return uf_mmap(space, p, len, arg,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    case MMAP_FILE:
        return uf_mmap(space, p, len, arg, MAP_SHARED | MAP_FIXED, file, 0);
    case MUNMAP:
        return uf_munmap(space, p, len);
    case MPROTECT:
        return uf_mprotect(space, p, len, arg);
    case MREMAP:
        return uf_mremap(space, p, len, c->arg * page_size(), c->to ? FIXED : 0,
                         live_page(space, c->to));
    case MADVISE:
        return uf_madvise(space, p, len, arg);
    case MLOCK:
        return uf_mlock2(space, p, len, UF_MLOCK_ONFAULT);
    case MUNLOCK:
        return uf_munlock(space, p, len);
    case SBRK:
        return uf_sbrk(space, (intptr_t)len);
    }
    return -ENOSYS;
}

/* The way to fail: which, and when. */
static void arm(int way, unsigned n)
{
    if (way == 0)
        slab_inject_failure(n, 1);
    else if (way == 1)
        host_fail(HOST_ANY, n, ENOMEM);
    else
        host_fail_half_way(HOST_MPROTECT, n, ENOMEM);
}

static bool disarm(int way, unsigned n)
{
    bool failed;

    if (way != 0)
        return host_fail_end() == 1;
    failed = slab_allocations() >= n;
    slab_inject_failure(0, 0);
    return failed;
}

/* All of it can be unmapped, mapped again, is new, and is served by us. */
static void end(struct uf_space *space)
{
    uintptr_t base = live_page(space, 0);
    uint64_t faults;

    assert_int_equal(uf_munmap(space, base, NPAGES * page_size()), 0);
    assert_int_equal(live_stats(space).resident, 0);
    map(space, 0, NPAGES, RW, ANON, -1);
    faults = live_stats(space).faults;
    assert_true(pages_are_zero(base, NPAGES));
    assert_int_equal(live_stats(space).faults, faults + NPAGES);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* Fails each in turn. Returns how many failures the call answered. */
static unsigned fail_each(const struct call *c, int way,
                          const struct look *before, const struct look *after)
{
    unsigned answered = 0;

    for (unsigned n = 1; n < 60; n++) {
        struct uf_space *space = make();
        struct look now;
        intptr_t answer;
        bool failed;

        arm(way, n);
        answer = make_call(space, c);
        failed = disarm(way, n);
        if (answer < 0 && answer > -4096 && answer != -ENOMEM &&
            answer != -EAGAIN)
            fail_msg("%s, way %d, failure %u: %ld", c->name, way, n,
                     (long)answer);
        answered += answer < 0;
        look_at(space, &now);
        if (verbose)
            print_message("%s, way %d, failure %u: %ld\n", c->name, way, n,
                          (long)answer);
        assert_same(&now, answer < 0 ? before : after,
                    answer > 0 &&
                        after->stats.locked_vm > before->stats.locked_vm);
        end(space);
        if (!failed)
            return answered;
    }
    fail_msg("%s: no end", c->name);
    return 0;
}

static void each_call_with_each_failure(void **state)
{
    struct look before, after;
    unsigned answered[3] = {0};
    size_t records;

    (void)state;
    verbose = getenv("UFAULT_VERBOSE") != NULL;
    live_pager_init(&told, NULL, NULL);
    file = pages_file(16, 9);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct uf_space *space = make();

        look_at(space, &before);
        end(space);
        space = make();
        records = slab_live_everywhere();
        if (make_call(space, &calls[i]) < 0)
            fail_msg("%s", calls[i].name);
        look_at(space, &after);
        assert_true(slab_live_everywhere() <= records + 16);
        end(space);
        for (int way = 0; way < 3; way++)
            answered[way] += fail_each(&calls[i], way, &before, &after);
    }
    /* It did fail. */
    assert_true(answered[0] > 10 && answered[1] > 30 && answered[2] > 10);
    close(file);
    assert_int_equal(atomic_load(&told.released), 0);
    uf_pager_unref(told.pager);
    assert_int_equal(atomic_load(&told.released), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_with_each_failure),
    };
    int skipped;

    host_calls_begin();
    skipped = live_begin();
    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("no memory for a map", tests, NULL,
                                       NULL);
}
