/* SPDX-License-Identifier: MIT */
/*
 * A file on a disk, read past the page cache from front to back: first touches
 * of memory that the pager of a store fills, against what fio(1) gets from the
 * same file in blocks of the same size, as many in flight. It tells whether the
 * disk ever waits for us: fio's reads never stop, ours are a window at a time,
 * and one ahead.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "ufault/store.h"
#include "ufault/ufault.h"

#define MARGIN_BYTES ((size_t)64 << 10)
#define WINDOW_PAGES 512

static bool give_up(const char *what, int err)
{
    printf("# %s: %s\n", what, strerror(-err));
    return false;
}

static bool evict(int fd)
{
    return fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
}

/* -------------------------------------------------------------------- ours -- */

static bool map_direct(const struct wish *wish, struct memory *ret)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = wish->len_bytes + MARGIN_BYTES,
                                 .window_pages = wish->window};
    struct uf_store *store;
    struct uf_pager *pager;
    intptr_t base;
    int err;

    if (!evict(file_made()))
        return false;
    err = uf_store_fd(file_made(), UF_STORE_DIRECT, &store);
    if (err)
        return give_up("no direct I/O", err);
    err = uf_pager_store(store, 0, &pager);
    uf_store_unref(store);
    if (err)
        return give_up("no pager", err);
    err = uf_space_create(&opts, &ret->space);
    if (err) {
        uf_pager_unref(pager);
        return give_up("no space", err);
    }
    base = uf_mmap_pager(ret->space, 0, wish->len_bytes, PROT_READ, MAP_PRIVATE,
                         pager, 0);
    uf_pager_unref(pager);
    ret->base = (char *)base;
    ret->len_bytes = wish->len_bytes;
    return base > 0 || give_up("no mapping", (int)base);
}

static void unmap(struct memory *memory)
{
    uf_space_destroy(memory->space);
}

static const struct server direct = {.map = map_direct, .unmap = unmap};

/* ------------------------------------------------------------------- fio's -- */

/* The seventh field of its terse line is KiB a second. */
static bool fio_rate(FILE *fio, double *ret_kib)
{
    char line[4096], *field = line;

    if (!fgets(line, sizeof(line), fio))
        return false;
    for (int i = 1; field && i < 7; i++) {
        field = strchr(field, ';');
        field = field ? field + 1 : NULL;
    }
    return field && sscanf(field, "%lf", ret_kib) == 1 && *ret_kib > 0;
}

static bool by_fio(const struct row *row, struct sample *ret)
{
    char command[512];
    double kib = 0;
    bool ok;
    FILE *fio;

    if (!evict(file_made()))
        return false;
    snprintf(command, sizeof(command),
             "fio --name=cold --filename=/proc/%d/fd/%d --size=%zu --rw=read "
             "--direct=1 --readonly --ioengine=io_uring --bs=128k --iodepth=16 "
             "--output-format=terse 2>/dev/null",
             (int)getpid(), file_made(), row->len_bytes);
    fio = popen(command, "r");
    ok = fio && fio_rate(fio, &kib);
    if (fio)
        pclose(fio);
    if (!ok) {
        printf("# no fio, or it cannot read the file so\n");
        return false;
    }
    *ret = (struct sample){.wall_us = 4 / kib * 1e6};
    return true;
}

/* At least 0.9 of its rate. */
const struct row cold_rows[] = {
    {.work = "cold file, direct, sequential read",
     .engine = "thread",
     .baseline = "fio",
     .unit = "page",
     .len_bytes = FILE_BYTES,
     .window = WINDOW_PAGES,
     .reach = 1.11,
     .ours = touch_ours,
     .theirs = by_fio,
     .touch =
         &(const struct touch){.ours = {&direct, 0}, .access = ACCESS_READ}},
    {.work = "cold file, direct, sequential read, adaptive windows",
     .engine = "thread",
     .baseline = "fio",
     .unit = "page",
     .len_bytes = FILE_BYTES,
     .reach = 1.11,
     .ours = touch_ours,
     .theirs = by_fio,
     .touch =
         &(const struct touch){.ours = {&direct, 0}, .access = ACCESS_READ}},
};
const size_t cold_nrows = sizeof(cold_rows) / sizeof(cold_rows[0]);
