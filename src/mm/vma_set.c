/* SPDX-License-Identifier: MIT */
/*
 * vma_set: what VMAs mean to each other: neighbours merge, ranges are cut out.
 *
 *     bounds.start                                          bounds.end
 *     |   gap   [ A      ][ B  ]     gap     [ C  ]   last gap      |
 *               ^start   ^end                ^start
 *               gap before A   0 before B    gap before C
 *
 * The tree (vma_tree.h) files each VMA under its start with the gap before it;
 * only the last gap is nobody's, and is looked at by itself. Every change here
 * is made of three moves on the tree (insert, remove, and a start or gap that
 * changes), and ends by putting right the gap of the first VMA behind it.
 *
 * The alternative was to keep the gaps as entries of their own (as the kernel's
 * maple tree does): one structure fewer to think of, but twice the entries, and
 * each munmap an insert.
 */
#include "mm/vma_set.h"

#include "base/check.h"
#include "base/slab.h"
#include "pager/pager.h"

/* Spare records kept between changes. */
#define SPARES_KEPT 4

/* Sets up to this size are validated after every change in checking builds;
 * larger ones would make such builds quadratic. */
#define DEEP_CHECK_MAX 256

struct slab_cache vma_record_cache = SLAB_CACHE("vma", sizeof(struct vma));

void vma_set_init(struct vma_set *set, struct range bounds)
{
    CHECK(is_aligned(bounds.start | bounds.end, page_size()));
    *set =
        (struct vma_set){.bounds = bounds, .records.cache = &vma_record_cache};
    vma_tree_init(&set->tree);
}

/* Linked through the generation of a VMA that is no more. */
static void bury(struct vma_set *set, struct vma *vma)
{
    vma->generation = (uintptr_t)set->graves;
    set->graves = vma;
}

struct vma *vma_set_take_graves(struct vma_set *set)
{
    struct vma *graves = set->graves;

    set->graves = NULL;
    return graves;
}

void vma_free_graves(struct vma *graves)
{
    while (graves) {
        struct vma *next = (struct vma *)(uintptr_t)graves->generation;

        pager_unref(graves->pager);
        slab_free(&vma_record_cache, graves);
        graves = next;
    }
}

static void drop_for_good(struct vma *vma)
{
    pager_unref(vma->pager);
    slab_free(&vma_record_cache, vma);
}

void vma_set_destroy(struct vma_set *set)
{
    vma_tree_destroy(&set->tree, drop_for_good);
    vma_free_graves(vma_set_take_graves(set));
    spares_trim(&set->records, 0);
    set->count = 0;
    set->promised = 0;
}

/* ---- The reserve ------------------------------------------------------- */

/* Gives back what the promised changes do not need; an empty set keeps
 * nothing else either. */
static void trim_reserve(struct vma_set *set)
{
    size_t keep = set->count > 0 ? SPARES_KEPT : 0;

    spares_trim(&set->records, set->promised > keep ? set->promised : keep);
    vma_tree_trim(&set->tree, set->promised);
}

int vma_set_reserve(struct vma_set *set, unsigned ninserts)
{
    size_t before = set->records.count;
    int err = spares_top_up(&set->records, ninserts);

    if (err)
        return err;
    err = vma_tree_reserve(&set->tree, ninserts);
    if (err) {
        spares_trim(&set->records, before);
        return err;
    }
    set->promised = ninserts;
    trim_reserve(set);
    return 0;
}

/* Every change begins and ends with these. The promise is counted even where
 * it is not needed, so that a caller who forgot shows at the first run, not at
 * the first split. */
static void begin_change(struct vma_set *set)
{
    CHECK(set->promised > 0);
    set->promised--;
}

static void end_change(struct vma_set *set)
{
    if (set->promised == 0)
        trim_reserve(set);
    CHECK_DEEP(set->count > DEEP_CHECK_MAX || vma_set_is_valid(set));
}

/* ---- Looking up -------------------------------------------------------- */

struct vma *vma_set_lookup(const struct vma_set *set, uintptr_t addr)
{
    struct vma *vma = vma_tree_floor(&set->tree, addr);

    return vma && vma->end > addr ? vma : NULL;
}

struct vma *vma_set_find(const struct vma_set *set, uintptr_t addr)
{
    struct vma *vma = vma_set_lookup(set, addr);

    return vma ? vma : vma_tree_gap_above(&set->tree, addr, 0, NULL);
}

struct vma *vma_set_find_intersection(const struct vma_set *set,
                                      struct range range)
{
    struct vma *vma;

    if (range_is_empty(range))
        return NULL;
    vma = vma_set_find(set, range.start);
    return vma && vma->start < range.end ? vma : NULL;
}

struct vma *vma_set_find_prev(const struct vma_set *set, uintptr_t addr)
{
    struct vma *vma = vma_tree_floor(&set->tree, addr);

    return vma && vma->end > addr ? vma_set_prev(set, vma) : vma;
}

struct vma *vma_set_next(const struct vma_set *set, const struct vma *vma)
{
    return vma_tree_gap_above(&set->tree, vma->start, 0, NULL);
}

