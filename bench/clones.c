/* SPDX-License-Identifier: MIT */
/*
 * Clones of a template of 64 MiB: what a reset costs, what a first read of a
 * page costs, what one takes that is idle.
 */
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/mman.h"
#include "ufault/template.h"
#include "ufault/ufault.h"

#define LEN    ((size_t)64 << 20)
#define CLONES 1000
#define DIRTY  20 /* one page in so many is written */

static size_t page;

/* A template whose every page holds something. */
static struct uf_template *the_template(void)
{
    static struct uf_template *t;
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = LEN + ((size_t)1 << 20)};
    struct uf_space *space;
    char *p;

    page = (size_t)sysconf(_SC_PAGESIZE);
    if (t)
        return t;
    if (uf_space_create(&opts, &space) != 0)
        return NULL;
    p = (char *)uf_sbrk(space, (intptr_t)LEN);
    for (size_t at = 0; at < LEN; at += page)
        p[at] = 1;
    if (uf_template_create(space, &t) != 0)
        puts("# no template");
    uf_space_destroy(space);
    return t;
}

static struct uf_space *a_clone(void)
{
    static struct uf_engine *engine;
    static pid_t pid; /* a forked child has none of its parent's */
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *space = NULL;

    if (pid != getpid() && uf_engine_create(NULL, &engine) != 0)
        return NULL;
    pid = getpid();
    opts.engine = engine;
    uf_space_from_template(the_template(), &opts, &space);
    return space;
}

/* The same pages each time, far from each other. */
static void dirty(char *p)
{
    uint64_t state = 5;

    for (size_t i = 0; i < LEN / page / DIRTY; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[(state >> 33) % (LEN / page) * page + 64] = 7;
    }
}

static bool reset(const struct row *row, struct sample *ret)
{
    static struct uf_space *space;
    double cpu, wall;
    int err;

    (void)row;
    if (!space)
        space = a_clone();
    if (!space)
        return false;
    dirty((char *)uf_space_base(space));
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    err = uf_space_reset(space);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return err == 0;
}

static char *kernel_copy(void)
{
    static char *p;

    if (!p) {
        p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        madvise(p, LEN, MADV_NOHUGEPAGE);
        memset(p, 1, LEN);
    }
    return p;
}

static bool copy_all(const struct row *row, struct sample *ret)
{
    static char *to;
    char *from = kernel_copy();
    double cpu, wall;

    (void)row;
    the_template();
    if (!to) {
        to = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(to, LEN, MADV_NOHUGEPAGE);
        memset(to, 2, LEN);
    }
    dirty(to);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    memcpy(to, from, LEN);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return true;
}

/* The kernel's ABI, which older headers lack: PAGEMAP_SCAN. */
struct scan_region {
    __u64 start, end, categories;
};

struct scan {
    __u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
    __u64 inverted, mask, anyof, return_mask;
};

#define FILE_PAGE  (1u << 2)
#define PRESENT    (1u << 3)
#define SWAPPED    (1u << 4)
#define SCAN_IOCTL _IOWR('f', 16, struct scan)

/* Nothing but the scan and the copies, in a mapping of a memfd. */
static void scan_and_copy(int pagemap, char *p, const char *from)
{
    static struct scan_region regions[512];
    struct scan s = {.size = sizeof(s),
                     .start = (uintptr_t)p,
                     .end = (uintptr_t)p + LEN,
                     .vec = (uintptr_t)regions,
                     .vec_len = 512,
                     .inverted = FILE_PAGE,
                     .mask = FILE_PAGE,
                     .anyof = PRESENT | SWAPPED,
                     .return_mask = PRESENT};

    while (s.start < s.end) {
        int n = ioctl(pagemap, SCAN_IOCTL, &s);

        for (int i = 0; i < n; i++) {
            size_t at = (size_t)(regions[i].start - (uintptr_t)p);

            memcpy(p + at, from + at,
                   (size_t)(regions[i].end - regions[i].start));
        }
        if (n < 0)
            break;
        s.start = s.walk_end;
    }
}

static int a_memfd(void)
{
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("bench", MFD_CLOEXEC);
        if (write(fd, kernel_copy(), LEN) != (ssize_t)LEN)
            puts("# no memory for a memfd");
    }
    return fd;
}

static bool bare_scan(const struct row *row, struct sample *ret)
{
    static char *p;
    static int pagemap = -1;
    double cpu, wall;

    (void)row;
    the_template();
    if (!p) {
        p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, a_memfd(), 0);
        pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    }
    if (p == MAP_FAILED || pagemap < 0)
        return false;
    dirty(p);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    scan_and_copy(pagemap, p, kernel_copy());
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return true;
}

