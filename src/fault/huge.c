/* SPDX-License-Identifier: MIT */
/* See huge.h. */
#include "fault/huge.h"

#include "fault/background.h"
#include "fault/pool.h"
#include "mm/advice.h"
#include "mm/map.h"
#include "pager/pager.h"

bool huge_has_policy(const struct uf_space *space, const struct vma *vma)
{
    uint32_t flags = vma->flags;

    if (!atomic_load_explicit(&space->background, memory_order_relaxed) ||
        !vma->pager->is_zero || (flags & (VMA_HOST | VMA_NOHUGEPAGE)))
        return false;
    /* A space's policy is not for stacks, which are touched a page at a time. */
    return (flags & VMA_HUGEPAGE) ||
           ((space->config.flags & UF_SPACE_HUGE) && !(flags & VMA_GROWSDOWN));
}

static struct range block_around(uintptr_t addr)
{
    uintptr_t start = align_down(addr, huge_bytes());

    return (struct range){start, start + huge_bytes()};
}

static bool any_mark_locked(const struct uf_space *space, struct range block)
{
    if (space->has_guards && resident_any(&space->guards, block))
        return true;
    if (!atomic_load(&space->has_refused))
        return false;
    /* Where refused pages are not noted, any block may have one. */
    return !space->refused.words || resident_any(&space->refused, block);
}

bool huge_block_locked(const struct uf_space *space, const struct vma *vma,
                       uintptr_t addr, struct range *ret_block)
{
    struct range block = block_around(addr);

    /* Zeros that can only be read take no memory as small pages. */
    if (!(vma->flags & VMA_WRITE) || !range_covers(vma_range(vma), block) ||
        resident_any(&space->resident, block) || any_mark_locked(space, block))
        return false;
    *ret_block = block;
    return true;
}

/* The kernel moves between mappings that are alike in this. */
static bool may_move(const struct uf_space *space, uintptr_t addr)
{
    const struct vma *vma = vma_set_lookup(&space->vmas, addr);

    return vma &&
           (vma->flags & (VMA_PROT | VMA_LOCK_MASK)) == (VMA_READ | VMA_WRITE);
}

static void note_block(struct uf_space *space, struct range vma,
                       struct range block)
{
    if (range_covers(vma, block) && resident_all(&space->resident, block))
        background_promote(atomic_load(&space->background), space, block);
}

void huge_note_locked(struct uf_space *space, struct range vma,
                      struct range done)
{
    struct range first, last;

    if (!(space->config.flags & UF_SPACE_PROMOTE) || range_is_empty(done))
        return;
    first = block_around(done.start);
    last = block_around(done.end - 1);
    note_block(space, vma, first);
    if (last.start != first.start)
        note_block(space, vma, last);
}

struct install_result huge_install_locked(struct uf_space *space,
                                          struct install *what, bool *ret_huge)
{
    struct background *background = atomic_load(&space->background);
    struct huge_pool *pool = background_pool(background);
    struct install_result r;
    bool huge;

    if (pool && !what->protect && may_move(space, what->touched))
        what->source = pool_take(pool);
    what->write = true;
    r = install_pages(what);
    /* Page by page, as where a table of pages has stayed behind, it is no huge
     * page any more. */
    huge = r.npages_moved == range_len(what->window) / page_size() &&
           pool_is_huge(pool, what->window);
    if (what->source)
        pool_give_back(pool, what->source, huge);
    background_kick(background);
    if (huge)
        COUNT(space->counters, huge_installed);
    else if (r.npages > 1) /* else another thread was faster */
        COUNT(space->counters, huge_fallback);
    *ret_huge = huge;
    return r;
}

void huge_promote(struct uf_space *space, struct range block)
{
    struct background *background = atomic_load(&space->background);
    struct huge_pool *pool = background ? background_pool(background) : NULL;
    const struct vma *vma;

    rwlock_take_read(&space->map_lock);
    vma = atomic_load(&space->dying)
              ? NULL
              : vma_set_lookup(&space->vmas, block.start);
    if (vma && background && huge_has_policy(space, vma) &&
        range_covers(vma_range(vma), block) &&
        resident_all(&space->resident, block) &&
        !(pool && pool_is_huge(pool, block)) &&
        region_advise(&space->region, block, MADV_COLLAPSE) == 0)
        COUNT(space->counters, huge_promoted);
    rwlock_release(&space->map_lock);
}

size_t huge_ready(const struct uf_space *space)
{
    const struct background *background = atomic_load(&space->background);
    const struct huge_pool *pool =
        background ? background_pool(background) : NULL;

    return pool ? pool_ready(pool) : 0;
}
