/* SPDX-License-Identifier: MIT */
/*
 * madvise, as madvise_walk_vmas and its behaviours (mm/madvise.c): what is
 * mapped in the range is advised, and a hole makes the answer -ENOMEM.
 *
 *     flags      RANDOM, DONTFORK, HUGEPAGE ...   the VMA's, and the host's
 * where it is the one that acts contents   DONTNEED, FREE, REMOVE pages go;
 * faults bring new ones guards     GUARD_INSTALL, GUARD_REMOVE      the host's
 * markers; a map of them keeps installs away the host's WILLNEED, COLD,
 * PAGEOUT, COLLAPSE
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"
#include "mm/advice.h"
#include "pager/pager.h"

/* A child without an engine would find zeros where a pager's bytes belong. */
static bool may_fork(const struct uf_space *space, const struct vma *v)
{
    return v->pager->is_zero || vma_flags_by_kernel(v->flags) ||
           space->config.fork != UF_FORK_ZERO;
}

/* The flags that the advice makes of a VMA's. 0 or -EINVAL. */
static int advised_flags(const struct uf_space *space, const struct vma *v,
                         int advice, uint32_t *ret)
{
    uint32_t flags = v->flags;
    bool anonymous = !(flags & (VMA_HOST | VMA_SHARED));

    switch (advice) {
    case MADV_NORMAL:
        flags &= ~(VMA_RAND_READ | VMA_SEQ_READ);
        break;
    case MADV_SEQUENTIAL:
        flags = (flags & ~VMA_RAND_READ) | VMA_SEQ_READ;
        break;
    case MADV_RANDOM:
        flags = (flags & ~VMA_SEQ_READ) | VMA_RAND_READ;
        break;
    case MADV_DONTFORK:
        flags |= VMA_DONTCOPY;
        break;
    case MADV_DOFORK:
        if (!may_fork(space, v))
            return -EINVAL;
        flags &= ~VMA_DONTCOPY;
        break;
    case MADV_WIPEONFORK:
        if (!anonymous)
            return -EINVAL;
        flags |= VMA_WIPEONFORK;
        break;
    case MADV_KEEPONFORK:
        flags &= ~VMA_WIPEONFORK;
        break;
    case MADV_DONTDUMP:
        flags |= VMA_DONTDUMP;
        break;
    case MADV_DODUMP:
        flags &= ~VMA_DONTDUMP;
        break;
    case MADV_HUGEPAGE:
        flags = (flags & ~VMA_NOHUGEPAGE) | VMA_HUGEPAGE;
        break;
    case MADV_NOHUGEPAGE:
        flags = (flags & ~VMA_HUGEPAGE) | VMA_NOHUGEPAGE;
        break;
    case MADV_MERGEABLE:
        if (!(flags & VMA_SHARED))
            flags |= VMA_MERGEABLE;
        break;
    case MADV_UNMERGEABLE:
        flags &= ~VMA_MERGEABLE;
        break;
    default:
        CHECK(false);
    }
    *ret = flags;
    return 0;
}

/* True if the host acts on the advice, not we. */
static bool is_for_host(const struct uf_space *space, const struct vma *v,
                        int advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_SEQUENTIAL:
    case MADV_RANDOM:
        return (v->flags & VMA_HOST) != 0;
    case MADV_DOFORK:
        return !space->region.dontfork;
    default:
        return true;
    }
}

static int advise_flags(struct uf_space *space, const struct vma *v,
                        struct range part, int advice)
{
    uint32_t flags;
    int err = advised_flags(space, v, advice, &flags);

    if (err)
        return err;
    if (flags == v->flags)
        return 0;
    if (!map_may_split(space, v, part))
        return -EAGAIN; /* madvise(2) has it so, for lack of a record */
    err = vma_set_reserve(&space->vmas, 2);
    if (!err && is_for_host(space, v, advice))
        err = region_advise(&space->region, part, advice);
    if (err)
        return err == -ENOMEM ? -EAGAIN : err;
    map_reflag_locked(space, v, part, flags);
    return 0;
}

/* DONTNEED: the pages go, and a fill that was begun for one is stale. */
static int drop_contents(struct uf_space *space, struct vma *v,
                         struct range part, int advice)
{
    int err = region_advise(&space->region, part, advice);

