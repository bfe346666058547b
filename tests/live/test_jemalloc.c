/* SPDX-License-Identifier: MIT */
/*
 * jemalloc on a space: threads allocate millions of times from an arena whose
 * extent hooks are the space's mmap family. All of it is in the space, every
 * kind of hook was called, and nothing stays when the arena is destroyed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <jemalloc/jemalloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "lib/alloc_load.h"
#include "lib/live.h"

#define NOPS 200000u
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct uf_space *space;
static int flags; /* of mallocx */

/* How far the hooks go for an extent that is free: jemalloc asks for each in
 * turn until one says yes. */
static atomic_int how;
enum { UNMAP, DECOMMIT, PURGE };

static atomic_uint nalloc, ngone, ncommit, ndecommit, npurge;

/* ------------------------------------------------------------------ hooks --
 */

/* `size` bytes at a multiple of `alignment`: more is mapped, and what sticks
 * out unmapped. */
static intptr_t map_aligned(size_t size, size_t alignment)
{
    intptr_t p = uf_mmap(space, 0, size + alignment, RW, ANON, -1, 0);
    uintptr_t at, end;

    if (p < 0)
        return p;
    at = align_up((uintptr_t)p, alignment);
    end = (uintptr_t)p + size + alignment;
    if (at > (uintptr_t)p)
        uf_munmap(space, (uintptr_t)p, at - (uintptr_t)p);
    if (end > at + size)
        uf_munmap(space, at + size, end - at - size);
    return (intptr_t)at;
}

static void *extent_alloc(extent_hooks_t *hooks, void *want, size_t size,
                          size_t alignment, bool *zero, bool *commit,
                          unsigned arena)
{
    intptr_t p = want ? uf_mmap(space, (uintptr_t)want, size, RW,
                                ANON | MAP_FIXED_NOREPLACE, -1, 0)
                      : map_aligned(size, alignment);

    (void)hooks;
    (void)arena;
    if (p < 0)
        return NULL;
    nalloc++;
    *zero = true;
    *commit = true;
    return (void *)p;
}

static bool extent_dalloc(extent_hooks_t *hooks, void *addr, size_t size,
                          bool committed, unsigned arena)
{
    (void)hooks;
    (void)committed;
    (void)arena;
    if (how != UNMAP)
        return true; /* no */
    ngone++;
    return uf_munmap(space, (uintptr_t)addr, size) != 0;
}

static void extent_destroy(extent_hooks_t *hooks, void *addr, size_t size,
                           bool committed, unsigned arena)
{
    how = UNMAP;
    extent_dalloc(hooks, addr, size, committed, arena);
}

static bool extent_commit(extent_hooks_t *hooks, void *addr, size_t size,
                          size_t offset, size_t length, unsigned arena)
{
    (void)hooks;
    (void)size;
    (void)arena;
    ncommit++;
    return uf_mprotect(space, (uintptr_t)addr + offset, length, RW) != 0;
}

static bool extent_purge(extent_hooks_t *hooks, void *addr, size_t size,
                         size_t offset, size_t length, unsigned arena)
{
    (void)hooks;
    (void)size;
    (void)arena;
    npurge++;
    return uf_madvise(space, (uintptr_t)addr + offset, length, MADV_DONTNEED) !=
           0;
}

static bool extent_decommit(extent_hooks_t *hooks, void *addr, size_t size,
                            size_t offset, size_t length, unsigned arena)
{
    if (how == PURGE)
        return true;
    ndecommit++;
    return uf_mprotect(space, (uintptr_t)addr + offset, length, PROT_NONE) !=
               0 ||
           extent_purge(hooks, addr, size, offset, length, arena);
}

static bool extent_split(extent_hooks_t *hooks, void *addr, size_t size,
                         size_t a, size_t b, bool committed, unsigned arena)
{
    (void)hooks;
    (void)addr;
    (void)size;
    (void)a;
    (void)b;
    (void)committed;
    (void)arena;
    return false;
}

static bool extent_merge(extent_hooks_t *hooks, void *a, size_t size_a, void *b,
                         size_t size_b, bool committed, unsigned arena)
{
    (void)hooks;
    (void)a;
    (void)size_a;
    (void)b;
    (void)size_b;
    (void)committed;
    (void)arena;
    return false;
}

static extent_hooks_t hooks = {
    .alloc = extent_alloc,
    .dalloc = extent_dalloc,
    .destroy = extent_destroy,
    .commit = extent_commit,
    .decommit = extent_decommit,
    .purge_forced = extent_purge,
    .split = extent_split,
    .merge = extent_merge,
};

/* ------------------------------------------------------------------- load --
 */

static void *begin(void)
{
    return NULL;
}

static void end(void *own)
{
    (void)own;
}

static void *allocate(void *own, size_t len)
{
    (void)own;
    return mallocx(len, flags);
}

static void *resize(void *own, void *p, size_t len)
{
    (void)own;
    return rallocx(p, len, flags);
}

static void release(void *own, void *p)
{
    (void)own;
    dallocx(p, flags);
}

static bool is_ours(const void *p)
{
    return (uintptr_t)p - uf_space_base(space) < uf_space_len(space);
}

static const struct alloc_ops ops = {
    .begin = begin,
    .end = end,
    .alloc = allocate,
    .resize = resize,
    .free = release,
    .is_ours = is_ours,
};

static void of_arena(unsigned arena, const char *what, void *new_value,
                     size_t len)
{
    char name[64];

    snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
    assert_int_equal(mallctl(name, NULL, NULL, new_value, len), 0);
}

static void test_jemalloc_lives_in_a_space(void **unused)
{
    const struct uf_space_opts opts = {.len_bytes = (size_t)1 << 30};
    extent_hooks_t *ours = &hooks;
    size_t len = sizeof(unsigned);
    struct uf_stats loaded, after;
    ssize_t at_once = 0;
    unsigned arena;

    (void)unused;
    space = live_space(&opts, 0);
    assert_int_equal(
        mallctl("arenas.create", &arena, &len, &ours, sizeof(ours)), 0);
    flags = (int)MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
    assert_null(alloc_load_run(&ops, NOPS));
    /* What is free is purged from now on without a delay. */
    of_arena(arena, "dirty_decay_ms", &at_once, sizeof(at_once));
    of_arena(arena, "muzzy_decay_ms", &at_once, sizeof(at_once));
    for (how = UNMAP; how <= PURGE; how++)
        assert_null(alloc_load_run(&ops, NOPS / 4));
    loaded = live_stats(space);
    print_message("alloc %u, gone %u, commit %u, decommit %u, purge %u; "
                  "faults %llu, most resident %llu pages\n",
                  nalloc, ngone, ncommit, ndecommit, npurge,
                  (unsigned long long)loaded.faults,
                  (unsigned long long)loaded.resident_peak);
    assert_true(loaded.mmaps > 0 && loaded.faults > 0 && loaded.madvises > 0);
    assert_true(loaded.munmaps > 0 && loaded.mprotects > 0);
    assert_true(nalloc && ngone && ndecommit && ncommit && npurge > ndecommit);
    live_assert_law(space);

    of_arena(arena, "destroy", NULL, 0);
    after = live_stats(space);
    assert_int_equal(after.map_count, 0);
    assert_int_equal(after.resident, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jemalloc_lives_in_a_space),
    };
    int skip = live_begin();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
