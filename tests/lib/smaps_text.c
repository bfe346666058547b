/* SPDX-License-Identifier: MIT */
/* See smaps_text.h. */
#include "lib/smaps_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"

const char *const smap_fields[SMAP_FIELDS] = {
    "Size:",          "KernelPageSize:", "MMUPageSize:",     "Rss:",
    "Pss:",           "Pss_Dirty:",      "Shared_Clean:",    "Shared_Dirty:",
    "Private_Clean:", "Private_Dirty:",  "Referenced:",      "Anonymous:",
    "KSM:",           "LazyFree:",       "AnonHugePages:",   "ShmemPmdMapped:",
    "FilePmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:", "Swap:",
    "SwapPss:",       "Locked:",         "ProtectionKey:"};

#define FIRST_SUM 3 /* what is in front of Rss is not summed, but for Size */

static bool parse_head(const char *line, struct smap *ret)
{
    unsigned long start, end;
    unsigned long long offset, inode;
    int at = 0;

    *ret = (struct smap){0};
    for (int f = 0; f < SMAP_FIELDS; f++)
        ret->kb[f] = -1;
    if (sscanf(line, "%lx-%lx %4s %llx %15s %llu %n", &start, &end, ret->perms,
               &offset, ret->device, &inode, &at) < 6)
        return false;
    ret->start = start;
    ret->end = end;
    ret->offset = offset;
    ret->inode = inode;
    /* %n passes over a newline, too: then there is no name. */
    if (memchr(line, '\n', (size_t)at))
        return line[at - 1] == '\n' && line[at - 2] == ' ';
    snprintf(ret->name, sizeof(ret->name), "%.*s",
             (int)strcspn(line + at, "\n"), line + at);
    return at >= 73 && line[at - 1] == ' ';
}

static void parse_flags(const char *line, struct smap *map)
{
    char letters[4];
    int n;

    for (line += strlen("VmFlags:");
         sscanf(line, " %3s%n", letters, &n) == 1 && strlen(letters) == 2;
         line += n)
        if (strcmp(letters, "ac") != 0 && strcmp(letters, "um") != 0 &&
            strcmp(letters, "sd") != 0)
            strcat(strcat(map->flags, letters), " ");
}

/* A line of an entry as the kernel pads it: the number ends at column 24. */
static bool parse_field(const char *line, struct smap *map)
{
    for (int f = 0; f < SMAP_FIELDS; f++) {
        size_t len = strlen(smap_fields[f]);

        if (strncmp(line, smap_fields[f], len) != 0)
            continue;
        map->kb[f] = atol(line + len);
        return strcspn(line, "\n") == 27 && strncmp(line + 24, " kB", 3) == 0;
    }
    if (strncmp(line, "VmFlags: ", 9) == 0)
        parse_flags(line, map);
    else
        return strncmp(line, "THPeligible:", 12) == 0;
    return true;
}

size_t smaps_parse(const char *text, uintptr_t from, uintptr_t to,
                   struct smap *ret, size_t max)
{
    struct smap map;
    bool inside = false;
    size_t n = 0;

    for (; *text; text += strcspn(text, "\n") + 1) {
        bool head = strcspn(text, "-") < strcspn(text, " ");

        if (head ? !parse_head(text, &map)
                 : inside && !parse_field(text, &ret[n - 1])) {
            printf("not a line of smaps: %.*s\n", (int)strcspn(text, "\n"),
                   text);
            abort();
        }
        if (!head)
            continue;
        inside = map.start >= from && map.start < to && n < max;
        if (inside)
            ret[n++] = map;
    }
    return n;
}

size_t smaps_of_kernel(uintptr_t from, uintptr_t to, struct smap *ret,
                       size_t max)
{
    size_t room = (size_t)16 << 20, len = 0, n;
    char *text = malloc(room);
    int fd = open("/proc/self/smaps", O_RDONLY);
    ssize_t got;

    while ((got = read(fd, text + len, room - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    n = smaps_parse(text, from, to, ret, max);
    free(text);
    return n;
}

static bool is_one(const struct smap *a, const struct smap *b)
{
    return a->end == b->start && strcmp(a->perms, b->perms) == 0 &&
           strcmp(a->flags, b->flags) == 0 && a->inode == b->inode &&
           strcmp(a->name, b->name) == 0 &&
           (a->inode == 0 || a->offset + (a->end - a->start) == b->offset);
}

static void add(struct smap *a, const struct smap *b)
{
    a->end = b->end;
    a->kb[0] += b->kb[0];
    for (int f = FIRST_SUM; f < SMAP_FIELDS; f++) {
        if (b->kb[f] < 0)
            a->kb[f] = -1;
        else if (a->kb[f] >= 0)
            a->kb[f] += b->kb[f];
    }
}

size_t smaps_join(struct smap *maps, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && is_one(&maps[kept - 1], &maps[i]))
            add(&maps[kept - 1], &maps[i]);
        else
            maps[kept++] = maps[i];
    }
    return kept;
}

long smap_kb(const struct smap *map, const char *label)
{
    for (int f = 0; f < SMAP_FIELDS; f++)
        if (strcmp(smap_fields[f], label) == 0)
            return map->kb[f];
    return -1;
}
