/* SPDX-License-Identifier: MIT */
/*
 * A space with the huge policy; see servers.h. The pool is as large as the
 * memory, so that every fault finds a page that was made ready before. What
 * making them ready takes is counted as CPU time: the pool is full before and
 * after the touches, so it is paid for once, whenever that is.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "servers.h"
#include "ufault/ufault.h"

#define HUGE_BYTES   ((size_t)2 << 20)
#define MARGIN_BYTES ((size_t)64 << 10) /* beyond the heap: its guard gap */
#define WAIT_US      10e6

static bool pool_gets_ready(const struct memory *memory)
{
    struct uf_stats stats = {.size = sizeof(stats)};
    double begun = bench_wall_us();

    while (bench_wall_us() - begun < WAIT_US) {
        if (uf_space_stats(memory->space, &stats) == 0 &&
            stats.huge_pool_ready >= memory->len_bytes / HUGE_BYTES)
            return true;
        usleep(500);
    }
    printf("# the pool of huge pages does not get ready: %d of %zu\n",
           (int)stats.huge_pool_ready, memory->len_bytes / HUGE_BYTES);
    return false;
}

/* One engine for each size of the pool would do; all rows have the same. */
static struct uf_engine *engine_with_pool(size_t len_bytes)
{
    static struct uf_engine *engine;
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .huge_pool_bytes = len_bytes};

    if (!engine && uf_engine_create(&opts, &engine) != 0)
        return NULL;
    return engine;
}

/* The heap of a space, from the first multiple of 2 MiB in it. */
static bool map(const struct wish *wish, struct memory *ret)
{
    size_t heap_bytes = wish->len_bytes + HUGE_BYTES;
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = heap_bytes + MARGIN_BYTES,
        .engine = engine_with_pool(wish->len_bytes),
        .flags = UF_SPACE_HUGE,
        .window_pages = wish->window,
    };
    intptr_t heap;
    int err;

    if (!opts.engine)
        return false;
    err = uf_space_create(&opts, &ret->space);
    if (err) {
        printf("# no space: %s\n", strerror(-err));
        return false;
    }
    heap = uf_sbrk(ret->space, (intptr_t)heap_bytes);
    ret->base = (char *)heap + -(uintptr_t)heap % HUGE_BYTES;
    ret->len_bytes = wish->len_bytes;
    if (heap > 0 && pool_gets_ready(ret))
        return true;
    uf_space_destroy(ret->space);
    return false;
}

static void unmap(struct memory *memory)
{
    uf_space_destroy(memory->space);
}

static void settle(const struct memory *memory)
{
    pool_gets_ready(memory);
}

const struct server ours_huge = {.map = map, .unmap = unmap, .settle = settle};
