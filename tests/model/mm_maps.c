/* SPDX-License-Identifier: MIT */
/*
 * The kernel's word on the range's mappings: PROCMAP_QUERY for bounds and
 * protections after every operation, /proc/self/smaps for flags and
 * /proc/self/status for totals now and then. No malloc: the process is full.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

/* linux/fs.h of 6.11. */
struct query {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start;
    uint64_t vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
};

#define QUERY          _IOWR('f', 17, struct query)
#define QUERY_OR_NEXT  0x10u
#define QUERY_SHARED   0x08u
#define QUERY_READ     0x01u
#define QUERY_WRITE    0x02u
#define QUERY_EXECUTE  0x04u
#define SMAPS_CHUNK    (64u << 10)
#define LINE_MAX_BYTES 512u

static int maps_fd = -1, smaps_fd = -1, status_fd = -1;

int mm_maps_open(void)
{
    maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    smaps_fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    return maps_fd < 0 || smaps_fd < 0 || status_fd < 0 ? -errno : 0;
}

int mm_maps_list(uintptr_t base, uintptr_t end, struct mm_map *maps)
{
    struct query query = {.size = sizeof(query), .query_flags = QUERY_OR_NEXT};
    int n = 0;

    for (uintptr_t at = base; at < end; at = query.vma_end) {
        query.query_addr = at;
        if (ioctl(maps_fd, QUERY, &query) < 0)
            return errno == ENOENT ? n : -errno;
        if (query.vma_start >= end)
            break;
        if (n == MAPS_MAX)
            return -E2BIG;
        maps[n++] = (struct mm_map){
            .start = query.vma_start,
            .end = query.vma_end,
            .offset = query.inode ? query.vma_offset : 0,
            .prot = (uint32_t)query.vma_flags &
                    (QUERY_READ | QUERY_WRITE | QUERY_EXECUTE),
            .flags = (query.vma_flags & QUERY_SHARED ? UF_VMA_SHARED : 0) |
                     (query.inode ? UF_VMA_KERNEL : 0),
        };
    }
    return n;
}

/* ---------------------------------------------------------------- flags -- */

static const struct {
    char name[3];
    uint32_t flag;
} names[] = {
    {"lo", UF_VMA_LOCKED},     {"gd", UF_VMA_GROWSDOWN},
    {"nr", UF_VMA_NORESERVE},  {"dc", UF_VMA_DONTFORK},
    {"wf", UF_VMA_WIPEONFORK}, {"dd", UF_VMA_DONTDUMP},
    {"hg", UF_VMA_HUGEPAGE},   {"nh", UF_VMA_NOHUGEPAGE},
    {"mg", UF_VMA_MERGEABLE},  {"sr", UF_VMA_SEQUENTIAL},
    {"rr", UF_VMA_RANDOM},     {"lf", UF_VMA_LOCKONFAULT},
};

static uint32_t parse_flags(const char *text)
{
    uint32_t flags = 0;

    for (; text[0] > ' ' && text[1] > ' '; text += text[2] == ' ' ? 3 : 2)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (memcmp(text, names[i].name, 2) == 0)
                flags |= names[i].flag;
    return flags;
}

/* What smaps has told so far of the mappings in the list. */
struct reading {
    struct mm_map *maps;
    int nmaps;
    int nth;   /* mapping that the lines are about, nmaps: none */
    int found; /* with flags */
    int after; /* mappings behind the last found */
};

static void read_line(struct reading *reading, const char *line)
{
    char *at;
    uintptr_t start;

    if (strncmp(line, "VmFlags: ", 9) == 0) {
        if (reading->nth < reading->nmaps) {
            reading->maps[reading->nth].flags |= parse_flags(line + 9);
            reading->found++;
            reading->after = reading->nth + 1;
        }
        return;
    }
    if (line[0] >= 'A' && line[0] <= 'Z')
        return;
    start = strtoull(line, &at, 16);
    if (*at != '-')
        return;
    reading->nth = reading->after < reading->nmaps &&
                           reading->maps[reading->after].start == start
                       ? reading->after
                       : reading->nmaps;
    if (reading->nth < reading->nmaps && strstr(at, "[heap]"))
        reading->maps[reading->nth].flags |= UF_VMA_HEAP;
}

int mm_maps_flags(uintptr_t base, uintptr_t end, struct mm_map *maps, int nmaps)
{
    static char text[LINE_MAX_BYTES + SMAPS_CHUNK + 1];
    struct reading reading = {.maps = maps, .nmaps = nmaps, .nth = nmaps};
    size_t kept = 0;
    ssize_t got;

    (void)base;
    (void)end;
    if (lseek(smaps_fd, 0, SEEK_SET) < 0)
        return -errno;
    while (reading.found < nmaps &&
           (got = read(smaps_fd, text + kept, SMAPS_CHUNK)) > 0) {
        char *line = text, *newline;

        text[kept + (size_t)got] = '\0';
        while ((newline = strchr(line, '\n')) != NULL) {
            *newline = '\0';
            read_line(&reading, line);
            line = newline + 1;
        }
        kept = strlen(line);
        if (kept > LINE_MAX_BYTES)
            return -EPROTO;
        memmove(text, line, kept);
    }
    return reading.found == nmaps ? 0 : -EPROTO;
}

/* --------------------------------------------------------------- totals -- */

static uint64_t status_pages(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 / page_size() : 0;
}

int mm_maps_gauges(uint64_t *ret_gauges)
{
    static char text[8192];
    ssize_t got;

    if (lseek(status_fd, 0, SEEK_SET) < 0)
        return -errno;
    got = read(status_fd, text, sizeof(text) - 1);
    if (got <= 0)
        return -EIO;
    text[got] = '\0';
    ret_gauges[MM_TOTAL] = status_pages(text, "VmSize:");
    ret_gauges[MM_DATA] = status_pages(text, "VmData:");
    ret_gauges[MM_STACK] = status_pages(text, "VmStk:");
    ret_gauges[MM_EXEC] =
        status_pages(text, "VmExe:") + status_pages(text, "VmLib:");
    ret_gauges[MM_LOCKED] = status_pages(text, "VmLck:");
    return 0;
}
