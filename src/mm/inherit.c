/* SPDX-License-Identifier: MIT */
/*
 * What a forked child finds of a space: the kernel's copy of the host's memory,
 * less what advice kept out, and no locks (dup_mmap, kernel/fork.c).
 *
 *     MADV_DONTFORK     not there: its place is reserved again
 *     MADV_WIPEONFORK   there, empty
 *     mlock             not inherited
 */
#include "mm/map.h"

#include "base/check.h"
#include "mm/shared.h"

/* In the child the host has a hole there. */
static void lose(struct uf_space *space, const struct vma *v)
{
    struct range part = vma_range(v);

    if (vma_set_reserve(&space->vmas, 1) != 0)
        return; /* a touch is a SIGSEGV all the same */
    region_renew(&space->region, part);
    limits_account_locked(space, -(ssize_t)(range_len(part) / page_size()),
                          v->flags);
    map_forget_residency(space, part);
    vma_set_remove(&space->vmas, part, ++space->generation);
}

static void inherit_vma(struct uf_space *space, const struct vma *v)
{
    if ((v->flags & VMA_DONTCOPY) && !space->region.dontfork) {
        lose(space, v);
        return;
    }
    if (v->flags & VMA_WIPEONFORK)
        map_forget_residency(space, vma_range(v));
    if ((v->flags & VMA_LOCK_MASK) && vma_set_reserve(&space->vmas, 2) == 0)
        map_reflag_locked(space, v, vma_range(v), v->flags & ~VMA_LOCK_MASK);
}

void space_inherit(struct uf_space *space)
{
    uintptr_t at = 0;
    const struct vma *v;

    space->def_flags = 0;
    while ((v = vma_set_find(&space->vmas, at)) != NULL) {
        at = v->end;
        inherit_vma(space, v);
    }
    GAUGE_SET(space->counters, map_count, space->vmas.count);
    vma_free_graves(vma_set_take_graves(&space->vmas));
}

int space_register(struct uf_space *space)
{
    struct range rest = space_registrable(space);
    const struct vma *v;
    int err = 0;

    for (v = vma_set_find(&space->vmas, 0); v && !err;
         v = vma_set_next(&space->vmas, v)) {
        if (!(v->flags & VMA_HOST))
            continue;
        if (v->start > rest.start)
            err = region_register(&space->region,
                                  (struct range){rest.start, v->start});
        if (!err && (v->flags & VMA_CACHE))
            err = shared_register(space, v);
        rest.start = v->end;
    }
    if (!err && rest.start < rest.end)
        err = region_register(&space->region, rest);
    return err;
}
