/* SPDX-License-Identifier: MIT */
/*
 * Limits and accounting of a space, with the kernel's own arithmetic: what
 * counts as data, and which limit is looked at first (the order decides
 * nothing for the answer, both are -ENOMEM, but it is kept).
 */
#include "mm/map.h"

#include <errno.h>
#include <sys/mman.h>

bool limits_allow_brk_locked(const struct uf_space *space, uintptr_t brk)
{
    if (space->limit_data == UF_UNLIMITED)
        return true;
    return (brk - space->start_brk) + space->data_extra <= space->limit_data;
}

static uint64_t pages_of(uint64_t limit_bytes)
{
    return limit_bytes / page_size();
}

/* is_data_mapping, is_stack_mapping, is_exec_mapping of mm/internal.h. */
static bool is_data(uint32_t flags)
{
    return (flags & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE;
}

static bool is_exec(uint32_t flags)
{
    return (flags & (VMA_EXEC | VMA_WRITE | VMA_GROWSDOWN)) == VMA_EXEC;
}

bool limits_allow_pages_locked(const struct uf_space *space, size_t npages,
                               uint32_t flags)
{
    if (space->pages.total + npages > pages_of(space->limit_as))
        return false;
    return !is_data(flags) ||
           space->pages.data + npages <= pages_of(space->limit_data);
}

bool limits_allow_locking_locked(const struct uf_space *space, size_t npages,
                                 uint32_t flags)
{
    return !(flags & VMA_LOCKED) ||
           space->pages.locked + npages <= pages_of(space->limit_memlock);
}

bool limits_can_lock_locked(const struct uf_space *space)
{
    return space->limit_memlock != 0;
}

void limits_count_pages(struct vm_pages *pages, ssize_t npages, uint32_t flags)
{
    size_t n = (size_t)npages; /* negative: wraps, and adds up all the same */

    pages->total += n;
    if (is_data(flags))
        pages->data += n;
    if (is_exec(flags))
        pages->exec += n;
    if (flags & VMA_GROWSDOWN)
        pages->stack += n;
    if (flags & VMA_SHARED)
        pages->shared += n;
    if (flags & VMA_LOCKED)
        pages->locked += n;
}

void limits_account_locked(struct uf_space *space, ssize_t npages,
                           uint32_t flags)
{
    const struct vm_pages *p = &space->pages;
    struct counters *c = space->counters;

    limits_count_pages(&space->pages, npages, flags);
    GAUGE_SET(c, total_vm, p->total);
    gauge_peak(&c->total_vm_peak, p->total);
    GAUGE_SET(c, data_vm, p->data);
    gauge_peak(&c->data_vm_peak, p->data);
    GAUGE_SET(c, exec_vm, p->exec);
    GAUGE_SET(c, stack_vm, p->stack);
    GAUGE_SET(c, shared_vm, p->shared);
    GAUGE_SET(c, locked_vm, p->locked);
    gauge_peak(&c->locked_vm_peak, p->locked);
}

static uint64_t *limit_of(struct uf_space *space, enum uf_limit which)
{
    switch (which) {
    case UF_LIMIT_DATA:
        return &space->limit_data;
    case UF_LIMIT_AS:
        return &space->limit_as;
    case UF_LIMIT_STACK:
        return &space->limit_stack;
    case UF_LIMIT_MEMLOCK:
        return &space->limit_memlock;
    case UF_LIMIT_MAP_COUNT:
        return &space->limit_map_count;
    }
    return NULL;
}

int space_set_limit(struct uf_space *space, enum uf_limit which, uint64_t bytes)
{
    uint64_t *limit = limit_of(space, which);
    struct range hull;

    if (!limit)
        return -EINVAL;
    map_lock(space);
    hull = stack_hull_locked(space, space->region.range);
    *limit = bytes;
    if (which == UF_LIMIT_STACK && space->pages.stack > 0)
        stack_open_reach_locked(space, hull, space->region.range);
    stack_reconsider_locked(space);
    map_unlock(space);
    return 0;
}

int space_get_limit(struct uf_space *space, enum uf_limit which,
                    uint64_t *ret_bytes)
{
    uint64_t *limit = limit_of(space, which);

    if (!limit || !ret_bytes)
        return -EINVAL;
    rwlock_take_read(&space->map_lock);
    *ret_bytes = *limit;
    rwlock_release(&space->map_lock);
    return 0;
}
