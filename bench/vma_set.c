/* SPDX-License-Identifier: MIT */
/*
 * vma_set: what the set of VMAs costs, from a thousand to a million of them.
 *
 *     vma_set [repetitions]
 *
 * Measured beside the two structures one would think of first, which hold the
 * same VMAs: a sorted array of (start, VMA), which can neither be changed
 * cheaply nor searched for gaps but shows what the machine's caches allow; and
 * glibc's red-black tree (tsearch), which knows no gaps either. Every
 * repetition visits all sizes and all contestants in turn, so that a noisy
 * moment hits them alike.
 */
#define _GNU_SOURCE
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>

#include "mm/vma_set.h"
#include "pager/pager.h"

#define BASE     ((uintptr_t)1 << 32)
#define LOOKUPS  400000u
#define CHANGES  100000u
#define REPS_MAX 101

enum row { LOOKUP, ARRAY_LOOKUP, TREE_LOOKUP, CHANGE, TREE_CHANGE, GAP, ROWS };

static const char *const row_names[ROWS] = {[LOOKUP] = "look-up",
                                            [ARRAY_LOOKUP] = "  sorted array",
                                            [TREE_LOOKUP] = "  red-black tree",
                                            [CHANGE] = "remove + insert",
                                            [TREE_CHANGE] = "  red-black tree",
                                            [GAP] = "gap search"};

struct pair {
    uintptr_t start;
    struct vma *vma;
};

struct contest {
    size_t count;
    struct vma_set set;
    struct pair *array;
    void *redblack;
    struct vma *copies; /* what these two point to, in order of insertion */
    double ns[ROWS][REPS_MAX];
};

static struct contest contests[] = {
    {.count = 1000}, {.count = 10000}, {.count = 100000}, {.count = 1000000}};

#define NCONTESTS (sizeof(contests) / sizeof(contests[0]))

static uint64_t random_state = 88172645463325252u;
static volatile uintptr_t sink;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One page in every two is a VMA. */
static struct vma tooth(size_t i)
{
    struct vma vma = {.flags = VMA_READ, .pager = pager_zero()};

    vma.start = BASE + 2 * i * page_size();
    vma.end = vma.start + page_size();
    return vma;
}

static void reserve(struct vma_set *set, unsigned n)
{
    if (vma_set_reserve(set, n) < 0) {
        fprintf(stderr, "vma_set: no memory\n");
        exit(1);
    }
}

/* VMAs are equal if they overlap, so that one of a single byte looks up. */
static int compare_vmas(const void *a, const void *b)
{
    const struct vma *x = a, *y = b;

    return (x->start >= y->end) - (x->end <= y->start);
}

/* In random order, as a long-lived program's map would have come about. */
static void build(struct contest *c)
{
    struct range bounds = {BASE, BASE + 2 * c->count * page_size()};
    size_t *order = malloc(c->count * sizeof(*order));

    c->array = malloc(c->count * sizeof(*c->array));
    c->copies = malloc(c->count * sizeof(*c->copies));
    if (!order || !c->array || !c->copies)
        exit(1);
    for (size_t i = 0; i < c->count; i++) {
        size_t j = next_random() % (i + 1);

        order[i] = order[j];
        order[j] = i;
    }
    vma_set_init(&c->set, bounds);
    for (size_t i = 0; i < c->count; i++) {
        struct vma *vma = &c->copies[i];

        *vma = tooth(order[i]);
        reserve(&c->set, 1);
        vma_set_insert(&c->set, vma);
        c->array[order[i]] = (struct pair){vma->start, vma};
        if (!tsearch(vma, &c->redblack, compare_vmas))
            exit(1);
    }
    free(order);
}

static uintptr_t random_addr(const struct contest *c)
{
    size_t page = 2 * (next_random() % c->count);

    return BASE + page * page_size() + 64;
}

static void do_lookup(struct contest *c)
{
    sink = vma_set_lookup(&c->set, random_addr(c))->end;
}

static void do_array_lookup(struct contest *c)
{
    uintptr_t addr = random_addr(c);
    const struct pair *at = c->array;

    for (size_t n = c->count; n > 1; n -= n / 2)
        at += at[n / 2].start <= addr ? n / 2 : 0;
    sink = at->vma->end;
}

