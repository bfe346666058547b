/* SPDX-License-Identifier: MIT */
/* See hostmap.h: which file lies behind an address. */
#include "host/hostmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/slab.h"
#include "host/lines.h"
#include "host/proc_abi.h"

struct hostmap {
    bool no_query;
    bool any; /* vma holds a line */
    struct host_vma vma;
    char path[4096 + 16]; /* as PROCMAP_QUERY gives it */
    struct lines lines;   /* of maps; its descriptor is asked, too */
};

/* The number at *at, which moves to behind the one byte that follows it. */
static uint64_t number(const char **at, int base)
{
    char *end;
    uint64_t value = strtoull(*at, &end, base);

    *at = *end ? end + 1 : end;
    return value;
}

/* start-end perms offset major:minor inode       name */
bool host_vma_parse(const char *line, struct host_vma *ret)
{
    const char *at = line;
    size_t digits = strspn(line, "0123456789abcdef");

    if (digits == 0 || line[digits] != '-')
        return false;
    ret->range.start = (uintptr_t)number(&at, 16);
    ret->range.end = (uintptr_t)number(&at, 16);
    at = strchr(at, ' ');
    if (!at)
        return false;
    at++;
    ret->offset = number(&at, 16);
    ret->major = (uint32_t)number(&at, 16);
    ret->minor = (uint32_t)number(&at, 16);
    ret->inode = number(&at, 10);
    at += strspn(at, " ");
    ret->name[0] = '\0';
    strncat(ret->name, at, sizeof(ret->name) - 1);
    return true;
}

int hostmap_open(struct hostmap **ret)
{
    struct hostmap *map = slab_pages(sizeof(*map));
    int err;

    if (!map)
        return -ENOMEM;
    err = lines_open(&map->lines, "/proc/thread-self/maps");
    if (err) {
        slab_pages_free(map, sizeof(*map));
        return err;
    }
    *ret = map;
    return 0;
}

void hostmap_close(struct hostmap *map)
{
    if (!map)
        return;
    lines_close(&map->lines);
    slab_pages_free(map, sizeof(*map));
}

void hostmap_forbid_query(struct hostmap *map)
{
    map->no_query = true;
}

/* As maps writes a path: a newline is \012. */
static void escape(char *to, const char *from)
{
    for (; *from; from++) {
        if (*from == '\n') {
            memcpy(to, "\\012", 4);
            to += 4;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

/* 0; -ENOENT: nothing is there; else: it cannot be asked so. */
static int query(struct hostmap *map, uintptr_t addr)
{
    struct map_query q = {
        .size = sizeof(q),
        .query_addr = addr,
        .vma_name_addr = (uintptr_t)map->path,
        .vma_name_size = sizeof(map->path) - 1,
    };

    if (ioctl(map->lines.fd, MAP_QUERY_IOCTL, &q) < 0)
        return -errno;
    if (q.vma_name_size == 0)
        map->path[0] = '\0';
    map->vma.range =
        (struct range){(uintptr_t)q.vma_start, (uintptr_t)q.vma_end};
    map->vma.offset = q.vma_offset;
    map->vma.major = q.dev_major;
    map->vma.minor = q.dev_minor;
    map->vma.inode = q.inode;
    escape(map->vma.name, map->path);
    return 0;
}

static const struct host_vma *read_lines(struct hostmap *map, uintptr_t addr)
{
    while (!map->any || map->vma.range.end <= addr) {
        const char *line = lines_next(&map->lines);

        if (!line)
            return NULL;
        map->any = host_vma_parse(line, &map->vma);
    }
    return range_contains(map->vma.range, addr) ? &map->vma : NULL;
}

const struct host_vma *hostmap_find(struct hostmap *map, uintptr_t addr)
{
    int err;

    if (!map->no_query) {
        err = query(map, addr);
        if (!err)
            return &map->vma;
        if (err == -ENOENT)
            return NULL;
        map->no_query = true;
    }
    return read_lines(map, addr);
}