struct vma *vma_set_prev(const struct vma_set *set, const struct vma *vma)
{
    return vma->start > 0 ? vma_tree_floor(&set->tree, vma->start - 1) : NULL;
}

/* ---- Inserting --------------------------------------------------------- */

/* Where `vma` ends; what lies before the first one ends where bounds start. */
static uintptr_t end_of(const struct vma_set *set, const struct vma *vma)
{
    return vma ? vma->end : set->bounds.start;
}

/* Tells the tree that `vma`, filed under `start`, may have another start now,
 * or that what lies before it may end elsewhere. */
static void refile(struct vma_set *set, uintptr_t start, struct vma *vma,
                   uintptr_t end_before)
{
    vma_tree_update(&set->tree, start, vma, vma->start - end_before);
}

/* Files a record for a copy of *what. */
static struct vma *add(struct vma_set *set, const struct vma *what,
                       uintptr_t end_before)
{
    struct vma *vma = spares_take(&set->records);

    *vma = *what;
    pager_ref(vma->pager);
    vma_tree_insert(&set->tree, vma, vma->start - end_before);
    set->count++;
    return vma;
}

static void drop(struct vma_set *set, struct vma *vma)
{
    vma_tree_remove(&set->tree, vma->start);
    set->count--;
    if (pager_unref_unless_last(vma->pager))
        spares_give(&set->records, vma, SPARES_KEPT);
    else
        bury(set, vma);
}

static void take_newest(struct vma *vma, uint64_t generation)
{
    if (generation > vma->generation)
        vma->generation = generation;
}

/* Makes `what` part of a neighbour, or of both (which become one), or a VMA of
 * its own. The gap before `next` is the caller's to put right. */
static struct vma *place(struct vma_set *set, struct vma *prev,
                         const struct vma *what, struct vma *next)
{
    bool join_prev =
        prev && prev->end == what->start && vma_can_merge(prev, what);
    bool join_next =
        next && next->start == what->end && vma_can_merge(what, next);
    uintptr_t start;

    if (join_prev) {
        prev->end = join_next ? next->end : what->end;
        take_newest(prev, what->generation);
        if (join_next) {
            take_newest(prev, next->generation);
            drop(set, next);
        }
        return prev;
    }
    if (!join_next)
        return add(set, what, end_of(set, prev));
    start = next->start;
    next->start = what->start;
    next->offset = what->offset;
    take_newest(next, what->generation);
    refile(set, start, next, end_of(set, prev));
    return next;
}

struct vma *vma_set_insert(struct vma_set *set, const struct vma *what)
{
    struct vma *prev = vma_tree_floor(&set->tree, what->start);
    struct vma *next = vma_tree_gap_above(&set->tree, what->start, 0, NULL);
    struct vma *vma;

    CHECK(what->pager && what->start < what->end);
    CHECK(is_aligned(what->start | what->end, page_size()));
    CHECK(range_covers(set->bounds, vma_range(what)));
    CHECK(!prev || prev->end <= what->start);
    CHECK(!next || next->start >= what->end);
    begin_change(set);

    vma = place(set, prev, what, next);
    if (next && vma->end == what->end)
        refile(set, next->start, next, vma->end);
    end_change(set);
    return vma;
}

/* ---- Removing ---------------------------------------------------------- */

/* What stays of `vma` from `addr` up when its lower part goes. */
static struct vma part_from(const struct vma *vma, uintptr_t addr,
                            uint64_t generation)
{
    struct vma part = *vma;

    part.offset = vma_offset_at(vma, addr);
    part.start = addr;
    part.generation = generation;
    return part;
}

/* Takes `range` out of a VMA that overlaps it. The gap before what is then the
 * first VMA behind the range is the caller's to put right, once for all. */
static void cut(struct vma_set *set, struct vma *vma, struct range range,
                uint64_t generation)
{
    bool head_stays = vma->start < range.start;
    bool tail_stays = vma->end > range.end;
    uintptr_t start = vma->start;
    struct vma tail;

    if (!head_stays && !tail_stays) {
        drop(set, vma);
        return;
    }
    if (tail_stays)
        tail = part_from(vma, range.end, generation);
    if (!head_stays) {
        *vma = tail;
        refile(set, start, vma, start);
        return;
    }
    vma->end = range.start;
    vma->generation = generation;
    if (tail_stays)
        add(set, &tail, range.start);
}

size_t vma_set_remove(struct vma_set *set, struct range range,
                      uint64_t generation)
{
    size_t removed_bytes = 0;
    struct range rest = range;
    struct vma *vma;

    CHECK(is_aligned(range.start | range.end, page_size()));
    CHECK(range_is_empty(range) || range_covers(set->bounds, range));
    begin_change(set);

    while ((vma = vma_set_find_intersection(set, rest))) {
        rest.start = range_clip(vma_range(vma), range).end;
        removed_bytes += range_len(range_clip(vma_range(vma), range));
        cut(set, vma, range, generation);
    }
    if (removed_bytes > 0) {
        vma = vma_set_find(set, range.end);
        if (vma)
            refile(set, vma->start, vma, end_of(set, vma_set_prev(set, vma)));
    }
    end_change(set);
    return removed_bytes;
}

