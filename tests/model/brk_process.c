/* SPDX-License-Identifier: MIT */
/*
 * What a side does to its own process without malloc: reads /proc/self, pads
 * what is mapped up to a target, puts pages in the way, sets limits.
 */
#include "model/brk_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/range.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Counts as data in end_data - start_data even when it is unmapped: so either
 * of the kernel's two data checks can be made the stricter one. */
#define BALLAST_BYTES ((size_t)8 << 20)
static char ballast[BALLAST_BYTES] = {1};

struct mapping {
    void *p;
    size_t len_bytes;
};

static struct mapping data_pad, total_pad;

static int read_file(const char *path, char *text, size_t len_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -errno;
    got = read(fd, text, len_bytes - 1);
    close(fd);
    if (got <= 0)
        return -EIO;
    text[got] = '\0';
    return 0;
}

int process_heap(uintptr_t *ret_start, uint64_t *ret_extra)
{
    uint64_t field[48] = {0};
    char text[2048], *at;
    int err = read_file("/proc/self/stat", text, sizeof(text));

    if (err)
        return err;
    at = strrchr(text, ')');
    if (!at)
        return -EPROTO;
    at += 4; /* behind the state's letter: field 4 is next */
    for (int i = 4; i < 48; i++)
        field[i] = strtoull(at, &at, 10);
    *ret_extra = field[46] - field[45];
    *ret_start = field[47];
    return *ret_start ? 0 : -EPERM;
}

void process_drop_ballast(void)
{
    uintptr_t start = align_up((uintptr_t)ballast, page_size());
    uintptr_t end = align_down((uintptr_t)ballast + BALLAST_BYTES, page_size());

    munmap((void *)start, end - start);
}

static uint64_t status_pages(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 / page_size() : 0;
}

int process_belongings(struct belongings *ret)
{
    char text[4096];
    uintptr_t start;
    int err = read_file("/proc/self/status", text, sizeof(text));

    if (err)
        return err;
    err = process_heap(&start, &ret->extra_bytes);
    ret->data_pages = status_pages(text, "VmData:");
    ret->total_pages = status_pages(text, "VmSize:");
    return err;
}

static int map_pages(struct mapping *mapping, uint64_t npages, int prot)
{
    if (npages == 0)
        return 0;
    mapping->len_bytes = npages * page_size();
    mapping->p = mmap(NULL, mapping->len_bytes, prot,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping->p == MAP_FAILED) {
        *mapping = (struct mapping){NULL, 0};
        return -errno;
    }
    return 0;
}

static void unmap_pages(struct mapping *mapping)
{
    if (mapping->p)
        munmap(mapping->p, mapping->len_bytes);
    *mapping = (struct mapping){NULL, 0};
}

void process_unpad(void)
{
    unmap_pages(&data_pad);
    unmap_pages(&total_pad);
}

int process_pad(const struct run_config *config)
{
    struct belongings now;
    int err;

    process_unpad();
    err = process_belongings(&now);
    if (err)
        return err;
    if (now.data_pages > config->data_pages)
        return -ERANGE;
    now.total_pages += config->data_pages - now.data_pages;
    if (now.total_pages > config->total_pages)
        return -ERANGE;
    err = map_pages(&data_pad, config->data_pages - now.data_pages,
                    PROT_READ | PROT_WRITE);
    if (!err)
        err = map_pages(&total_pad, config->total_pages - now.total_pages,
                        PROT_READ);
    return err;
}

int process_put_page(uintptr_t address)
{
    void *p = mmap((void *)address, page_size(), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    return p == MAP_FAILED ? -errno : 0;
}

void process_take_page(uintptr_t address)
{
    munmap((void *)address, page_size());
}

static void set_soft(int which, uint64_t bytes)
{
    struct rlimit limit;

    getrlimit((__rlimit_resource_t)which, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit((__rlimit_resource_t)which, &limit);
}

void process_limit(uint64_t data, uint64_t as)
{
    set_soft(RLIMIT_DATA, data);
    set_soft(RLIMIT_AS, as);
}
