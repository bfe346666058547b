/* SPDX-License-Identifier: MIT */
/*
 * prog_limits WHAT: a program that sets its own limits and looks where they
 * bite, in MiB.
 *
 *     data     RLIMIT_DATA: the break alone, to the byte
 *     as       RLIMIT_AS: growth of the break, rounded
 *     malloc   how much malloc gives under the limit the program came with
 *     zero     RLIMIT_DATA of nothing: refused, also downwards; then lifted
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static void set_soft(__rlimit_resource_t which, size_t bytes)
{
    struct rlimit limit;

    getrlimit(which, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit(which, &limit);
}

/* By how many steps the break can be moved up. */
static size_t grow(size_t step)
{
    size_t n = 0;

    while (n < 4096 && sbrk((intptr_t)step) != (void *)-1)
        n++;
    return n;
}

static size_t address_space(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    size_t pages = 0;

    if (fscanf(f, "%zu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * 4096;
}

static int data(void)
{
    set_soft(RLIMIT_DATA, 64 * MIB);
    printf("64 MiB: %zu MiB\n", grow(MIB));
    set_soft(RLIMIT_DATA, 96 * MIB);
    printf("96 MiB: %zu MiB more\n", grow(MIB));
    set_soft(RLIMIT_DATA, 32 * MIB);
    printf("32 MiB: %zu MiB more\n", grow(MIB));
    printf("down by 1: %s\n",
           sbrk(-(intptr_t)MIB) == (void *)-1 ? "refused" : "moved");
    return 0;
}

static int address(void)
{
    size_t now = address_space();

    set_soft(RLIMIT_AS, now + 64 * MIB);
    printf("64 MiB more: %zu MiB\n", grow(MIB));
    set_soft(RLIMIT_AS, RLIM_INFINITY);
    printf("no limit: %zu MiB\n", grow(MIB));
    return 0;
}

/* Blocks that come from the break. */
static int by_malloc(void)
{
    size_t n = 0;

    mallopt(M_MMAP_MAX, 0);
    while (n < 4096) {
        char *p = malloc(MIB);

        if (!p)
            break;
        memset(p, 1, MIB);
        n++;
    }
    printf("%zu MiB\n", n);
    return 0;
}

static int zero(void)
{
    char *was = sbrk(100000);

    set_soft(RLIMIT_DATA, 0);
    printf("up: %s\n", brk(was + 200000) == 0 ? "moved" : "refused");
    printf("down: %s\n", brk(was + 50000) == 0 ? "moved" : "refused");
    set_soft(RLIMIT_DATA, RLIM_INFINITY);
    printf("up: %s\n", brk(was + 200000) == 0 ? "moved" : "refused");
    was[199999] = 1;
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static char buffer[4096];

    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    if (strcmp(what, "data") == 0)
        return data();
    if (strcmp(what, "as") == 0)
        return address();
    if (strcmp(what, "malloc") == 0)
        return by_malloc();
    if (strcmp(what, "zero") == 0)
        return zero();
    return 2;
}
