/* SPDX-License-Identifier: MIT */
/*
 * Moving and growing; see remap.h.
 *
 *     reserved memory                     what the kernel serves
 *     1 open the longer tail, closed      1 move, growing on the way
 *     2 close `from`: touches wait or die
 *     3 move its pages (DONTUNMAP)
 *     4 register `to`: from now on its faults are ours (region_move)
 *     5 open `to`
 *     6 `from` is closed and empty: as reserved, but for a state of its own
 *
 * Between 3 and 4 a fault at the new place would be answered by the kernel,
 * with zeros, whatever the pager says; so `to` stays closed until 5.
 */
#include "mm/remap.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"
#include "mm/advice.h"
#include "mm/shared.h"
#include "pager/mapped.h"
#include "pager/pager.h"

/* Opens `more` of the reservation as memory with these flags. */
static int open_more(struct uf_space *space, struct range more, uint32_t flags,
                     int prot)
{
    int err = 0;

    if (!range_is_empty(space->region.lost))
        err = region_recover(&space->region, more);
    if (!err && (prot != PROT_NONE || space->pages.stack > 0))
        err = region_protect(&space->region, more, prot);
    if (!err && (flags & VMA_ON_HOST)) {
        err = map_give_state(space, more, flags);
        if (err)
            map_give_back(space, more);
    }
    return err;
}

/* The bits of [from) go to [to). */
static void move_bits(struct resident *r, struct range from, struct range to)
{
    size_t page = page_size();

    if (!resident_any(r, from))
        return;
    for (size_t at = 0; at < range_len(from); at += page) {
        uintptr_t src = from.start + at, dst = to.start + at;

        if (!resident_test(r, src))
            continue;
        resident_clear(r, (struct range){src, src + page});
        resident_set(r, (struct range){dst, dst + page});
    }
}

/* Steps 2 to 5. */
static int move_reserved(struct uf_space *space, const struct vma *v,
                         struct range from, struct range to)
{
    struct region *region = &space->region;
    int err = region_protect(region, from, PROT_NONE);

    to.end = to.start + range_len(from);
    map_note_changed(space, from);
    map_note_changed(space, to);
    if (!err) {
        err = region_move(region, from, to);
        if (!err) {
            err = region_protect(region, to, vma_prot(v));
            if (err)
                region_move(region, to, from);
        }
        if (err)
            region_renew(region, to);
    }
    if (err) {
        map_restore_protection(space, from);
        return -ENOMEM;
    }
    move_bits(&space->resident, from, to);
    if (space->has_guards)
        move_bits(&space->guards, from, to);
    return 0;
}

static int move_anonymous(struct uf_space *space, const struct vma *v,
                          const struct remap_move *move)
{
    size_t len = range_len(move->from);
    struct range more = {move->to.start + len, move->to.end};
    bool longer = !range_is_empty(more);
    int err = 0;

    if (longer)
        err = open_more(space, more, v->flags & ~VMA_MOVED, vma_prot(v));
    if (err)
        return -ENOMEM;
    err = move_reserved(space, v, move->from, move->to);
    if (err && longer)
        map_give_back(space, more);
    return err;
}

/*
 * A mapping of a cache is made anew at its new place: the bytes are where they
 * are. What was written through the old one is known to that alone.
 */
static int move_cached(struct uf_space *space, const struct vma *v,
                       const struct remap_move *move)
{
    struct range from = move->from;
    bool goes = !move->keep && !range_is_empty(from);
    struct vma made = *v;
    int err = 0;

    made.start = move->to.start;
    made.end = move->to.end;
    made.offset = vma_offset_at(v, from.start);
    if (goes)
        err = region_protect(&space->region, from, PROT_NONE);
    if (!err)
        err = shared_open_locked(space, &made);
    if (err) {
        map_restore_protection(space, from);
        return -ENOMEM;
    }
    if (!goes)
        return 0;
    shared_collect_locked(space, v, from);
    move_bits(&space->resident, from, move->to);
    if (space->refused.words)
        resident_clear(&space->refused, from);
    return 0;
}

static int move_served(struct uf_space *space, const struct vma *v,
                       const struct remap_move *move)
{
    struct region *region = &space->region;
    bool same = range_len(move->from) == range_len(move->to);

    if (v->flags & VMA_CACHE)
        return move_cached(space, v, move);
    if (same)
        return region_move_served(region, move->from, move->to);
    if (range_is_empty(move->from))
        return region_copy_shared(region, move->from.start, move->to);
    return region_move_longer(region, move->from, move->to);
}

static bool any_moved(const struct uf_space *space, struct range part)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, part);

    for (; v && v->start < part.end; v = vma_set_next(&space->vmas, v))
        if (v->flags & VMA_MOVED)
            return true;
    return false;
}

