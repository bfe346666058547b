/* SPDX-License-Identifier: MIT */
/* See mapping_out.h. */
#include "run/mapping_out.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/space.h"
#include "run/mapping.h"
#include "run/raw.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

intptr_t mapping_move_out(uintptr_t old, size_t old_len, size_t new_len,
                          int flags, uintptr_t to)
{
    if (old_len != new_len)
        return -ENOMEM;
    if (raw_calls.mremap(at(old), old_len, new_len, flags | MREMAP_DONTUNMAP,
                         at(to)) == MAP_FAILED)
        return -errno;
    if (!(flags & MREMAP_DONTUNMAP))
        uf_munmap(mapping.space, old, old_len);
    return (intptr_t)to;
}

/* Is [range) one mapping that a copy can stand for? */
static bool is_plain(struct uf_space *space, struct range range, int *ret_prot)
{
    const struct vma *v, *next;
    bool plain;

    rwlock_take_read(&space->map_lock);
    v = vma_set_lookup(&space->vmas, range.start);
    plain =
        v && (v->flags & VMA_READ) && !(v->flags & (VMA_ON_HOST & ~VMA_MOVED));
    if (plain)
        *ret_prot = vma_prot(v);
    while (plain && v->end < range.end) {
        next = vma_set_next(&space->vmas, v);
        plain = next && next->start == v->end && vma_are_alike(v, next);
        v = next;
    }
    rwlock_release(&space->map_lock);
    return plain;
}

/* What was never touched is zero at its new place, too. */
static void copy_touched(struct uf_space *space, struct range from, char *to)
{
    for (size_t i = 0; i < range_len(from); i += page_size())
        if (!space->region.uffd ||
            resident_test(&space->resident, from.start + i))
            memcpy(to + i, at(from.start + i), page_size());
}

intptr_t mapping_copy_out(uintptr_t old, size_t old_len, size_t new_len)
{
    struct range from = {old, old + align_up(old_len, page_size())};
    int prot = PROT_NONE;
    void *to;

    if (old_len == 0 || new_len < old_len ||
        !is_plain(mapping.space, from, &prot))
        return -ENOMEM;
    to = raw_calls.mmap(NULL, new_len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (to == MAP_FAILED)
        return -ENOMEM;
    copy_touched(mapping.space, from, to);
    if (prot != (PROT_READ | PROT_WRITE) &&
        raw_calls.mprotect(to, new_len, prot) < 0) {
        raw_calls.munmap(to, new_len);
        return -ENOMEM;
    }
    uf_munmap(mapping.space, old, range_len(from));
    return (intptr_t)to;
}
