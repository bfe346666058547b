/* SPDX-License-Identifier: MIT */
/*
 * jemalloc-on-space: an allocator whose every page comes from a space.
 *
 *     mallocx ──► arena ──► extent hooks ──► uf_mmap, uf_munmap
 *                              │             uf_madvise(DONTNEED)
 *                              └ purge ─────►  pages go, addresses stay
 *
 * A jemalloc arena can be given hooks: how to get an extent of address space,
 * how to give it back, how to drop the pages of one that is free for now.
 * Written with the mmap family they are one line each, and the family of a
 * space is the same. An arena of its own for a request, a tenant, a plug-in:
 * destroy it, and the space shows that nothing is left.
 */
#include <jemalloc/jemalloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define RW      (PROT_READ | PROT_WRITE)
#define NBLOCKS 20000

static struct uf_space *space;

static void *extent_alloc(extent_hooks_t *hooks, void *want, size_t size,
                          size_t alignment, bool *zero, bool *commit,
                          unsigned arena)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uintptr_t at, end;
    intptr_t p;

    (void)hooks, (void)arena;
    if (want) { /* there or nowhere */
        p = uf_mmap(space, (uintptr_t)want, size, RW,
                    flags | MAP_FIXED_NOREPLACE, -1, 0);
    } else { /* more than needed, then what sticks out goes */
        p = uf_mmap(space, 0, size + alignment, RW, flags, -1, 0);
        if (p > 0) {
            at = ((uintptr_t)p + alignment - 1) & ~(alignment - 1);
            end = (uintptr_t)p + size + alignment;
            if (at > (uintptr_t)p)
                uf_munmap(space, (uintptr_t)p, at - (uintptr_t)p);
            if (end > at + size)
                uf_munmap(space, at + size, end - at - size);
            p = (intptr_t)at;
        }
    }
    if (p < 0)
        return NULL;
    *zero = *commit = true;
    return (void *)p;
}

/* Hooks return true for "no". */
static bool extent_dalloc(extent_hooks_t *hooks, void *addr, size_t size,
                          bool committed, unsigned arena)
{
    (void)hooks, (void)committed, (void)arena;
    return uf_munmap(space, (uintptr_t)addr, size) != 0;
}

static void extent_destroy(extent_hooks_t *hooks, void *addr, size_t size,
                           bool committed, unsigned arena)
{
    extent_dalloc(hooks, addr, size, committed, arena);
}

static bool extent_purge(extent_hooks_t *hooks, void *addr, size_t size,
                         size_t offset, size_t length, unsigned arena)
{
    (void)hooks, (void)size, (void)arena;
    return uf_madvise(space, (uintptr_t)addr + offset, length, MADV_DONTNEED) !=
           0;
}

/* Mappings of a space merge and split as the kernel's: nothing to do. */
static bool extent_split(extent_hooks_t *hooks, void *addr, size_t size,
                         size_t a, size_t b, bool committed, unsigned arena)
{
    (void)hooks, (void)addr, (void)size, (void)a, (void)b, (void)committed;
    (void)arena;
    return false;
}

static bool extent_merge(extent_hooks_t *hooks, void *a, size_t size_a, void *b,
                         size_t size_b, bool committed, unsigned arena)
{
    (void)hooks, (void)a, (void)size_a, (void)b, (void)size_b, (void)committed;
    (void)arena;
    return false;
}

static extent_hooks_t hooks = {
    .alloc = extent_alloc,
    .dalloc = extent_dalloc,
    .destroy = extent_destroy,
    .purge_lazy = extent_purge,
    .purge_forced = extent_purge,
    .split = extent_split,
    .merge = extent_merge,
};

static void stage(const char *name)
{
    struct uf_stats s = {.size = sizeof(s)};

    CHECK(uf_space_stats(space, &s) == 0);
    printf("%-34s %8zu %9zu %8llu %8llu\n", name,
           (size_t)(s.total_vm * s.page_bytes) >> 10,
           (size_t)(s.resident * s.page_bytes) >> 10,
           (unsigned long long)s.faults, (unsigned long long)s.mmaps);
}

static void of_arena(const char *what, unsigned arena)
{
    char name[64];

    snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
    CHECK(mallctl(name, NULL, NULL, NULL, 0) == 0);
}

int main(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 30};
    struct uf_stats s = {.size = sizeof(s)};
    static unsigned char *blocks[NBLOCKS];
    extent_hooks_t *ours = &hooks;
    size_t len = sizeof(unsigned);
    unsigned arena;
    int flags;

    CHECK(uf_space_create(&opts, &space) == 0);
    CHECK(mallctl("arenas.create", &arena, &len, &ours, sizeof(ours)) == 0);
    flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
    printf("%34s   mapped  resident   faults    mmaps\n", "KiB:");
    stage("an arena");
    for (size_t i = 0; i < NBLOCKS; i++) {
        blocks[i] = mallocx(1 + i % 3000, flags);
        CHECK((uintptr_t)blocks[i] - uf_space_base(space) <
              uf_space_len(space));
        memset(blocks[i], (int)i, 1 + i % 3000);
    }
    stage("20,000 blocks, written");
    for (size_t i = 0; i < NBLOCKS; i++) {
        CHECK(blocks[i][i % 3000] == (unsigned char)i);
        if (i % 4 != 0)
            dallocx(blocks[i], flags);
    }
    of_arena("purge", arena);
    stage("three of four freed, and purged");
    of_arena("destroy", arena);
    stage("the arena destroyed");

    /* What is left is the arena's own description. */
    CHECK(uf_space_stats(space, &s) == 0);
    CHECK(s.faults > 0 && s.mmaps > 0);
    CHECK(s.total_vm * s.page_bytes <= (size_t)4 << 20);
    return 0;
}
