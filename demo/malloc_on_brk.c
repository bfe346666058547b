/* SPDX-License-Identifier: MIT */
/*
 * malloc-on-brk: where the memory of malloc comes from, all the way down.
 *
 *     allocate ──no block fits──► uf_sbrk ──► addresses (no memory yet)
 *        │                                        │ first touch
 *        ▼                                        ▼
 *     a block of the list                     a fault ──► pages
 *
 * The oldest allocator there is: blocks in address order, a header before each;
 * take the first that is free and large enough, split off the rest, join free
 * neighbours. After each stage the counts of all floors are shown and checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define KIB(n) ((size_t)(n) << 10)
#define GROW_MIN                                                               \
    KIB(64) /* malloc asks for more than it needs, to ask rarely               \
             */

struct block {
    size_t len_bytes; /* behind this header, up to the next */
    size_t is_free;   /* 1 or 0 */
};

static struct uf_space *space;
static struct block *first, *end; /* of the list; end is the break */
static unsigned nallocations, nsbrks;

static struct block *next(struct block *b)
{
    return (struct block *)((char *)(b + 1) + b->len_bytes);
}

/* A new free block at the end of the list, or NULL. */
static struct block *extend(size_t want)
{
    size_t grow = (want + GROW_MIN) & ~(GROW_MIN - 1);
    struct block *b = (struct block *)uf_sbrk(space, (intptr_t)grow);

    nsbrks++;
    if ((intptr_t)b < 0)
        return NULL;
    *b = (struct block){grow - sizeof(*b), 1}; /* the first touch */
    end = next(b);
    return b;
}

static void *allocate(size_t len_bytes)
{
    size_t want = (len_bytes + 15) & ~(size_t)15;
    struct block *b = first, rest = {.is_free = 1};

    nallocations++;
    while (b != end && !(b->is_free && b->len_bytes >= want))
        b = next(b);
    if (b == end && !(b = extend(want)))
        return NULL;
    b->is_free = 0;
    if (b->len_bytes > want + sizeof(rest)) {
        rest.len_bytes = b->len_bytes - want - sizeof(rest);
        b->len_bytes = want;
        *next(b) = rest;
    }
    return b + 1;
}

static void release(void *p)
{
    ((struct block *)p - 1)->is_free = 1;
    for (struct block *b = first; b != end; b = next(b))
        while (b->is_free && next(b) != end && next(b)->is_free)
            b->len_bytes += sizeof(*b) + next(b)->len_bytes;
}

static void stage(const char *name, unsigned sbrks, unsigned faults)
{
    struct uf_stats s = {.size = sizeof(s)};

    CHECK(uf_space_stats(space, &s) == 0);
    printf("%-38s %7u %6u %9zu %7u %10zu\n", name, nallocations, nsbrks,
           (size_t)(s.brk - s.start_brk) >> 10, (unsigned)s.faults,
           (size_t)(s.resident * s.page_bytes) >> 10);
    CHECK(nsbrks == sbrks && s.faults == faults);
}

int main(void)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = KIB(1024), .window_pages = 1};
    char *small, *large;

    CHECK(uf_space_create(&opts, &space) == 0);
    first = end = (struct block *)uf_brk(space, 0);
    printf("%45s   sbrk  heap KiB  faults  there KiB\n", "malloc");
    stage("nothing yet", 0, 0);
    small = allocate(100);
    stage("100 bytes: the heap begins", 1, 1);
    strcpy(small, "kept");
    release(allocate(1000));
    stage("1000 more, freed: no call, no fault", 1, 1);
    large = allocate(KIB(256) - sizeof(struct block));
    stage("256 KiB: addresses, and one header", 2, 2);
    memset(large, 1, KIB(256) - sizeof(struct block));
    stage("written: a fault for each other page", 2, 65);
    release(large);
    memset(allocate(KIB(200)), 2, KIB(200));
    stage("again: 15 pages were not touched yet", 2, 80);
    CHECK(!allocate(KIB(1024)));
    stage("more than the space has: NULL", 3, 80);
    CHECK(strcmp(small, "kept") == 0);
    return uf_space_destroy(space) == 0 ? 0 : 1;
}
