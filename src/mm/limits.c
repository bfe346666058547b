/* SPDX-License-Identifier: MIT */
/*
 * Limits and accounting of a space, with the kernel's own arithmetic: what
 * counts as data, and which limit is looked at first (the order decides
 * nothing for the answer, both are -ENOMEM, but it is kept).
 */
#include "mm/space.h"

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

bool limits_allow_pages_locked(const struct uf_space *space, size_t npages,
                               bool data)
{
    if (space->total_vm + npages > pages_of(space->limit_as))
        return false;
    return !data || space->data_vm + npages <= pages_of(space->limit_data);
}

void limits_account_locked(struct uf_space *space, ssize_t npages,
                           const struct vma *like)
{
    size_t n = (size_t)npages; /* negative: wraps, and adds up all the same */

    space->total_vm += n;
    if (like->prot & PROT_WRITE)
        space->data_vm += n;
    if (like->flags & VMA_LOCKED)
        space->locked_vm += n;
    GAUGE_SET(space->counters, total_vm, space->total_vm);
    gauge_peak(&space->counters->total_vm_peak, space->total_vm);
    GAUGE_SET(space->counters, data_vm, space->data_vm);
    GAUGE_SET(space->counters, locked_vm, space->locked_vm);
}

static uint64_t *limit_of(struct uf_space *space, enum uf_limit which)
{
    switch (which) {
    case UF_LIMIT_DATA:
        return &space->limit_data;
    case UF_LIMIT_AS:
        return &space->limit_as;
    }
    return NULL;
}

int space_set_limit(struct uf_space *space, enum uf_limit which, uint64_t bytes)
{
    uint64_t *limit = limit_of(space, which);

    if (!limit)
        return -EINVAL;
    rwlock_take_write(&space->map_lock);
    *limit = bytes;
    rwlock_release(&space->map_lock);
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