    if (err)
        return err;
    v->generation = ++space->generation;
    map_note_changed(space, part);
    map_forget_residency(space, part);
    if (space->refused.words)
        resident_clear(&space->refused, part);
    return 0;
}

/* FREE: the kernel takes the pages when it likes, and says nothing. */
static int free_lazily(struct uf_space *space, struct range part)
{
    int err = region_advise(&space->region, part, MADV_FREE);

    if (!err)
        map_note_changed(space, part);
    return err;
}

static int ready_guards(struct uf_space *space)
{
    int err = 0;

    if (!space->has_guards)
        err = resident_init(&space->guards, space->region.range);
    if (!err)
        space->has_guards = true;
    return err;
}

static int install_guards(struct uf_space *space, struct vma *v,
                          struct range part)
{
    int err;

    if (v->flags & (VMA_LOCKED | VMA_CACHE))
        return -EINVAL;
    err = ready_guards(space);
    if (!err)
        err = region_advise(&space->region, part, MADV_GUARD_INSTALL);
    if (err)
        return err;
    v->generation = ++space->generation;
    resident_set(&space->guards, part);
    map_note_changed(space, part);
    map_forget_residency(space, part);
    return 0;
}

static int remove_guards(struct uf_space *space, struct range part)
{
    int err = region_advise(&space->region, part, MADV_GUARD_REMOVE);

    if (!err && space->has_guards)
        resident_clear(&space->guards, part);
    return err;
}

/* madvise_vma_behavior: one VMA's part. */
static int advise_part(struct uf_space *space, struct vma *v, struct range part,
                       int advice)
{
    bool locked = (v->flags & VMA_LOCKED) != 0;
    bool host = (v->flags & VMA_HOST) != 0;

    switch (advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
        if (locked && advice == MADV_DONTNEED)
            return -EINVAL;
        return drop_contents(space, v, part, advice);
    case MADV_FREE:
        return locked || host ? -EINVAL : free_lazily(space, part);
    case MADV_REMOVE:
        if (!locked && (v->flags & VMA_CACHE)) /* no store has holes */
            return (v->flags & VMA_WRITE) ? -EOPNOTSUPP : -EACCES;
        return locked || !host ? -EINVAL
                               : region_advise(&space->region, part, advice);
    case MADV_WILLNEED:
        return host ? region_advise(&space->region, part, advice) : 0;
    case MADV_COLD:
    case MADV_PAGEOUT:
        return locked ? -EINVAL : region_advise(&space->region, part, advice);
    case MADV_COLLAPSE:
        return region_advise(&space->region, part, advice);
    case MADV_GUARD_INSTALL:
        return install_guards(space, v, part);
    case MADV_GUARD_REMOVE:
        return remove_guards(space, part);
    default:
        return advise_flags(space, v, part, advice);
    }
}

static bool is_known(int advice)
{
    return (advice >= MADV_NORMAL && advice <= MADV_DONTNEED) ||
           (advice >= MADV_FREE && advice <= MADV_DOFORK) ||
           (advice >= MADV_MERGEABLE && advice <= MADV_COLLAPSE) ||
           advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE ||
           advice == MADV_GUARD_INSTALL || advice == MADV_GUARD_REMOVE;
}

int space_madvise(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                  int advice)
{
    struct range range, part;
    int err, unmapped = 0;
    struct vma *v;

    if (!is_known(advice))
        return -EINVAL;
    err = map_range_check(addr, len_bytes, &range);
    if (err || range_is_empty(range))
        return err;
    if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
        return -EPERM;
    map_lock(space);
    for (uintptr_t at = range.start; !err && at < range.end; at = part.end) {
        v = vma_set_find(&space->vmas, at);
        part = range;
        if (!v || v->start > at)
            unmapped = -ENOMEM;
        if (!v || v->start >= range.end)
            break;
        part = range_clip(range, vma_range(v));
        part.start = part.start < at ? at : part.start;
        err = advise_part(space, v, part, advice);
    }
    map_unlock(space);
    if (!err && !unmapped)
        COUNT(space->counters, madvises);
    return err ? err : unmapped;
}
