/* SPDX-License-Identifier: MIT */
/* The kernel's own first touches; see servers.h. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include "servers.h"

#define HUGE_BYTES ((size_t)2 << 20)

char *kernel_memory(size_t len_bytes)
{
    char *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("# mmap");
        return NULL;
    }
    madvise(p, len_bytes, MADV_NOHUGEPAGE);
    return p;
}

static bool map_4k(const struct wish *wish, struct memory *ret)
{
    *ret =
        (struct memory){kernel_memory(wish->len_bytes), wish->len_bytes, NULL};
    return ret->base;
}

static void unmap(struct memory *memory)
{
    munmap(memory->base, memory->len_bytes);
}

/* At a multiple of 2 MiB, so that all of it can be huge pages. */
static bool map_thp(const struct wish *wish, struct memory *ret)
{
    size_t len = wish->len_bytes, head;
    char *p = kernel_memory(len + HUGE_BYTES);

    if (!p)
        return false;
    head = -(uintptr_t)p % HUGE_BYTES;
    if (head > 0)
        munmap(p, head);
    if (head < HUGE_BYTES)
        munmap(p + head + len, HUGE_BYTES - head);
    *ret = (struct memory){p + head, len, NULL};
    if (madvise(ret->base, len, MADV_HUGEPAGE) == 0)
        return true;
    perror("# no transparent huge pages");
    unmap(ret);
    return false;
}

static void populate(const struct memory *memory)
{
    if (madvise(memory->base, memory->len_bytes, MADV_POPULATE_WRITE) < 0)
        perror("# MADV_POPULATE_WRITE");
}

const struct server kernel_4k = {.map = map_4k, .unmap = unmap};
const struct server kernel_thp = {.map = map_thp, .unmap = unmap};
const struct server kernel_populate = {
    .map = map_4k, .unmap = unmap, .begin = populate};
