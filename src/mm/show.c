/* SPDX-License-Identifier: MIT */
/*
 * What a person can see of a space: a walk, a text, a snapshot.
 *
 * The walk copies one VMA at a time under the lock and calls the visitor
 * without it, going on from the address where the last one ended; so a visitor
 * may call anything, and a map that changes meanwhile cannot trap it.
 */
#include "mm/space.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "pager/pager.h"

static bool holds_heap(const struct uf_space *space, const struct vma *v)
{
    return v->start < space->brk && v->end > space->start_brk;
}

/* VMA_* as UF_VMA_*. */
static uint32_t info_flags(const struct uf_space *space, const struct vma *v)
{
    static const uint32_t names[][2] = {
        {VMA_LOCKED, UF_VMA_LOCKED},
        {VMA_SHARED, UF_VMA_SHARED},
        {VMA_GROWSDOWN, UF_VMA_GROWSDOWN},
        {VMA_HOST, UF_VMA_KERNEL},
        {VMA_LOCKONFAULT, UF_VMA_LOCKONFAULT},
        {VMA_NORESERVE, UF_VMA_NORESERVE},
        {VMA_DONTCOPY, UF_VMA_DONTFORK},
        {VMA_WIPEONFORK, UF_VMA_WIPEONFORK},
        {VMA_DONTDUMP, UF_VMA_DONTDUMP},
        {VMA_HUGEPAGE, UF_VMA_HUGEPAGE},
        {VMA_NOHUGEPAGE, UF_VMA_NOHUGEPAGE},
        {VMA_MERGEABLE, UF_VMA_MERGEABLE},
        {VMA_SEQ_READ, UF_VMA_SEQUENTIAL},
        {VMA_RAND_READ, UF_VMA_RANDOM},
    };
    uint32_t flags = holds_heap(space, v) ? UF_VMA_HEAP : 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (v->flags & names[i][0])
            flags |= names[i][1];
    return flags;
}

/* The first VMA that ends above addr, as the visitor wants it. The pager is
 * referenced, so that its name outlives the lock. */
static bool copy_next(struct uf_space *space, uintptr_t addr,
                      struct uf_vma_info *ret, struct uf_pager **ret_pager)
{
    struct vma *v;

    rwlock_take_read(&space->map_lock);
    v = vma_set_find(&space->vmas, addr);
    if (v) {
        *ret_pager = pager_ref(v->pager);
        *ret = (struct uf_vma_info){
            .size = sizeof(*ret),
            .start = v->start < addr ? addr : v->start,
            .end = v->end,
            .prot = vma_prot(v),
            .flags = info_flags(space, v),
            .offset = v->offset + (v->start < addr ? addr - v->start : 0),
            .pager = v->pager->name,
        };
    }
    rwlock_release(&space->map_lock);
    return v != NULL;
}

int space_walk(struct uf_space *space,
               int (*visit)(void *data, const struct uf_vma_info *vma),
               void *data)
{
    struct uf_vma_info info;
    struct uf_pager *pager;
    uintptr_t addr = 0;
    int rc = 0;

    while (rc == 0 && copy_next(space, addr, &info, &pager)) {
        rc = visit(data, &info);
        pager_unref(pager);
        addr = info.end;
    }
    return rc;
}

struct text {
    char *at;
    size_t room;   /* bytes left, the final NUL included */
    size_t length; /* of the whole text */
    bool full;     /* a line did not fit: nothing more is written */
};

/* One line in the format of show_map_vma (fs/proc/task_mmu.c): the name begins
 * at column 73. Anonymous memory has offset 0 there; a pager has an offset. */
static int print_line(void *data, const struct uf_vma_info *v)
{
    struct text *text = data;
    bool heap = (v->flags & UF_VMA_HEAP) != 0;
    bool zero = strcmp(v->pager, "zero") == 0;
    char line[160];
    int n = snprintf(line, sizeof(line), "%08lx-%08lx %c%c%cp %08llx 00:00 0 ",
                     (unsigned long)v->start, (unsigned long)v->end,
                     (v->prot & PROT_READ) ? 'r' : '-',
                     (v->prot & PROT_WRITE) ? 'w' : '-',
                     (v->prot & PROT_EXEC) ? 'x' : '-',
                     zero ? 0ull : (unsigned long long)v->offset);
    size_t len;

    if (heap || !zero)
        n += snprintf(line + n, sizeof(line) - (size_t)n, "%*s[%s]",
                      n < 73 ? 73 - n : 1, "", heap ? "heap" : v->pager);
    n += snprintf(line + n, sizeof(line) - (size_t)n, "\n");
    len = (size_t)n;
    text->length += len;
    if (text->full || len >= text->room) {
        text->full = true;
        return 0;
    }
    memcpy(text->at, line, len + 1);
    text->at += len;
    text->room -= len;
    return 0;
}

ssize_t space_maps(struct uf_space *space, char *text, size_t len_bytes)
{
    struct text out = {.at = text, .room = len_bytes};

    if (len_bytes > 0)
        text[0] = '\0';
    space_walk(space, print_line, &out);
    return (ssize_t)out.length;
}

/* What threads were woken for is counted on return. */
static void await_settled(const struct uf_space *space)
{
    while (atomic_load(&space->unsettled) != 0)
        sched_yield();
}

size_t space_thread_stats(struct uf_space *space,
                          struct uf_thread_stats *threads, size_t max)
{
    await_settled(space);
    return thread_table_copy(&space->threads, threads, max);
}

void space_stats(struct uf_space *space, struct uf_stats *stats)
{
    await_settled(space);
    counters_snapshot(space->counters, stats);
}