/* After the move: what `from` is now, in the host and in the set. The new place
 * is in the set already, or it would be closed as a gap below a stack. */
static void settle_source(struct uf_space *space, const struct remap_move *move)
{
    struct range from = move->from, hull = stack_hull_locked(space, from);
    struct vma *v = vma_set_lookup(&space->vmas, from.start);
    bool renew =
        (v->flags & VMA_ON_HOST & ~VMA_MOVED) || any_moved(space, from);

    if (move->keep) {
        /* The kernel unlocks it. Its registration is still there. */
        if (!(v->flags & VMA_HOST))
            region_protect(&space->region, from, vma_prot(v));
        v->generation = ++space->generation;
        if (v->flags & VMA_LOCK_MASK)
            map_reflag_locked(space, v, from, v->flags & ~VMA_LOCK_MASK);
        return;
    }
    if (renew)
        map_give_back(space, from);
    vma_set_remove(&space->vmas, from, ++space->generation);
    stack_open_reach_locked(space, hull, from);
}

static void insert_part(struct uf_space *space, const struct vma *part)
{
    vma_set_insert(&space->vmas, part);
    limits_account_locked(space,
                          (ssize_t)(range_len(vma_range(part)) / page_size()),
                          part->flags);
}

/* Puts what `from` has become at its new place into the set: both parts before
 * gaps below stacks are looked at, since the host has both open. */
static void insert_moved(struct uf_space *space, const struct vma *like,
                         const struct remap_move *move)
{
    struct range hull = stack_hull_locked(space, move->to);
    struct vma moved = *like, tail;
    uintptr_t cut = move->to.start + range_len(move->from);

    moved.start = move->to.start;
    moved.end = move->to.end;
    moved.generation = ++space->generation;
    if (!(like->flags & VMA_HOST)) {
        tail = moved;
        tail.start = cut;
        tail.offset = vma_offset_at(&moved, cut);
        tail.flags &= ~VMA_MOVED;
        moved.end = cut;
        moved.flags |= VMA_MOVED;
        if (tail.start < tail.end)
            insert_part(space, &tail);
    }
    insert_part(space, &moved);
    stack_open_reach_locked(space, hull, move->to);
}

int remap_move_locked(struct uf_space *space, struct vma *v,
                      const struct remap_move *move)
{
    struct vma like = *v;
    int err = vma_set_reserve(&space->vmas, 4);

    if (err)
        return err;
    like.offset = vma_offset_at(v, move->from.start);
    pager_ref(like.pager); /* `from` may hold the only one */
    err = (v->flags & VMA_HOST) ? move_served(space, v, move)
                                : move_anonymous(space, v, move);
    if (!err && (v->flags & VMA_HOST) && space->has_guards)
        move_bits(&space->guards, move->from, move->to);
    if (!err) {
        /* First, so that no peak counts both places. */
        if (!move->keep)
            limits_account_locked(
                space, -(ssize_t)(range_len(move->from) / page_size()),
                like.flags);
        insert_moved(space, &like, move);
        if (!range_is_empty(move->from))
            settle_source(space, move);
    }
    pager_unref(like.pager);
    return err == -EFAULT || err == -EINVAL ? -ENOMEM : err;
}

/* What another thread's mmap put into the region while it had a hole: nobody's,
 * but its place is taken. */
static void note_intruder(struct uf_space *space, struct range place)
{
    struct vma vma = {
        .start = place.start,
        .end = place.end,
        .flags = VMA_HOST | VMA_DONTDUMP,
        .pager = pager_mapped_create(-1),
        .generation = space->generation,
    };

    if (!vma.pager)
        return;
    map_insert_locked(space, &vma);
    pager_unref(vma.pager);
}

static int lengthen_served(struct uf_space *space, const struct vma *v,
                           struct range more)
{
    struct range whole = {v->end - page_size(), more.end};
    int err = region_lengthen(&space->region, whole, page_size(),
                              (v->flags & VMA_SHARED) != 0);

    if (err == -EEXIST)
        note_intruder(space, more);
    return err ? -ENOMEM : 0;
}

int remap_lengthen_locked(struct uf_space *space, const struct vma *v,
                          struct range more)
{
    struct vma add = *v;
    int err = vma_set_reserve(&space->vmas, 1);

    if (err)
        return err;
    add.start = more.start;
    add.end = more.end;
    add.offset = v->offset + (v->end - v->start);
    add.flags &= ~VMA_MOVED;
    add.generation = space->generation;
    if (v->flags & VMA_CACHE)
        err = shared_open_locked(space, &add);
    else if (v->flags & VMA_HOST)
        err = lengthen_served(space, v, more);
    else
        err = open_more(space, more, add.flags, vma_prot(v));
    if (err)
        return -ENOMEM;
    map_insert_locked(space, &add);
    return 0;
}
