/* SPDX-License-Identifier: MIT */
/*
 * What a program can see of a space: a walk, a snapshot. See show.h.
 *
 * The walk copies one VMA at a time under the lock and calls the visitor
 * without it, going on from the address where the last one ended; so a visitor
 * may call anything, and a map that changes meanwhile cannot trap it.
 */
#include "mm/show.h"

#include <sched.h>
#include <string.h>

#include "pager/pager.h"

/* vma_is_initial_heap of <linux/mm.h>. */
static bool holds_heap(const struct uf_space *space, const struct vma *v)
{
    return v->start < space->brk && v->end > space->start_brk;
}

uint32_t show_flags(uint32_t vma_flags)
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
    uint32_t flags = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (vma_flags & names[i][0])
            flags |= names[i][1];
    if (!vma_flags_by_kernel(vma_flags))
        flags &= ~(uint32_t)UF_VMA_KERNEL;
    return flags;
}

bool show_next(struct uf_space *space, uintptr_t addr, struct shown *ret)
{
    const struct vma *v;

    rwlock_take_read(&space->map_lock);
    v = vma_set_find(&space->vmas, addr);
    if (v) {
        *ret = (struct shown){.vma = *v, .heap = holds_heap(space, v)};
        pager_ref(v->pager); /* its name outlives the lock */
    }
    rwlock_release(&space->map_lock);
    if (!v)
        return false;
    if (ret->vma.start < addr) {
        ret->vma.offset = vma_offset_at(&ret->vma, addr);
        ret->vma.start = addr;
    }
    return true;
}

void show_done(struct shown *shown)
{
    pager_unref(shown->vma.pager);
}

int space_walk(struct uf_space *space,
               int (*visit)(void *data, const struct uf_vma_info *vma),
               void *data)
{
    struct shown shown;
    uintptr_t addr = 0;
    int rc = 0;

    while (rc == 0 && show_next(space, addr, &shown)) {
        const struct vma *v = &shown.vma;
        struct uf_vma_info info = {
            .size = sizeof(info),
            .start = v->start,
            .end = v->end,
            .prot = vma_prot(v),
            .flags =
                (show_flags(shown.vma.flags) | (shown.heap ? UF_VMA_HEAP : 0)),
            .offset = v->offset,
            .pager = v->pager->name,
        };

        rc = visit(data, &info);
        addr = v->end;
        show_done(&shown);
    }
    return rc;
}

void text_init(struct text *text, char *buffer, size_t len_bytes)
{
    *text = (struct text){.at = buffer, .room = len_bytes};
    if (len_bytes > 0)
        buffer[0] = '\0';
}

void text_add(struct text *text, const char *piece)
{
    size_t len = strlen(piece);

    text->length += len;
    if (text->full || len >= text->room) {
        text->full = true;
        return;
    }
    memcpy(text->at, piece, len + 1);
    text->at += len;
    text->room -= len;
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