static void do_tree_lookup(struct contest *c)
{
    uintptr_t addr = random_addr(c);
    struct vma key = {.start = addr, .end = addr + 1};
    struct vma *const *found = tfind(&key, &c->redblack, compare_vmas);

    sink = (*found)->end;
}

static void do_change(struct contest *c)
{
    struct vma vma = tooth(next_random() % c->count);

    reserve(&c->set, 2);
    vma_set_remove(&c->set, vma_range(&vma), 1);
    vma_set_insert(&c->set, &vma);
}

static void do_tree_change(struct contest *c)
{
    struct vma *vma = c->array[next_random() % c->count].vma;

    tdelete(vma, &c->redblack, compare_vmas);
    tsearch(vma, &c->redblack, compare_vmas);
}

/* From a random place down; the only gap large enough is the lowest. */
static void do_gap(struct contest *c)
{
    struct range within = {BASE, random_addr(c) & ~(page_size() - 1)};
    uintptr_t start = 0;

    vma_set_find_gap(&c->set, within, 3 * page_size(), page_size(), 0, true,
                     &start);
    sink = start;
}

static double measure(struct contest *c, void (*op)(struct contest *c),
                      unsigned n)
{
    uint64_t begin = now_ns();

    for (unsigned i = 0; i < n; i++)
        op(c);
    return (double)(now_ns() - begin) / n;
}

static void repeat(struct contest *c, int rep)
{
    struct vma second = tooth(1);

    c->ns[LOOKUP][rep] = measure(c, do_lookup, LOOKUPS);
    c->ns[ARRAY_LOOKUP][rep] = measure(c, do_array_lookup, LOOKUPS);
    c->ns[TREE_LOOKUP][rep] = measure(c, do_tree_lookup, LOOKUPS);
    c->ns[CHANGE][rep] = measure(c, do_change, CHANGES);
    c->ns[TREE_CHANGE][rep] = measure(c, do_tree_change, CHANGES);

    reserve(&c->set, 2);
    vma_set_remove(&c->set, vma_range(&second), 1);
    c->ns[GAP][rep] = measure(c, do_gap, CHANGES);
    vma_set_insert(&c->set, &second);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const struct contest *c, enum row row, int reps)
{
    return c->ns[row][reps / 2];
}

/* One row; a contestant's ends with how many times the set's time it took. */
static void print_row(const struct contest *c, enum row row, int reps)
{
    const double *ns = c->ns[row];

    printf("%9zu  %-18s %8.1f  %8.1f .. %-8.1f", c->count, row_names[row],
           median(c, row, reps), ns[0], ns[reps - 1]);
    if (row == ARRAY_LOOKUP || row == TREE_LOOKUP)
        printf("  %5.2f", median(c, row, reps) / median(c, LOOKUP, reps));
    if (row == TREE_CHANGE)
        printf("  %5.2f", median(c, row, reps) / median(c, CHANGE, reps));
    printf("\n");
}

static void print_contest(struct contest *c, int reps)
{
    for (int row = 0; row < ROWS; row++)
        qsort(c->ns[row], (size_t)reps, sizeof(double), compare);
    for (int row = 0; row < ROWS; row++)
        print_row(c, (enum row)row, reps);
    printf("%9zu  %-18s %8.1f\n", c->count, "bytes per VMA",
           (double)vma_set_memory(&c->set) / (double)c->count);
}

/* The nodes point into `copies`. */
static void keep(void *vma)
{
    (void)vma;
}

static void destroy(struct contest *c)
{
    vma_set_destroy(&c->set);
    tdestroy(c->redblack, keep);
    free(c->array);
    free(c->copies);
}

int main(int argc, char **argv)
{
    int reps = argc > 1 ? atoi(argv[1]) : 7;
    struct utsname machine;

    if (reps < 1 || reps > REPS_MAX) {
        fprintf(stderr, "usage: vma_set [repetitions, 1 to %d]\n", REPS_MAX);
        return 2;
    }
    uname(&machine);
    printf("vma_set: %s %s, ns, median of %d, min .. max, times the set's\n",
           machine.release, machine.machine, reps);
    for (size_t i = 0; i < NCONTESTS; i++)
        build(&contests[i]);
    for (int rep = 0; rep < reps; rep++)
        for (size_t i = 0; i < NCONTESTS; i++)
            repeat(&contests[i], rep);
    for (size_t i = 0; i < NCONTESTS; i++) {
        print_contest(&contests[i], reps);
        destroy(&contests[i]);
    }
    return 0;
}
