/* SPDX-License-Identifier: MIT */
/*
 * mremap, as mm/mremap.c of Linux 6.18 has it:
 *
 *     same length, FIXED       each mapping of the range moves, gaps and all
 *     FIXED or DONTUNMAP       close the target, shorten, move (mremap_to)
 *     shorter                  unmap the tail
 *     longer                   in place if the mapping ends there and what
 *                              follows is free; else move, if MAYMOVE
 *
 * Checks are here; how a mapping moves or grows in the host is remap_host.c.
 */
#include "mm/remap.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct call {
    struct uf_space *space;
    uintptr_t addr;
    size_t old_len;
    size_t new_len;
    int flags;
    uintptr_t new_addr;
    struct range *populate;
};

static bool implies_new_addr(const struct call *c)
{
    return (c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
}

static bool overlap(const struct call *c)
{
    return c->addr + c->old_len > c->new_addr &&
           c->new_addr + c->new_len > c->addr;
}

/* check_mremap_params */
static int check_params(const struct call *c)
{
    struct range all = c->space->region.range;
    int known = MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP;

    if ((c->flags & ~known) || !is_aligned(c->addr, page_size()) ||
        c->new_len == 0 || c->new_len > all.end)
        return -EINVAL;
    if (!implies_new_addr(c))
        return 0;
    if (c->new_addr > all.end - c->new_len ||
        !is_aligned(c->new_addr, page_size()) || !(c->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((c->flags & MREMAP_DONTUNMAP) && c->old_len != c->new_len)
        return -EINVAL;
    if (overlap(c))
        return -EINVAL;
    if ((c->flags & MREMAP_FIXED) && c->new_addr < all.start)
        return -EINVAL;
    return 0;
}

/* check_prep_vma */
static int check_vma(const struct call *c, const struct vma *v)
{
    size_t old_len = c->old_len, more;

    if (!v)
        return -EFAULT;
    if (c->new_len <= c->old_len && !implies_new_addr(c))
        return 0;
    if (old_len == 0 && !(v->flags & VMA_SHARED))
        return -EINVAL;
    if (c->new_len < old_len)
        old_len = c->new_len;
    if (old_len > map_run_end(c->space, v) - c->addr)
        return -EFAULT;
    if (c->new_len == old_len)
        return 0;
    more = (c->new_len - old_len) / page_size();
    if (!limits_allow_locking_locked(c->space, more, v->flags))
        return -EAGAIN;
    if (!limits_allow_pages_locked(c->space, more, v->flags))
        return -ENOMEM;
    return 0;
}

/* prep_move_vma, copy_vma and what follows. The new address or -errno. */
static intptr_t move(const struct call *c, struct vma *v)
{
    struct uf_space *space = c->space;
    struct remap_move how = {
        .from = {c->addr, c->addr + c->old_len},
        .keep = (c->flags & MREMAP_DONTUNMAP) != 0,
    };
    int map_flags = (c->flags & MREMAP_FIXED) ? MAP_FIXED : 0;
    uintptr_t hint = implies_new_addr(c) ? c->new_addr : 0;
    intptr_t where = map_place_locked(space, hint, c->new_len, map_flags,
                                      !(v->flags & VMA_HOST));
    int err;

    if (where < 0)
        return where;
    if (space->vmas.count + 3 >= space->limit_map_count)
        return -ENOMEM;
    how.to = (struct range){(uintptr_t)where, (uintptr_t)where + c->new_len};
    err = remap_move_locked(space, v, &how);
    if (err)
        return err;
    if (c->new_len > c->old_len && (v->flags & VMA_LOCKED))
        *c->populate = (struct range){how.to.start + c->old_len, how.to.end};
    return where;
}

static int close_part(struct uf_space *space, struct range part)
{
    int err;

    if (part.end < part.start || !range_covers(space->region.range, part))
        return -EINVAL;
    err = vma_set_reserve(&space->vmas, 1);
    return err ? err : map_close_locked(space, part);
}

/* mremap_to */
static intptr_t move_to(struct call *c)
{
    struct uf_space *space = c->space;
    struct vma *v;
    int err = 0;

    if (c->flags & MREMAP_FIXED) {
        struct range target = {c->new_addr, c->new_addr + c->new_len};

        err = close_part(space, target);
    }
    if (!err && c->new_len < c->old_len) {
        err = close_part(
            space, (struct range){c->addr + c->new_len, c->addr + c->old_len});
        c->old_len = c->new_len;
    }
    if (err)
        return err;
    v = vma_set_lookup(&space->vmas, c->addr);
    if (!v)
        return -EFAULT;
    if ((c->flags & MREMAP_DONTUNMAP) &&
        !limits_allow_pages_locked(space, c->old_len / page_size(), v->flags))
        return -ENOMEM;
    return move(c, v);
}

/* DONTUNMAP of [start, end), which is one mapping but for how the host came by
 * it: the limit is compared with all of it, after its target is closed. */
static int check_run(const struct call *c, uintptr_t start, uintptr_t end)
{
    struct uf_space *space = c->space;
    struct range target = {c->new_addr, c->new_addr + (end - start)};
    uint32_t flags = vma_set_find(&space->vmas, start)->flags;
    int err;

    if (!(c->flags & MREMAP_DONTUNMAP))
        return 0;
    err = close_part(space, target);
    if (err)
        return err;
    return limits_allow_pages_locked(space, (end - start) / page_size(), flags)
               ? 0
               : -ENOMEM;
}

/* remap_move: each mapping in the range, with the gaps between them. */
static intptr_t move_all(struct call *c)
{
    uintptr_t end = c->addr + c->old_len, at = c->addr, target = c->new_addr;
    uintptr_t last_end = 0, run_end = 0;
    intptr_t first = -EFAULT;
    bool seen = false;

    while (at < end) {
        struct vma *v = vma_set_find(&c->space->vmas, at);
        struct range part = {at, end};
        intptr_t where;

        if (!v || v->start >= end)
            break;
        if (!seen && v->start > at)
            return -EFAULT;
        part = range_clip(part, vma_range(v));
        c->addr = part.start;
        c->new_addr = target + (seen ? v->start - last_end : 0);
        if (at >= run_end) {
            run_end = map_run_end(c->space, v);
            where = check_run(c, part.start, run_end < end ? run_end : end);
            if (where < 0)
                return where;
            v = vma_set_find(&c->space->vmas, part.start);
        }
        c->old_len = c->new_len = range_len(part);
        last_end = v->end;
        at = part.end;
        where = check_vma(c, v);
        if (!where)
            where = move_to(c);
        if (where < 0)
            return where;
        if (!seen)
            first = where;
        seen = true;
        target = (uintptr_t)where + c->new_len;
    }
    return first;
}

/* expand_vma */
static intptr_t expand(struct call *c, struct vma *v)
{
    struct uf_space *space = c->space;
    uintptr_t end = map_run_end(space, v);
    struct range more = {end, c->addr + c->new_len};

    if (end - c->addr == c->old_len && more.end > more.start &&
        range_covers(space->region.range, more) &&
        !vma_set_find_intersection(&space->vmas, more)) {
        const struct vma *last = vma_set_find_prev(&space->vmas, end);
        bool locked = (last->flags & VMA_LOCKED) != 0;
        int err = remap_lengthen_locked(space, last, more);

        if (err)
            return err;
        if (locked)
            *c->populate = more;
        return (intptr_t)c->addr;
    }
    return (c->flags & MREMAP_MAYMOVE) ? move(c, v) : -ENOMEM;
}

static intptr_t remap_locked(struct call *c)
{
    struct vma *v;
    int err;

    if (implies_new_addr(c) &&
        c->space->vmas.count + 5 >= c->space->limit_map_count)
        return -ENOMEM;
    if ((c->flags & MREMAP_FIXED) && c->old_len == c->new_len)
        return move_all(c);
    v = vma_set_lookup(&c->space->vmas, c->addr);
    err = check_vma(c, v);
    if (err)
        return err;
    if (implies_new_addr(c))
        return move_to(c);
    if (c->new_len > c->old_len)
        return expand(c, v);
    if (c->new_len < c->old_len)
        err = close_part(c->space, (struct range){c->addr + c->new_len,
                                                  c->addr + c->old_len});
    return err ? err : (intptr_t)c->addr;
}

intptr_t space_mremap(struct uf_space *space, uintptr_t addr, size_t old_len,
                      size_t new_len, int flags, uintptr_t new_addr,
                      struct range *ret_populate)
{
    struct call call = {
        .space = space,
        .addr = addr,
        .old_len = align_up(old_len, page_size()),
        .new_len = align_up(new_len, page_size()),
        .flags = flags,
        .new_addr = new_addr,
        .populate = ret_populate,
    };
    intptr_t where = check_params(&call);

    *ret_populate = (struct range){0, 0};
    if (where < 0)
        return where;
    map_lock(space);
    where = remap_locked(&call);
    map_unlock(space);
    if (where >= 0)
        COUNT(space->counters, mremaps);
    return where;
}
