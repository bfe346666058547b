/* SPDX-License-Identifier: MIT */
/*
 * Accounting: after each step of a random workload on every kind of memory the
 * gauges are what a walk over the mappings counts, with the kernel's arithmetic
 * (mm/internal.h: is_data_mapping and its like); peaks are the most ever seen;
 * resident is what mincore(2) says; and no limit is ever passed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fake_script.h"
#include "lib/sides.h"

#define RW     (PROT_READ | PROT_WRITE)
#define NPAGES 2048

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static uint64_t seed;
static int file;

static size_t below(size_t n)
{
    return (size_t)(fake_random(&seed) % n);
}

/* ---------------------------------------------------------------- recount --
 */

struct count {
    struct uf_space *space;
    uint64_t total, data, exec, stack, shared, locked, maps;
    uint64_t resident; /* of what the engine serves */
};

static int count_one(void *data, const struct uf_vma_info *v)
{
    struct count *c = data;
    uint64_t npages = (v->end - v->start) / page_size();
    bool shared = (v->flags & UF_VMA_SHARED) != 0;
    bool stack = (v->flags & UF_VMA_GROWSDOWN) != 0;

    c->maps++;
    c->total += npages;
    if (stack)
        c->stack += npages;
    if ((v->prot & PROT_WRITE) && !shared && !stack)
        c->data += npages;
    if ((v->prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC && !stack)
        c->exec += npages;
    if (shared)
        c->shared += npages;
    if (v->flags & UF_VMA_LOCKED)
        c->locked += npages;
    if (!(v->flags & UF_VMA_KERNEL))
        c->resident += live_mincore(v->start, v->end);
    return 0;
}

static struct count recount(struct uf_space *space)
{
    struct count c = {.space = space};

    assert_int_equal(uf_space_walk(space, count_one, &c), 0);
    return c;
}

/* The most that was seen after a step. Within one it may have been more. */
struct peaks {
    uint64_t total, data, locked, maps, resident;
};

static void note_peak(uint64_t *peak, uint64_t now)
{
    if (*peak < now)
        *peak = now;
}

static void compare(struct uf_space *space, struct peaks *peaks)
{
    struct count c = recount(space);
    struct uf_stats s = live_stats(space);

    assert_int_equal(s.total_vm, c.total);
    assert_int_equal(s.data_vm, c.data);
    assert_int_equal(s.exec_vm, c.exec);
    assert_int_equal(s.stack_vm, c.stack);
    assert_int_equal(s.shared_vm, c.shared);
    assert_int_equal(s.locked_vm, c.locked);
    assert_int_equal(s.map_count, c.maps);
    assert_int_equal(s.resident, c.resident);
    note_peak(&peaks->total, c.total);
    note_peak(&peaks->data, c.data);
    note_peak(&peaks->locked, c.locked);
    note_peak(&peaks->maps, c.maps);
    note_peak(&peaks->resident, c.resident);
    assert_true(s.total_vm_peak >= peaks->total);
    assert_true(s.data_vm_peak >= peaks->data);
    assert_true(s.locked_vm_peak >= peaks->locked);
    assert_true(s.map_count_peak >= peaks->maps);
    assert_true(s.resident_peak >= peaks->resident);
}

/* ---------------------------------------------------------------- workload --
 */

static struct range some_range(const struct uf_space *space, size_t longest)
{
    /* Few places, so that things meet. */
    size_t len = 1 + below(longest), first = 600 + 7 * below(60);

    return (struct range){live_page(space, first),
                          live_page(space, first + len)};
}

static int some_flags(void)
{
    static const int kinds[] = {
        MAP_PRIVATE | MAP_ANONYMOUS,
        MAP_PRIVATE | MAP_ANONYMOUS,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN,
        MAP_SHARED | MAP_ANONYMOUS,
        MAP_PRIVATE,
        MAP_SHARED,
    };

    return kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
}

static intptr_t map_some(struct uf_space *space, struct range r)
{
    int flags = some_flags(), prot = (int)below(8);
    int fd = (flags & MAP_ANONYMOUS) ? -1 : file;

    if (below(4))
        flags |= MAP_FIXED;
    return uf_mmap(space, r.start, range_len(r), prot, flags, fd, 0);
}

static intptr_t remap_some(struct uf_space *space, struct range r)
{
    static const int flags[] = {
        0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED,
        MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP};
    int how = flags[below(4)];
    size_t len =
        (how & MREMAP_DONTUNMAP) ? range_len(r) : page_size() * (1 + below(20));

    return uf_mremap(space, r.start, range_len(r), len, how,
                     some_range(space, 1).start);
}

static intptr_t step(struct uf_space *space)
{
    struct range r = some_range(space, 20);
    size_t len = range_len(r);

    switch (below(11)) {
    case 0:
    case 1:
    case 2:
        return map_some(space, r);
    case 3:
        return uf_munmap(space, r.start, len);
    case 4:
        return uf_mprotect(space, r.start, len, (int)below(8));
    case 5:
        return uf_mlock2(space, r.start, len, below(2) ? UF_MLOCK_ONFAULT : 0);
    case 6:
        return uf_munlock(space, r.start, len);
    case 7:
        return remap_some(space, r);
    case 8:
        return uf_madvise(space, r.start, len,
                          below(3) ? MADV_DONTNEED : MADV_RANDOM);
    case 9:
        return uf_sbrk(space, ((intptr_t)below(40) - 20) * 1000);
    default:
        for (uintptr_t at = r.end; at > r.start; at -= page_size())
            live_write(at - 1, 1, NULL);
        return 0;
    }
}

static struct uf_space *make(void)
{
    struct uf_space_opts opts = {.len_bytes = NPAGES * page_size(),
                                 .window_pages = 4};

    seed = fake_env("UFAULT_ACCOUNTING_SEED", 1);
    file = pages_file(20, 1);
    return live_space(&opts, 0);
}

static void unmake(struct uf_space *space)
{
    close(file);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void gauges_are_what_a_walk_counts(void **state)
{
    size_t nsteps = (size_t)fake_env("UFAULT_ACCOUNTING_STEPS", 3000);
    struct uf_space *space = make();
    struct peaks peaks = {0};

    (void)state;
    for (size_t n = 0; n < nsteps; n++) {
        step(space);
        compare(space, &peaks);
    }
    assert_int_equal(uf_munmap(space, live_page(space, 0), uf_space_len(space)),
                     0);
    compare(space, &peaks);
    assert_int_equal(live_stats(space).total_vm, 0);
    unmake(space);
}

/* ------------------------------------------------------------------ limits --
 */

#define LIMIT_AS      120
#define LIMIT_MEMLOCK 25
#define LIMIT_MAPS    16
#define LIMIT_STACK   30

static int assert_within_stack_limit(void *data, const struct uf_vma_info *v)
{
    (void)data;
    /* It may be mapped longer; it may not grow. Mapped are at most 20, and a
     * mapping of the kind below may be merged with. */
    if (v->flags & UF_VMA_GROWSDOWN)
        assert_in_range((v->end - v->start) / page_size(), 1, LIMIT_STACK + 20);
    return 0;
}

static void no_limit_is_ever_passed(void **state)
{
    size_t nsteps = (size_t)fake_env("UFAULT_ACCOUNTING_STEPS", 3000);
    struct uf_space *space = make();
    size_t page = page_size(), nomem = 0, again = 0;

    (void)state;
    uf_space_set_limit(space, UF_LIMIT_AS, LIMIT_AS * page);
    uf_space_set_limit(space, UF_LIMIT_MEMLOCK, LIMIT_MEMLOCK * page);
    uf_space_set_limit(space, UF_LIMIT_STACK, LIMIT_STACK * page);
    uf_space_set_limit(space, UF_LIMIT_MAP_COUNT, LIMIT_MAPS);
    for (size_t n = 0; n < nsteps; n++) {
        intptr_t answer = step(space);
        struct uf_stats s = live_stats(space);

        nomem += answer == -ENOMEM;
        again += answer == -EAGAIN;
        assert_in_range(s.total_vm, 0, LIMIT_AS);
        assert_in_range(s.locked_vm, 0, LIMIT_MEMLOCK);
        /* As in the kernel: a new mapping may pass the limit by one. */
        assert_in_range(s.map_count, 0, LIMIT_MAPS + 1);
        uf_space_walk(space, assert_within_stack_limit, NULL);
    }
    assert_true(nomem > 50 && again > 5);
    unmake(space);
}

/* Private and writable is data, however it came to be; and, as in the kernel,
 * what replaces as many pages as it has is not held against the limit. */
static void the_data_limit_holds_private_writable_memory(void **state)
{
    struct uf_space *space = make();
    size_t page = page_size();
    uintptr_t p = live_page(space, 1500);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    int shared = MAP_SHARED | MAP_ANONYMOUS;

    (void)state;
    uf_space_set_limit(space, UF_LIMIT_DATA, 10 * page);
    assert_true(uf_mmap(space, p, 6 * page, RW, flags, -1, 0) > 0);
    assert_true(uf_sbrk(space, (intptr_t)(4 * page)) > 0);
    assert_int_equal(uf_sbrk(space, 1), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, flags, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, 0, page, RW, MAP_PRIVATE, file, 0),
                     -ENOMEM);
    assert_int_equal(uf_mremap(space, p, 6 * page, 7 * page, MREMAP_MAYMOVE, 0),
                     -ENOMEM);
    /* No data. */
    assert_true(uf_mmap(space, 0, page, RW, shared, -1, 0) > 0);
    assert_true(uf_mmap(space, 0, page, RW, MAP_SHARED, file, 0) > 0);
    assert_true(uf_mmap(space, p - 600 * page, page, RW, flags | MAP_GROWSDOWN,
                        -1, 0) > 0);
    assert_true(
        uf_mmap(space, p + 100 * page, 5 * page, PROT_READ, flags, -1, 0) > 0);
    assert_int_equal(uf_mprotect(space, p + 100 * page, page, RW), -ENOMEM);
    assert_int_equal(live_stats(space).data_vm, 10);
    /* It becomes less by mprotect, too. */
    assert_int_equal(uf_mprotect(space, p, 2 * page, PROT_READ), 0);
    assert_int_equal(live_stats(space).data_vm, 8);
    assert_int_equal(uf_mprotect(space, p + 100 * page, 2 * page, RW), 0);
    assert_int_equal(uf_mmap(space, 0, page, RW, flags, -1, 0), -ENOMEM);
    assert_int_equal(uf_mmap(space, p, 2 * page, RW, flags | MAP_FIXED, -1, 0),
                     p);
    assert_int_equal(live_stats(space).data_vm, 12);
    unmake(space);
}

/* Counters of calls count what had an effect. */
static void calls_are_counted(void **state)
{
    struct uf_space *space = make();
    size_t page = page_size();
    uintptr_t p = live_page(space, 700);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    struct uf_stats s;

    (void)state;
    assert_int_equal(uf_mmap(space, p, 4 * page, RW, flags, -1, 0), p);
    assert_int_equal(uf_mmap(space, p, 0, RW, flags, -1, 0), -EINVAL);
    assert_int_equal(uf_mprotect(space, p, page, PROT_READ), 0);
    assert_int_equal(uf_mprotect(space, p, 5 * page, PROT_READ), -ENOMEM);
    assert_int_equal(uf_madvise(space, p, page, MADV_DONTNEED), 0);
    assert_int_equal(uf_madvise(space, p + 4 * page, page, MADV_DONTNEED),
                     -ENOMEM);
    assert_int_equal(uf_mremap(space, p, 5 * page, 8 * page, 0, 0), -EFAULT);
    assert_int_equal(uf_mremap(space, p + page, 3 * page, 8 * page, 0, 0),
                     p + page);
    assert_int_equal(uf_munmap(space, p, 20 * page), 0);
    assert_int_equal(uf_munmap(space, p, 20 * page), 0);
    s = live_stats(space);
    assert_int_equal(s.mmaps, 1);
    assert_int_equal(s.mprotects, 1);
    assert_int_equal(s.madvises, 1);
    assert_int_equal(s.mremaps, 1);
    assert_int_equal(s.munmaps, 1);
    unmake(space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauges_are_what_a_walk_counts),
        cmocka_unit_test(no_limit_is_ever_passed),
        cmocka_unit_test(the_data_limit_holds_private_writable_memory),
        cmocka_unit_test(calls_are_counted),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("accounting", tests, NULL, NULL);
}
