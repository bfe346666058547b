/* SPDX-License-Identifier: MIT */
/*
 * What a space costs that nobody touches. Memory is what this process has more
 * resident afterwards, per space: our records, stacks and tables; the kernel's
 * own (VMA, page tables, descriptors) is not in it. These rows are absolute.
 */
#include <stdio.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/ufault.h"

#define SPACES 256

static double resident_kib(void)
{
    unsigned long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    int n = f ? fscanf(f, "%lu %lu", &total, &resident) : 0;

    if (f)
        fclose(f);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024 : 0;
}

static struct uf_space *one_space(struct uf_engine *engine, size_t len_bytes)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = len_bytes, .engine = engine};
    struct uf_space *space = NULL;

    uf_space_create(&opts, &space);
    return space;
}

/* KiB per idle space; with engines of their own, or all on one. */
static bool memory(struct sample *ret, bool shared)
{
    static struct uf_space *spaces[SPACES];
    struct uf_engine *engine = NULL;
    double before;

    if (shared && uf_engine_create(NULL, &engine) != 0)
        return false;
    before = resident_kib();
    for (int i = 0; i < SPACES; i++) {
        spaces[i] = one_space(engine, (size_t)64 << 30);
        if (!spaces[i])
            return false;
    }
    ret->wall_us = (resident_kib() - before) / SPACES;
    ret->cpu_us = ret->wall_us;
    for (int i = 0; i < SPACES; i++)
        uf_space_destroy(spaces[i]);
    uf_engine_destroy(engine);
    return true;
}

/* Freed records are used again, so only a process's first spaces show what
 * they cost: each measurement is a child of its own. */
static bool in_child(struct sample *ret, bool shared)
{
    int fds[2];
    pid_t pid;
    ssize_t n;

    if (pipe(fds) < 0)
        return false;
    pid = fork();
    if (pid == 0) {
        bool ok = memory(ret, shared);

        if (ok)
            n = write(fds[1], ret, sizeof(*ret));
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], ret, sizeof(*ret));
    close(fds[0]);
    return n == (ssize_t)sizeof(*ret);
}

static bool shared_memory(const struct row *row, struct sample *ret)
{
    (void)row;
    return in_child(ret, true);
}

static bool own_memory(const struct row *row, struct sample *ret)
{
    (void)row;
    return in_child(ret, false);
}

/* Microseconds for create + destroy of 16 TiB. */
static bool lifetime(struct sample *ret, struct uf_engine *engine)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();

    for (int i = 0; i < SPACES; i++)
        uf_space_destroy(one_space(engine, (size_t)16 << 40));
    ret->wall_us = (bench_wall_us() - wall) / SPACES;
    ret->cpu_us = (bench_cpu_us() - cpu) / SPACES;
    return true;
}

static bool shared_lifetime(const struct row *row, struct sample *ret)
{
    static struct uf_engine *engine;

    (void)row;
    if (!engine && uf_engine_create(NULL, &engine) != 0)
        return false;
    return lifetime(ret, engine);
}

static bool own_lifetime(const struct row *row, struct sample *ret)
{
    (void)row;
    return lifetime(ret, NULL);
}

const struct row idle_rows[] = {
    {.work = "idle space: KiB of our memory, shared engine",
     .engine = "thread",
     .baseline = "absolute",
     .unit = "KiB",
     .reach = 16,
     .ours = shared_memory},
    {.work = "idle space: KiB of our memory, engine of its own",
     .engine = "thread",
     .baseline = "absolute",
     .unit = "KiB",
     .reach = 16,
     .ours = own_memory},
    {.work = "create + destroy 16 TiB, us, shared engine",
     .engine = "thread",
     .baseline = "absolute",
     .unit = "space",
     .reach = 100,
     .ours = shared_lifetime},
    {.work = "create + destroy 16 TiB, us, engine of its own",
     .engine = "thread",
     .baseline = "absolute",
     .unit = "space",
     .reach = 100,
     .ours = own_lifetime},
};
const size_t idle_nrows = sizeof(idle_rows) / sizeof(idle_rows[0]);