/* ---- Gaps -------------------------------------------------------------- */

struct wish {
    struct range within;
    size_t len_bytes;
    size_t align;
    size_t guard_bytes;
};

/* [start, vma->start) without what must stay free below a stack. */
static struct range gap_below(const struct wish *wish, const struct vma *vma,
                              uintptr_t start)
{
    struct range gap = {start, vma->start};

    if (vma->flags & VMA_GROWSDOWN)
        gap.end -= range_len(gap) < wish->guard_bytes ? range_len(gap)
                                                      : wish->guard_bytes;
    return gap;
}

/* The lowest / highest place in `gap` that the wish allows. */
static bool fit_low(const struct wish *wish, struct range gap,
                    uintptr_t *ret_start)
{
    struct range room = range_clip(gap, wish->within);
    uintptr_t start = align_up(room.start, wish->align);

    /* start < room.start: rounding up left the address space. */
    if (start < room.start || start > room.end ||
        room.end - start < wish->len_bytes)
        return false;
    *ret_start = start;
    return true;
}

static bool fit_high(const struct wish *wish, struct range gap,
                     uintptr_t *ret_start)
{
    struct range room = range_clip(gap, wish->within);
    uintptr_t start;

    if (range_len(room) < wish->len_bytes)
        return false;
    start = align_down(room.end - wish->len_bytes, wish->align);
    if (start < room.start)
        return false;
    *ret_start = start;
    return true;
}

/* The gap behind the last VMA, or all there is in an empty set. */
static struct range last_gap(const struct vma_set *set)
{
    const struct vma *last = vma_tree_floor(&set->tree, set->bounds.end);

    return (struct range){last ? last->end : set->bounds.start,
                          set->bounds.end};
}

static bool search_up(const struct vma_set *set, const struct wish *wish,
                      uintptr_t *ret_start)
{
    uintptr_t at = wish->within.start;
    const struct vma *vma;
    size_t gap;

    while ((vma = vma_tree_gap_above(&set->tree, at, wish->len_bytes, &gap))) {
        at = vma->start;
        if (fit_low(wish, gap_below(wish, vma, at - gap), ret_start))
            return true;
        if (at >= wish->within.end)
            return false;
    }
    return fit_low(wish, last_gap(set), ret_start);
}

static bool search_down(const struct vma_set *set, const struct wish *wish,
                        uintptr_t *ret_start)
{
    uintptr_t at = wish->within.end - 1;
    const struct vma *vma = vma_tree_gap_above(&set->tree, at, 0, NULL);
    struct range top = last_gap(set);
    size_t gap;

    /* The gap that ends at or above within.end is not below `at`. */
    if (vma)
        top = gap_below(wish, vma, end_of(set, vma_set_prev(set, vma)));
    if (fit_high(wish, top, ret_start))
        return true;
    while ((vma = vma_tree_gap_below(&set->tree, at, wish->len_bytes, &gap)) &&
           vma->start > wish->within.start) {
        at = vma->start - 1;
        if (fit_high(wish, gap_below(wish, vma, vma->start - gap), ret_start))
            return true;
    }
    return false;
}

bool vma_set_find_gap(const struct vma_set *set, struct range within,
                      size_t len_bytes, size_t align, size_t guard_bytes,
                      bool top_down, uintptr_t *ret_start)
{
    struct wish wish = {range_clip(within, set->bounds), len_bytes, align,
                        guard_bytes};

    CHECK(len_bytes > 0 && align > 0 && (align & (align - 1)) == 0);
    if (range_len(wish.within) < len_bytes)
        return false;
    return top_down ? search_down(set, &wish, ret_start)
                    : search_up(set, &wish, ret_start);
}

/* ---- Checking ---------------------------------------------------------- */

static bool vma_is_valid(const struct vma_set *set, const struct vma *prev,
                         const struct vma *vma)
{
    return vma->start < vma->end && vma->pager &&
           is_aligned(vma->start | vma->end, page_size()) &&
           range_covers(set->bounds, vma_range(vma)) &&
           (!prev || prev->end < vma->start ||
            (prev->end == vma->start && !vma_can_merge(prev, vma)));
}

static bool reserve_is_valid(const struct vma_set *set)
{
    return set->records.count >= set->promised &&
           set->tree.spares.count >= set->promised;
}

bool vma_set_is_valid(const struct vma_set *set)
{
    const struct vma *prev = NULL;
    const struct vma *vma = vma_set_find(set, 0);
    size_t count = 0;

    if (!vma_tree_is_valid(&set->tree, set->bounds.start))
        return false;
    for (; vma; prev = vma, vma = vma_set_next(set, vma), count++)
        if (!vma_is_valid(set, prev, vma))
            return false;
    return count == set->count && reserve_is_valid(set);
}

size_t vma_set_memory(const struct vma_set *set)
{
    return (set->count + set->records.count) * sizeof(struct vma) +
           vma_tree_memory(&set->tree);
}
