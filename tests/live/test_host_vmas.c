/* SPDX-License-Identifier: MIT */
/*
 * The host's mappings stay as few as they can be: a random workload on private
 * zero-paged memory, and after each step no more lines of /proc/self/maps lie
 * in the reservation than there are runs of like memory, gaps included:
 *
 *     space     [rw][rw ][r ][r locked]      [none][rw]
 *     runs       `-1--'   `2'  `-3----' `----4---' `5'   6: the gap at the end
 *
 * A gap and closed memory without a state of its own are alike. In the end,
 * when all is unmapped, one line is left.
 *
 * What mremap has moved, and what MADV_HUGEPAGE was said of, the kernel does
 * not let become one with memory beside it (its anon_vma or its place in it are
 * others). Such seams go when something like it is mapped over them: there may
 * be some, but they do not add up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fake_script.h"
#include "lib/sides.h"
#include "mm/advice.h"
#include "mm/space.h"

#define RW     (PROT_READ | PROT_WRITE)
#define NPAGES 96

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static uint64_t seed;

static size_t below(size_t n)
{
    return (size_t)(fake_random(&seed) % n);
}

/* What two neighbours in the host must have in common. Gaps: 0. */
static uint32_t key_of(const struct vma *v)
{
    return v->flags & (VMA_PROT | VMA_ON_HOST);
}

static size_t count_runs(const struct uf_space *space)
{
    uintptr_t at = space->region.range.start;
    uint32_t key = 0;
    size_t runs = 0;
    bool any = false;

    for (const struct vma *v = vma_set_find(&space->vmas, 0); v;
         v = vma_set_next(&space->vmas, v)) {
        if (v->start > at) {
            runs += !any || key != 0;
            any = true;
            key = 0;
        }
        runs += !any || key != key_of(v);
        any = true;
        key = key_of(v);
        at = v->end;
    }
    return runs + (at < space->region.range.end && (!any || key != 0));
}

static struct range some_range(const struct uf_space *space, size_t longest)
{
    size_t len = 1 + below(longest), first = below(NPAGES - len);

    return (struct range){live_page(space, first),
                          live_page(space, first + len)};
}

static int some_prot(void)
{
    static const int prots[] = {RW, RW, RW, PROT_READ, PROT_NONE};

    return prots[below(5)];
}

static void touch_some(struct range r)
{
    for (uintptr_t at = r.start; at < r.end; at += page_size())
        live_write(at, 1, NULL);
}

static void advise_some(struct uf_space *space, struct range r)
{
    static const int advice[] = {
        MADV_DONTFORK,    MADV_DOFORK,   MADV_WIPEONFORK, MADV_KEEPONFORK,
        MADV_DONTDUMP,    MADV_DODUMP,   MADV_RANDOM,     MADV_SEQUENTIAL,
        MADV_NORMAL,      MADV_DONTNEED, MADV_MERGEABLE,  MADV_UNMERGEABLE,
        MADV_GUARD_REMOVE};

    uf_madvise(space, r.start, range_len(r),
               advice[below(sizeof(advice) / sizeof(advice[0]))]);
}

static void move_some(struct uf_space *space, struct range r)
{
    uintptr_t to = some_range(space, 12).start;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

    if (below(4) == 0)
        flags |= MREMAP_DONTUNMAP;
    uf_mremap(space, r.start, range_len(r), range_len(r), flags, to);
}

/* What leaves seams. */
static void rough_step(struct uf_space *space)
{
    struct range r = some_range(space, 12);

    if (below(2))
        move_some(space, r);
    else
        uf_madvise(space, r.start, range_len(r),
                   below(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void step(struct uf_space *space)
{
    struct range r = some_range(space, 12);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

    switch (below(10)) {
    case 0:
        flags |= below(4) == 0 ? MAP_LOCKED : 0;
        uf_mmap(space, r.start, range_len(r), some_prot(), flags, -1, 0);
        break;
    case 1:
    case 2:
        uf_mmap(space, r.start, range_len(r), some_prot(), flags, -1, 0);
        break;
    case 3:
    case 4:
        uf_munmap(space, r.start, range_len(r));
        break;
    case 5:
        uf_mprotect(space, r.start, range_len(r), some_prot());
        break;
    case 6:
        advise_some(space, r);
        break;
    case 7:
        if (below(2))
            uf_mlock2(space, r.start, range_len(r), UF_MLOCK_ONFAULT);
        else
            uf_munlock(space, r.start, range_len(r));
        break;
    case 8:
        uf_mremap(space, r.start, range_len(r), page_size() * (1 + below(12)),
                  0, 0);
        break;
    default:
        touch_some(r);
        break;
    }
}

static void check(const struct uf_space *space, size_t seams, size_t n,
                  uint64_t first_seed)
{
    struct range all = space->region.range;
    size_t host = host_count_vmas(all.start, all.end);
    size_t runs = count_runs(space);

    if (host > runs + seams) {
        print_message("seed %llu, step %zu: %zu of the host, %zu runs\n",
                      (unsigned long long)first_seed, n, host, runs);
        fail();
    }
}

static struct uf_space *make(void)
{
    struct uf_space_opts opts = {.window_pages = 1,
                                 .len_bytes = (NPAGES + 32) * page_size()};

    return live_space(&opts, 0);
}

static void unmake(struct uf_space *space, size_t seams)
{
    struct range all = space->region.range;

    assert_int_equal(uf_munmap(space, all.start, range_len(all)), 0);
    assert_in_range(host_count_vmas(all.start, all.end), 1, 1 + seams);
    assert_int_equal(live_stats(space).resident, 0);
    assert_int_equal(live_stats(space).total_vm, 0);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void work(size_t one_rough_in, size_t seams)
{
    size_t nsteps = (size_t)fake_env("UFAULT_HOST_VMAS_STEPS", 3000);
    uint64_t first_seed = fake_env("UFAULT_HOST_VMAS_SEED", 1);
    struct uf_space *space = make();

    seed = first_seed;
    for (size_t n = 0; n < nsteps; n++) {
        if (one_rough_in && below(one_rough_in) == 0)
            rough_step(space);
        else
            step(space);
        check(space, seams, n, first_seed);
    }
    unmake(space, seams);
}

static void the_host_needs_no_more_mappings_than_we(void **state)
{
    (void)state;
    work(0, 0);
}

static void seams_of_moved_memory_do_not_add_up(void **state)
{
    (void)state;
    work(10, NPAGES / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_needs_no_more_mappings_than_we),
        cmocka_unit_test(seams_of_moved_memory_do_not_add_up),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mappings of the host", tests, NULL,
                                       NULL);
}