static void read_all(const volatile char *p, struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();

    for (size_t at = 0; at < LEN; at += page)
        (void)p[at];
    ret->wall_us = (bench_wall_us() - wall) / (double)(LEN / page);
    ret->cpu_us = (bench_cpu_us() - cpu) / (double)(LEN / page);
}

static bool read_clone(const struct row *row, struct sample *ret)
{
    struct uf_space *space = a_clone();

    (void)row;
    if (!space)
        return false;
    read_all((char *)uf_space_base(space), ret);
    uf_space_destroy(space);
    return true;
}

static bool read_tmpfs(const struct row *row, struct sample *ret)
{
    char *p;

    (void)row;
    the_template();
    p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, a_memfd(), 0);
    if (p == MAP_FAILED)
        return false;
    read_all(p, ret);
    munmap(p, LEN);
    return true;
}

/* KiB of memory of each, the page tables with it. */
static double tables_kib(void)
{
    FILE *in = fopen("/proc/self/status", "r");
    char line[128];
    double kib = 0;

    while (in && fgets(line, sizeof(line), in))
        sscanf(line, "VmPTE: %lf", &kib);
    if (in)
        fclose(in);
    return kib;
}

static bool many(const struct row *row, struct sample *ret)
{
    static struct uf_space *clones[CLONES];
    double before;
    bool ok = the_template() != NULL;

    (void)row;
    uf_space_destroy(a_clone()); /* the engine */
    before = bench_resident_kib() + tables_kib();
    for (size_t i = 0; i < CLONES; i++)
        ok = (clones[i] = a_clone()) && ok;
    ret->wall_us = (bench_resident_kib() + tables_kib() - before) / CLONES;
    for (size_t i = 0; i < CLONES; i++)
        uf_space_destroy(clones[i]);
    return ok;
}

static bool many_clones(const struct row *row, struct sample *ret)
{
    return bench_in_child(many, row, ret);
}

/* A request's worth: a ready clone, 16 pages written, given back. */
static bool pool_turn(const struct row *row, struct sample *ret)
{
    static struct uf_pool *pool;
    struct uf_space *space;
    double cpu, wall;

    (void)row;
    if (!pool && uf_pool_create(the_template(), NULL, 2, &pool) != 0)
        return false;
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    for (int i = 0; i < 50; i++) {
        char *p;

        if (uf_pool_get(pool, &space) != 0)
            return false;
        p = (char *)uf_space_base(space);
        for (size_t n = 0; n < 256; n++)
            (void)((volatile char *)p)[n * 31 * page];
        for (size_t n = 0; n < 16; n++)
            p[n * 97 * page] = 3;
        uf_pool_put(pool, space);
    }
    ret->wall_us = (bench_wall_us() - wall) / 50;
    ret->cpu_us = (bench_cpu_us() - cpu) / 50;
    return true;
}

/* The same in a mapping that is made and filled for each. */
static bool copy_turn(const struct row *row, struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();
    char *p;

    (void)row;
    the_template();
    p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (p == MAP_FAILED)
        return false;
    memcpy(p, kernel_copy(), LEN);
    for (size_t n = 0; n < 16; n++)
        p[n * 97 * page] = 3;
    munmap(p, LEN);
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return true;
}

#define RESET "reset of 64 MiB, 5 % of it written"

const struct row clone_rows[] = {
    {.work = RESET,
     .engine = "template",
     .baseline = "copy all",
     .unit = "reset",
     .reach = 1.0 / 30,
     .ours = reset,
     .theirs = copy_all},
    {.work = RESET,
     .engine = "template",
     .baseline = "scan, copy",
     .unit = "reset",
     .reach = 1.5,
     .ours = reset,
     .theirs = bare_scan},
    {.work = "first read of a clone's pages, in memory",
     .engine = "template",
     .baseline = "tmpfs",
     .unit = "page",
     .reach = 1.5,
     .ours = read_clone,
     .theirs = read_tmpfs},
    {.work = "request on a pooled clone: 1 MiB read, 64 KiB written",
     .engine = "template",
     .baseline = "mmap, copy",
     .unit = "request",
     .reach = 0.1,
     .ours = pool_turn,
     .theirs = copy_turn},
    {.work = "clean clone of 64 MiB: KiB each, 1,000 of them",
     .engine = "template",
     .baseline = "absolute",
     .unit = "KiB",
     .reach = 32,
     .ours = many_clones},
};
const size_t clone_nrows = sizeof(clone_rows) / sizeof(clone_rows[0]);
