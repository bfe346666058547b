/* SPDX-License-Identifier: MIT */
/*
 * Mappings: mmap and munmap of one page, in a space against the kernel's own
 * calls, untouched and touched; and what the set of VMAs costs on its own, a
 * look-up among a thousand to a million, and memory. bench/vma_set.c shows the
 * set beside other structures.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "mm/vma_set.h"
#include "pager/pager.h"
#include "ufault/ufault.h"

#define ROUNDS  20000
#define LOOKUPS 200000

/* ------------------------------------------------------ mmap + munmap -- */

/* What is done with the page between the two calls: the row's `program`. */
static void touch(char *p, const char *how)
{
    if (how[0] == 'w')
        *(volatile char *)p = 1;
    else if (how[0] == 'r')
        (void)*(volatile char *)p;
}

static bool kernel_pairs(const struct row *row, struct sample *ret)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    double cpu, wall;

    bench_bind(0);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    for (int i = 0; i < ROUNDS; i++) {
        char *p = mmap(NULL, page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            return false;
        touch(p, row->program);
        munmap(p, page);
    }
    ret->wall_us = (bench_wall_us() - wall) / ROUNDS;
    ret->cpu_us = (bench_cpu_us() - cpu) / ROUNDS;
    bench_bind(-1);
    return true;
}

/* A space whose handler is on the caller's CPU, made once. */
static struct uf_space *bound_space(void)
{
    static struct uf_space *space;
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .cpu_plus_one = 1};
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 30};

    if (!space && (uf_engine_create(&engine_opts, &opts.engine) != 0 ||
                   uf_space_create(&opts, &space) != 0))
        return NULL;
    return space;
}

static bool our_pairs(const struct row *row, struct sample *ret)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct uf_space *space = bound_space();
    double cpu, wall;

    if (!space)
        return false;
    bench_bind(0);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    for (int i = 0; i < ROUNDS; i++) {
        intptr_t p = uf_mmap(space, 0, page, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p < 0)
            return false;
        touch((char *)p, row->program);
        uf_munmap(space, (uintptr_t)p, page);
    }
    ret->wall_us = (bench_wall_us() - wall) / ROUNDS;
    ret->cpu_us = (bench_cpu_us() - cpu) / ROUNDS;
    bench_bind(-1);
    return true;
}

/* ---------------------------------------------------------- the set -- */

#define BASE ((uintptr_t)1 << 32)

static uint64_t random_state = 88172645463325252u;

static size_t next_random(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

/* `count` VMAs of one page, one in every two pages, in random order. */
static bool fill(struct vma_set *set, size_t count)
{
    size_t page = page_size(), *order = malloc(count * sizeof(*order));

    if (!order)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t j = next_random(i + 1);

        order[i] = order[j];
        order[j] = i;
    }
    vma_set_init(set, (struct range){BASE, BASE + 2 * count * page});
    for (size_t i = 0; i < count; i++) {
        struct vma vma = {.start = BASE + 2 * order[i] * page,
                          .flags = VMA_READ,
                          .pager = pager_zero()};

        vma.end = vma.start + page;
        if (vma_set_reserve(set, 1) != 0)
            return false;
        vma_set_insert(set, &vma);
    }
    free(order);
    return true;
}

/* One set for each power of ten from 1,000, made when it is asked for. */
static struct vma_set *set_of(size_t count)
{
    static struct vma_set sets[4];
    size_t which = 0;

    for (size_t n = 1000; n < count; n *= 10)
        which++;
    if (sets[which].count == 0 && !fill(&sets[which], count))
        return NULL;
    return &sets[which];
}

static bool lookups_among(size_t count, struct sample *ret)
{
    struct vma_set *set = set_of(count);
    uintptr_t sum = 0;
    double begun;

    if (!set)
        return false;
    begun = bench_wall_us();
    for (int i = 0; i < LOOKUPS; i++) {
        uintptr_t addr = BASE + 2 * next_random(count) * page_size();

        sum += vma_set_lookup(set, addr + 64)->end;
    }
    ret->wall_us = (bench_wall_us() - begun) / LOOKUPS;
    ret->cpu_us = ret->wall_us;
    return sum != 0;
}

static bool many_lookups(const struct row *row, struct sample *ret)
{
    return lookups_among(row->len_bytes, ret);
}

static bool few_lookups(const struct row *row, struct sample *ret)
{
    (void)row;
    return lookups_among(1000, ret);
}

static bool bytes_per_vma(const struct row *row, struct sample *ret)
{
    struct vma_set *set = set_of(row->len_bytes);

    if (!set)
        return false;
    ret->wall_us = (double)vma_set_memory(set) / (double)set->count;
    ret->cpu_us = ret->wall_us;
    return true;
}

const struct row map_rows[] = {
    {.work = "mmap + munmap of 1 page, untouched",
     .engine = "thread",
     .baseline = "kernel",
     .unit = "pair",
     .reach = 1.5,
     .ours = our_pairs,
     .theirs = kernel_pairs,
     .program = "untouched"},
    {.work = "mmap + write + munmap of 1 page, same CPU",
     .engine = "thread",
     .baseline = "kernel",
     .unit = "pair",
     .ours = our_pairs,
     .theirs = kernel_pairs,
     .program = "written"},
    {.work = "mmap + read + munmap of 1 page, same CPU",
     .engine = "thread",
     .baseline = "kernel",
     .unit = "pair",
     .ours = our_pairs,
     .theirs = kernel_pairs,
     .program = "read"},
    {.work = "find a VMA among 1,000,000, us",
     .engine = "set",
     .baseline = "absolute",
     .unit = "look-up",
     .reach = 1,
     .ours = many_lookups,
     .len_bytes = 1000000},
    {.work = "find a VMA among 10,000",
     .engine = "set",
     .baseline = "1,000",
     .unit = "look-up",
     .ours = many_lookups,
     .theirs = few_lookups,
     .len_bytes = 10000},
    {.work = "find a VMA among 100,000",
     .engine = "set",
     .baseline = "1,000",
     .unit = "look-up",
     .ours = many_lookups,
     .theirs = few_lookups,
     .len_bytes = 100000},
    {.work = "find a VMA among 1,000,000",
     .engine = "set",
     .baseline = "1,000",
     .unit = "look-up",
     .ours = many_lookups,
     .theirs = few_lookups,
     .len_bytes = 1000000},
    {.work = "memory per VMA, bytes, of 1,000,000",
     .engine = "set",
     .baseline = "absolute",
     .unit = "byte",
     .reach = 128,
     .ours = bytes_per_vma,
     .len_bytes = 1000000},
};
const size_t map_nrows = sizeof(map_rows) / sizeof(map_rows[0]);
