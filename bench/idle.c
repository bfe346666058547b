/* SPDX-License-Identifier: MIT */
/*
 * Spaces that nobody touches, and thousands of them on one engine. Memory is
 * what a process has more resident with them, per space: our records, stacks
 * and tables; the kernel's own (VMA, page tables, descriptors) is not in it.
 * These rows are absolute, but for the last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/ufault.h"

#define FEW     256
#define MANY    10000
#define TOUCHED 4096

#define GIB ((size_t)1 << 30)

static struct uf_space *one_space(struct uf_engine *engine, size_t len_bytes)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = len_bytes, .engine = engine};
    struct uf_space *space = NULL;

    uf_space_create(&opts, &space);
    return space;
}

/* False: not all of them could be made. */
static bool make_spaces(struct uf_engine *engine, struct uf_space **spaces,
                        size_t n, size_t len_bytes)
{
    for (size_t i = 0; i < n; i++) {
        spaces[i] = one_space(engine, len_bytes);
        if (!spaces[i]) {
            printf("# no more than %zu spaces\n", i);
            return false;
        }
    }
    return true;
}

static void destroy_spaces(struct uf_space **spaces, size_t n)
{
    for (size_t i = 0; i < n; i++)
        uf_space_destroy(spaces[i]);
}

/* ------------------------------------------------------------ memory -- */

/* KiB per idle space; with engines of their own, or all on one. Freed records
 * are used again, so only a process's first spaces show what they cost: this
 * runs in a child. */
static bool memory(size_t n, size_t len_bytes, bool shared, struct sample *ret)
{
    static struct uf_space *spaces[MANY];
    struct uf_engine *engine = NULL;
    double before;

    if (shared && uf_engine_create(NULL, &engine) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        *(struct uf_space *volatile *)&spaces[i] = NULL; /* resident */
    before = bench_resident_kib();
    if (!make_spaces(engine, spaces, n, len_bytes))
        return false;
    ret->wall_us = (bench_resident_kib() - before) / (double)n;
    destroy_spaces(spaces, n);
    uf_engine_destroy(engine);
    return true;
}

static bool few_shared(const struct row *row, struct sample *ret)
{
    (void)row;
    return memory(FEW, 64 * GIB, true, ret);
}

static bool few_own(const struct row *row, struct sample *ret)
{
    (void)row;
    return memory(FEW, 64 * GIB, false, ret);
}

static bool many_shared(const struct row *row, struct sample *ret)
{
    (void)row;
    return memory(MANY, GIB, true, ret);
}

static bool shared_memory(const struct row *row, struct sample *ret)
{
    return bench_in_child(few_shared, row, ret);
}

static bool own_memory(const struct row *row, struct sample *ret)
{
    return bench_in_child(few_own, row, ret);
}

static bool many_memory(const struct row *row, struct sample *ret)
{
    return bench_in_child(many_shared, row, ret);
}

/* ---------------------------------------------------------- lifetime -- */

/* Microseconds for create + destroy. */
static bool lifetime(struct uf_engine *engine, size_t len_bytes,
                     struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();

    for (int i = 0; i < FEW; i++)
        uf_space_destroy(one_space(engine, len_bytes));
    ret->wall_us = (bench_wall_us() - wall) / FEW;
    ret->cpu_us = (bench_cpu_us() - cpu) / FEW;
    return true;
}

static bool shared_lifetime(const struct row *row, struct sample *ret)
{
    static struct uf_engine *engine;

    (void)row;
    if (!engine && uf_engine_create(NULL, &engine) != 0)
        return false;
    return lifetime(engine, (size_t)16 << 40, ret);
}

static bool own_lifetime(const struct row *row, struct sample *ret)
{
    (void)row;
    return lifetime(NULL, (size_t)16 << 40, ret);
}

static bool lifetime_beside_many(const struct row *row, struct sample *ret)
{
    static struct uf_space *spaces[MANY];
    struct uf_engine *engine;
    bool ok;

    (void)row;
    if (uf_engine_create(NULL, &engine) != 0)
        return false;
    ok = make_spaces(engine, spaces, MANY, GIB) && lifetime(engine, GIB, ret);
    destroy_spaces(spaces, MANY);
    uf_engine_destroy(engine);
    return ok;
}

/* In a child, so that the others' figures are of a process without them. */
static bool many_lifetime(const struct row *row, struct sample *ret)
{
    return bench_in_child(lifetime_beside_many, row, ret);
}

/* ------------------------------------------------ one touch in each -- */

static void touch_each(char *const *bases, struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();

    for (size_t i = 0; i < TOUCHED; i++)
        *(volatile char *)bases[i] = 1;
    ret->wall_us = (bench_wall_us() - wall) / TOUCHED;
    ret->cpu_us = (bench_cpu_us() - cpu) / TOUCHED;
}

#define EACH_BYTES ((size_t)4 << 20)

static bool our_touches(const struct row *row, struct sample *ret)
{
    static struct uf_space *spaces[TOUCHED];
    static char *bases[TOUCHED];
    static struct uf_engine *engine;
    bool ok;

    (void)row;
    if (!engine && uf_engine_create(NULL, &engine) != 0)
        return false;
    ok = make_spaces(engine, spaces, TOUCHED, EACH_BYTES);
    for (size_t i = 0; ok && i < TOUCHED; i++)
        bases[i] = (char *)uf_sbrk(spaces[i], EACH_BYTES / 2);
    if (ok)
        touch_each(bases, ret);
    destroy_spaces(spaces, TOUCHED);
    return ok;
}

/* A mapping of the kernel's for each space, apart from the next. */
static bool kernel_touches(const struct row *row, struct sample *ret)
{
    static char *bases[TOUCHED];
    size_t len = TOUCHED * EACH_BYTES;
    char *all = mmap(NULL, len, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)row;
    if (all == MAP_FAILED)
        return false;
    madvise(all, len, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < TOUCHED; i++) {
        bases[i] = all + i * EACH_BYTES;
        mprotect(bases[i], EACH_BYTES / 2, PROT_READ | PROT_WRITE);
    }
    touch_each(bases, ret);
    munmap(all, len);
    return true;
}

#define ABSOLUTE .engine = "thread", .baseline = "absolute"

const struct row idle_rows[] = {
    {.work = "idle space: KiB of our memory, shared engine",
     ABSOLUTE,
     .unit = "KiB",
     .reach = 16,
     .ours = shared_memory},
    {.work = "idle space: KiB of our memory, engine of its own",
     ABSOLUTE,
     .unit = "KiB",
     .reach = 16,
     .ours = own_memory},
    {.work = "idle space: KiB each, 10,000 on one engine",
     ABSOLUTE,
     .unit = "KiB",
     .reach = 4,
     .ours = many_memory},
    {.work = "create + destroy 16 TiB, us, shared engine",
     ABSOLUTE,
     .unit = "space",
     .reach = 100,
     .ours = shared_lifetime},
    {.work = "create + destroy 16 TiB, us, engine of its own",
     ABSOLUTE,
     .unit = "space",
     .reach = 100,
     .ours = own_lifetime},
    {.work = "create + destroy, us, beside 10,000 idle",
     ABSOLUTE,
     .unit = "space",
     .reach = 30,
     .ours = many_lifetime},
    {.work = "write 1 page in each of 4,096 spaces, 1 engine",
     .engine = "thread",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = our_touches,
     .theirs = kernel_touches},
};
const size_t idle_nrows = sizeof(idle_rows) / sizeof(idle_rows[0]);
