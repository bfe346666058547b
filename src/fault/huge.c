/* SPDX-License-Identifier: MIT */
/* See huge.h. */
#include "fault/huge.h"

#include <errno.h>

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

static void *take(struct huge_pool *pool, const struct uf_space *space,
                  const struct install *what)
{
    if (!pool || what->protect || !may_move(space, what->touched))
        return NULL;
    return what->write ? pool_take(pool) : pool_take_zeros(pool);
}

/* Page by page, as where a table of pages has stayed behind, it is no huge page
 * any more. */
static enum pool_fate fate_of(const struct huge_pool *pool,
                              const struct install *what,
                              const struct install_result *r)
{
    if (r->npages_moved == 0)
        return POOL_UNTOUCHED;
    return r->npages_moved == range_len(what->window) / page_size() &&
                   pool_is_huge(pool, what->window)
               ? POOL_MOVED
               : POOL_IN_PART;
}

struct install_result huge_install_locked(struct uf_space *space,
                                          struct install *what, bool *ret_huge)
{
    struct background *background = atomic_load(&space->background);
    struct huge_pool *pool = background_pool(background);
    struct install_result r;

    what->source = take(pool, space, what);
    r = install_pages(what);
    *ret_huge = false;
    if (what->source) {
        enum pool_fate fate = fate_of(pool, what, &r);

        pool_give_back(pool, what->source, fate);
        *ret_huge = fate == POOL_MOVED;
    }
    if (!what->write)
        return r; /* takes no memory either way */
    background_kick(background);
    if (*ret_huge)
        COUNT(space->counters, huge_installed);
    else if (r.npages > 1) /* else another thread was faster */
        COUNT(space->counters, huge_fallback);
    return r;
}

/* Complete, and not huge. */
static bool is_promotable_locked(struct uf_space *space, struct range block)
{
    struct background *background = atomic_load(&space->background);
    struct huge_pool *pool = background ? background_pool(background) : NULL;
    const struct vma *vma = atomic_load(&space->dying)
                                ? NULL
                                : vma_set_lookup(&space->vmas, block.start);

    return vma && background && huge_has_policy(space, vma) &&
           range_covers(vma_range(vma), block) &&
           resident_all(&space->resident, block) &&
           !(pool && pool_is_huge(pool, block));
}

int huge_promote(struct uf_space *space, struct range block)
{
    int err = 0;

    rwlock_take_read(&space->map_lock);
    if (is_promotable_locked(space, block)) {
        err = region_advise(&space->region, block, MADV_COLLAPSE);
        if (err == 0)
            COUNT(space->counters, huge_promoted);
    }
    rwlock_release(&space->map_lock);
    if (err == -EAGAIN || err == -EBUSY || err == -ENOMEM)
        return -EAGAIN;
    if (err)
        COUNT(space->counters, huge_unpromoted);
    return 0;
}

size_t huge_ready(const struct uf_space *space)
{
    const struct background *background = atomic_load(&space->background);
    const struct huge_pool *pool =
        background ? background_pool(background) : NULL;

    return pool ? pool_ready(pool) : 0;
}
