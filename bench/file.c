/* SPDX-License-Identifier: MIT */
/*
 * The pager of a store: first reads of a file that is in the page cache,
 * against pread(2) of the same bytes into fresh memory, which is the least
 * that any pager pays that copies. In order: by calls of 1 MiB; at random: by
 * calls of a page, in the order of the touches, which follow. The file is made
 * once, in /tmp.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "ufault/ufault.h"

#define MARGIN_BYTES ((size_t)64 << 10)
#define PAGE_BYTES   4096

int file_made(void)
{
    static int fd = -1;
    char path[] = "/tmp/ufault-bench-XXXXXX", *bytes;

    if (fd >= 0)
        return fd;
    bytes = malloc(MIB);
    fd = mkstemp(path);
    if (fd < 0 || !bytes) {
        perror("# no file in /tmp");
        free(bytes);
        return -1;
    }
    unlink(path);
    for (size_t at = 0; at < FILE_BYTES; at += MIB) {
        memset(bytes, (int)(at / MIB) + 1, MIB);
        if (pwrite(fd, bytes, MIB, (off_t)at) != (ssize_t)MIB) {
            perror("# no room in /tmp");
            close(fd);
            fd = -1;
            break;
        }
    }
    free(bytes);
    if (fd >= 0)
        fdatasync(fd); /* what is written back later would disturb */
    return fd;
}

/* -------------------------------------------------------------------- ours -- */

/* One of each kind, and one that is bound, for all turns. */
static struct uf_engine *engine_of(enum uf_engine_kind kind, int cpu)
{
    static struct uf_engine *engines[2][2];
    struct uf_engine **engine = &engines[kind == UF_ENGINE_SIGNAL][cpu >= 0];
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .cpu_plus_one = (uint32_t)(cpu + 1),
                                  .kind = kind};
    int err = *engine ? 0 : uf_engine_create(&opts, engine);

    if (err)
        printf("# no engine: %s\n", strerror(-err));
    return *engine;
}

static struct uf_pager *file_pager(void)
{
    static struct uf_pager *pager;
    struct uf_store *store;

    if (pager || uf_store_fd(file_made(), 0, &store) != 0)
        return pager;
    if (uf_store_uring_error(store))
        printf("# no io_uring: %s\n", strerror(-uf_store_uring_error(store)));
    if (uf_pager_store(store, 0, &pager) != 0)
        printf("# no pager\n");
    uf_store_unref(store);
    return pager;
}

static bool map(const struct wish *wish, enum uf_engine_kind kind,
                struct memory *ret)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = wish->len_bytes + MARGIN_BYTES,
        .engine = engine_of(kind, wish->cpu),
        .window_pages = wish->window,
    };
    intptr_t base;

    if (!file_pager() || !opts.engine ||
        uf_space_create(&opts, &ret->space) != 0)
        return false;
    base = uf_mmap_pager(ret->space, 0, wish->len_bytes, PROT_READ, MAP_PRIVATE,
                         file_pager(), 0);
    ret->base = (char *)base;
    ret->len_bytes = wish->len_bytes;
    if (base > 0)
        return true;
    printf("# no mapping: %s\n", strerror((int)-base));
    return false;
}

static bool map_thread(const struct wish *wish, struct memory *ret)
{
    return map(wish, UF_ENGINE_THREAD, ret);
}

static bool map_signal(const struct wish *wish, struct memory *ret)
{
    return map(wish, UF_ENGINE_SIGNAL, ret);
}

static void unmap(struct memory *memory)
{
    uf_space_destroy(memory->space);
}

static const struct server file_thread = {.map = map_thread, .unmap = unmap};
static const struct server file_signal = {.map = map_signal, .unmap = unmap};

/* ------------------------------------------------------------------ theirs -- */

static bool map_fresh(const struct wish *wish, struct memory *ret)
{
    *ret =
        (struct memory){kernel_memory(wish->len_bytes), wish->len_bytes, NULL};
    return ret->base && file_made() >= 0;
}

static uint32_t *order;
static size_t norder;

/* The order is made off the clock, once. */
static bool map_fresh_random(const struct wish *wish, struct memory *ret)
{
    if (!order)
        order =
            pattern_make(ORDER_RANDOM, wish->len_bytes / PAGE_BYTES, &norder);
    return order && map_fresh(wish, ret);
}

static void unmap_fresh(struct memory *memory)
{
    munmap(memory->base, memory->len_bytes);
}

static void read_at(const struct memory *memory, size_t at, size_t len)
{
    if (pread(file_made(), memory->base + at, len, (off_t)at) != (ssize_t)len)
        abort();
}

static void read_all(const struct memory *memory)
{
    for (size_t at = 0; at < memory->len_bytes; at += MIB)
        read_at(memory, at, MIB);
}

static void read_pages(const struct memory *memory)
{
    for (size_t i = 0; i < norder; i++)
        read_at(memory, (size_t)order[i] * PAGE_BYTES, PAGE_BYTES);
}

static const struct server pread_all = {
    .map = map_fresh, .unmap = unmap_fresh, .begin = read_all};
static const struct server pread_pages = {
    .map = map_fresh_random, .unmap = unmap_fresh, .begin = read_pages};

#define CACHED .baseline = "pread", .unit = "page", .len_bytes = FILE_BYTES

const struct row file_rows[] = {
    {.work = "cached file, sequential read",
     .engine = "thread",
     CACHED,
     .reach = 1.15,
     TOUCH(file_thread, pread_all, .access = ACCESS_READ)},
    {.work = "cached file, sequential read",
     .engine = "signal",
     CACHED,
     .reach = 1.15,
     TOUCH(file_signal, pread_all, .access = ACCESS_READ)},
    {.work = "cached file, random read, 1 page per fault",
     .engine = "signal",
     CACHED,
     .window = 1,
     .reach = 2.0,
     TOUCH(file_signal, pread_pages, .order = ORDER_RANDOM,
           .access = ACCESS_READ)},
    {.work = "cached file, random read, 1 page per fault, same CPU",
     .engine = "thread",
     CACHED,
     .window = 1,
     .reach = 2.5,
     TOUCH(file_thread, pread_pages, .order = ORDER_RANDOM,
           .access = ACCESS_READ, .bound = true)},
};
const size_t file_nrows = sizeof(file_rows) / sizeof(file_rows[0]);
