/* SPDX-License-Identifier: MIT */
/*
 * The mappings as lines of /proc/PID/maps (show_map_vma, fs/proc/task_mmu.c):
 *
 *     start-end perms offset major:minor inode    name, at column 73
 *
 *     anonymous memory     offset 0, device 00:00, no name, or [heap]
 *     a pager's memory     the pager's offset and [name]
 *     what the kernel serves   as the kernel shows its own mapping there: the
 *                          file's device, inode, offset and path
 */
#include "mm/show.h"

#include <errno.h>
#include <stdio.h>

#include "base/slab.h"
#include "pager/pager.h"

/* `n` bytes of the line are there: the name comes behind blanks. */
static size_t add_name(char *line, size_t n, const char *before,
                       const char *name, const char *after)
{
    return n + (size_t)snprintf(line + n, MAPS_LINE_BYTES - n, "%*s%s%s%s",
                                n < 73 ? (int)(73 - n) : 1, "", before, name,
                                after);
}

size_t maps_line(char *line, const struct shown *shown,
                 const struct host_vma *host)
{
    const struct vma *v = &shown->vma;
    bool served = vma_flags_by_kernel(v->flags);
    uint64_t offset = v->pager->is_zero ? 0 : v->offset;
    size_t n;

    if (!served)
        host = NULL;
    if (host)
        offset = host->offset + (v->start - host->range.start);
    n = (size_t)snprintf(
        line, MAPS_LINE_BYTES, "%08lx-%08lx %c%c%c%c %08llx %02x:%02x %llu ",
        (unsigned long)v->start, (unsigned long)v->end,
        (v->flags & VMA_READ) ? 'r' : '-', (v->flags & VMA_WRITE) ? 'w' : '-',
        (v->flags & VMA_EXEC) ? 'x' : '-', (v->flags & VMA_SHARED) ? 's' : 'p',
        (unsigned long long)offset, host ? host->major : 0,
        host ? host->minor : 0, host ? (unsigned long long)host->inode : 0ull);
    if (host && host->name[0])
        n = add_name(line, n, "", host->name, "");
    else if (shown->heap && !served)
        n = add_name(line, n, "[", "heap", "]");
    else if (!served && !v->pager->is_zero)
        n = add_name(line, n, "[", v->pager->name, "]");
    line[n++] = '\n';
    line[n] = '\0';
    return n;
}

static void write_lines(struct uf_space *space, struct hostmap *map, char *line,
                        struct text *out)
{
    struct shown shown;
    uintptr_t addr = 0;

    while (show_next(space, addr, &shown)) {
        bool served = vma_flags_by_kernel(shown.vma.flags);

        maps_line(line, &shown,
                  served && map ? hostmap_find(map, shown.vma.start) : NULL);
        text_add(out, line);
        addr = shown.vma.end;
        show_done(&shown);
    }
}

ssize_t space_maps(struct uf_space *space, char *text, size_t len_bytes)
{
    char *line = slab_pages(MAPS_LINE_BYTES);
    struct hostmap *map = NULL;
    struct text out;

    if (!line)
        return -ENOMEM;
    /* Without /proc the lines have no paths. */
    if (hostmap_open(&map) == -ENOMEM) {
        slab_pages_free(line, MAPS_LINE_BYTES);
        return -ENOMEM;
    }
    text_init(&out, text, len_bytes);
    write_lines(space, map, line, &out);
    hostmap_close(map);
    slab_pages_free(line, MAPS_LINE_BYTES);
    return (ssize_t)out.length;
}
