/* SPDX-License-Identifier: MIT */
/*
 * Spaces of ufault; see servers.h. One engine of each kind, one whose handler is
 * bound and one with two descriptors serve all rows and turns; a space is made
 * for each.
 */
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "servers.h"
#include "ufault/ufault.h"

#define MARGIN_BYTES ((size_t)64 << 10) /* beyond the heap: its guard gap */

enum which { THREAD, SIGNAL, TWO_DESCRIPTORS, WHICH };

static struct uf_engine *engine_of(enum which which, int cpu)
{
    static struct uf_engine *engines[WHICH][2];
    static pid_t pid; /* a forked child has none of its parent's */
    struct uf_engine **engine = &engines[which][cpu >= 0];
    struct uf_engine_opts opts = {
        .size = sizeof(opts),
        .cpu_plus_one = (uint32_t)(cpu + 1),
        .kind = which == SIGNAL ? UF_ENGINE_SIGNAL : UF_ENGINE_THREAD,
        .ndescriptors = which == TWO_DESCRIPTORS ? 2 : 1,
    };
    int err;

    if (pid != getpid())
        memset(engines, 0, sizeof(engines));
    pid = getpid();
    err = *engine ? 0 : uf_engine_create(&opts, engine);
    if (err)
        printf("# no engine: %s\n", strerror(-err));
    return *engine;
}

static bool map(const struct wish *wish, enum which which, struct memory *ret)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = wish->len_bytes + MARGIN_BYTES,
        .engine = engine_of(which, wish->cpu),
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
    heap = uf_sbrk(ret->space, (intptr_t)wish->len_bytes);
    ret->base = (char *)heap;
    ret->len_bytes = wish->len_bytes;
    return heap > 0;
}

static bool map_thread(const struct wish *wish, struct memory *ret)
{
    return map(wish, THREAD, ret);
}

static bool map_signal(const struct wish *wish, struct memory *ret)
{
    return map(wish, SIGNAL, ret);
}

static bool map_two(const struct wish *wish, struct memory *ret)
{
    return map(wish, TWO_DESCRIPTORS, ret);
}

static void unmap(struct memory *memory)
{
    uf_space_destroy(memory->space);
}

static void populate(const struct memory *memory)
{
    uf_populate(memory->space, (uintptr_t)memory->base, memory->len_bytes);
}

const struct server ours_thread = {.map = map_thread, .unmap = unmap};
const struct server ours_signal = {.map = map_signal, .unmap = unmap};
const struct server ours_two = {.map = map_two, .unmap = unmap};
const struct server ours_populate = {
    .map = map_thread, .unmap = unmap, .begin = populate};
