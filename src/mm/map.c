/* SPDX-License-Identifier: MIT */
/*
 * mmap and munmap, step by step as do_mmap (mm/mmap.c) and mmap_region
 * (mm/vma.c) do them:
 *
 *     length, page numbers, number of mappings, where (place.c)
 *     NOREPLACE in the way, permission and limit of locked memory
 *     kind of mapping; address space and data limits, less what goes
 *     close what was there, open, insert, merge
 *
 * A descriptor is mapped by the kernel, over the reservation, and it is asked
 * first: what it refuses is its answer. Anonymous shared memory is the same
 * without a descriptor.
 */
#include "mm/map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "mm/shared.h"
#include "pager/cache.h"
#include "pager/mapped.h"
#include "pager/pager.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_TYPE
#define MAP_TYPE 0x0f
#endif

/* What has to do with an address or with our own paging, and is not passed on
 * when the kernel maps a descriptor. */
#define FLAGS_OURS                                                             \
    (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED)

/* A request on its way to a mapping. */
struct plan {
    const struct map_request *request;
    size_t len_bytes; /* whole pages */
    bool host;        /* the kernel serves it */
    bool shared;      /* of a pager's cache */
    struct range range;
    uint32_t flags; /* VMA_* */
    struct uf_pager *pager;
    uint64_t offset;
};

/* fget: a descriptor that only names a path (O_PATH) is none. */
static bool is_open(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_PATH);
}

/* sys_mmap and the head of do_mmap: what needs no lock. */
static int check_request(const struct map_request *r, struct plan *plan)
{
    *plan = (struct plan){.request = r};
    if (!is_aligned((uintptr_t)r->offset, page_size()))
        return -EINVAL;
    if (!(r->flags & MAP_ANONYMOUS) && !r->pager && !is_open(r->fd))
        return -EBADF;
    if (r->len_bytes == 0)
        return -EINVAL;
    plan->len_bytes = align_up(r->len_bytes, page_size());
    if (plan->len_bytes == 0)
        return -ENOMEM;
    if (r->flags & MAP_HUGETLB)
        return -ENOMEM; /* an empty pool */
    plan->host = !r->pager && (!(r->flags & MAP_ANONYMOUS) ||
                               (r->flags & MAP_TYPE) == MAP_SHARED);
    plan->shared = r->pager && (r->flags & MAP_TYPE) == MAP_SHARED;
    return 0;
}

static uint32_t vma_flags_of(const struct uf_space *space,
                             const struct map_request *r)
{
    uint32_t flags = (uint32_t)r->prot & VMA_PROT;

    flags |= space->def_flags;
    if (r->flags & MAP_GROWSDOWN)
        flags |= VMA_GROWSDOWN;
    if (r->flags & MAP_LOCKED)
        flags |= VMA_LOCKED;
    if (r->flags & MAP_NORESERVE)
        flags |= VMA_NORESERVE;
    if (r->flags & MAP_STACK)
        flags |= VMA_NOHUGEPAGE;
    if ((r->flags & MAP_TYPE) == MAP_SHARED ||
        (r->flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
        flags |= VMA_SHARED;
    return flags;
}

/* The kinds of anonymous memory. */
static int check_anonymous(const struct uf_space *space,
                           const struct map_request *r)
{
    int type = r->flags & MAP_TYPE;

    if (type == MAP_PRIVATE)
        return 0;
    if (type == MAP_SHARED && r->pager)
        return space->region.uffd ? cache_may_map(r->pager, r->prot) : -EINVAL;
    if (type == MAP_SHARED && !(r->flags & MAP_GROWSDOWN))
        return 0;
    return -EINVAL;
}

/* May the map hold this? After the kernel's order. */
static int check_locked(struct uf_space *space, struct plan *plan)
{
    const struct map_request *r = plan->request;
    size_t npages = plan->len_bytes / page_size(), going;
    intptr_t where;

    if (space->vmas.count > space->limit_map_count)
        return -ENOMEM;
    where = map_place_locked(space, r->addr, plan->len_bytes, r->flags,
                             !plan->host && !plan->shared);
    if (where < 0)
        return (int)where;
    plan->range =
        (struct range){(uintptr_t)where, (uintptr_t)where + plan->len_bytes};
    plan->flags = vma_flags_of(space, r);
    if ((r->flags & MAP_FIXED_NOREPLACE) &&
        vma_set_find_intersection(&space->vmas, plan->range))
        return -EEXIST;
    if ((r->flags & MAP_LOCKED) && !limits_can_lock_locked(space))
        return -EPERM;
    if (!limits_allow_locking_locked(space, npages, plan->flags))
        return -EAGAIN;
    if (!plan->host || (r->flags & MAP_ANONYMOUS)) {
        int err = check_anonymous(space, r);

        if (err)
            return err;
    }
    going = map_count_pages(space, plan->range);
    if (!limits_allow_pages_locked(space, npages - going, plan->flags))
        return -ENOMEM;
    return 0;
}

/* Anonymous private memory: the reservation is opened. What was there closes
 * without a gap: its protection becomes the new one, then its pages go. */
static int open_reserved(struct uf_space *space, const struct plan *plan)
{
    struct region *region = &space->region;
    int prot = (int)(plan->flags & VMA_PROT);
    int err = 0;

    if (!range_is_empty(region->lost))
        err = region_recover(region, plan->range);
    /* A closed range is closed already, but for where a stack may grow. */
    if (!err && (prot != PROT_NONE || space->pages.stack > 0))
        err = region_protect(region, plan->range, prot);
    if (!err) {
        err = map_give_state(space, plan->range, plan->flags);
        if (err)
            map_give_back(space, plan->range);
    }
    return err;
}

/* The kernel maps it over the reservation. */
static int open_host(struct uf_space *space, const struct plan *plan)
{
    const struct map_request *r = plan->request;
    int flags = r->flags & ~FLAGS_OURS;
    int err = region_map_fd(&space->region, plan->range, r->prot & 7, flags,
                            r->fd, r->offset);

    if (!err && (plan->flags & VMA_LOCKED)) {
        err = region_lock(&space->region, plan->range, true);
        if (err)
            map_give_back(space, plan->range);
    }
    return err;
}

/* Would the kernel map this at all? Asked before anything is unmapped. */
static int ask_host(const struct plan *plan)
{
    const struct map_request *r = plan->request;
    void *p = sys->mmap(NULL, plan->len_bytes, r->prot & 7,
                        r->flags & ~FLAGS_OURS, r->fd, r->offset);
    int err = p == MAP_FAILED ? -errno : 0;

    /* A flag that is no file's, and not passed on. */
    if (err != -EOVERFLOW && (r->flags & MAP_FIXED_NOREPLACE) &&
        (r->flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
        err = -ENOTSUP;
    if (p != MAP_FAILED)
        sys->munmap(p, plan->len_bytes);
    return err;
}

/* The pager and offset; one reference is the plan's. 0 or -errno. */
static int choose_pager_locked(struct uf_space *space, struct plan *plan)
{
    const struct map_request *r = plan->request;

    if (plan->host) {
        plan->flags |= VMA_HOST;
        plan->offset = (r->flags & MAP_ANONYMOUS) ? 0 : (uint64_t)r->offset;
        plan->pager =
            pager_mapped_create((r->flags & MAP_ANONYMOUS) ? -1 : r->fd);
        return plan->pager ? 0 : -ENOMEM;
    }
    plan->pager = pager_ref(r->pager ? r->pager : pager_zero());
    /* A child that the kernel serves would find zeros there. */
    if (!plan->pager->is_zero && space->config.fork == UF_FORK_ZERO)
        plan->flags |= VMA_DONTCOPY;
    plan->offset = r->pager ? r->pager_offset
                            : plan->range.start - space->region.range.start;
    if (!plan->shared)
        return 0;
    plan->flags |= VMA_HOST | VMA_CACHE;
    return cache_ready(plan->pager, plan->offset + plan->len_bytes);
}

/*
 * True if what is mapped in the way can become the new mapping by a change of
 * protection, without ever being closed to other threads, and without being
 * lost if the host refuses.
 */
static bool can_overlay(const struct uf_space *space, const struct plan *plan)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, plan->range);

    if (plan->host || plan->shared)
        return false;
    for (; v && v->start < plan->range.end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), plan->range);

        if ((v->flags & VMA_STATE_FOR_GOOD) ||
            ((plan->flags & VMA_ON_HOST) && map_has_state(space, v, part)))
            return false;
    }
    return true;
}

/* Replaces what is there by the new mapping, in the host and in the set. */
static int commit_overlay(struct uf_space *space, const struct plan *plan)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, plan->range);
    int prot = (int)(plan->flags & VMA_PROT);
    int err = region_protect(&space->region, plan->range, prot);
    bool renewed = false;

    if (!err && (plan->flags & VMA_ON_HOST)) {
        err = map_give_state(space, plan->range, plan->flags);
        if (err)
            map_take_state(space, plan->range, plan->flags);
    }
    if (err) {
        map_restore_protection(space, plan->range);
        return err;
    }
    for (; v && v->start < plan->range.end; v = vma_set_next(&space->vmas, v)) {
        struct range part = range_clip(vma_range(v), plan->range);

        if (!map_forget_pages_locked(space, part, v->flags))
            renewed = true;
        limits_account_locked(space, -(ssize_t)(range_len(part) / page_size()),
                              v->flags);
    }
    vma_set_remove(&space->vmas, plan->range, ++space->generation);
    return renewed ? region_protect(&space->region, plan->range, prot) : 0;
}

static int commit_locked(struct uf_space *space, const struct plan *plan)
{
    bool taken = vma_set_find_intersection(&space->vmas, plan->range) != NULL;
    struct vma vma = {
        .start = plan->range.start,
        .end = plan->range.end,
        .flags = plan->flags,
        .pager = plan->pager,
        .offset = plan->offset,
    };
    struct range hull = stack_hull_locked(space, plan->range);
    int err = vma_set_reserve(&space->vmas, 2);

    if (err)
        return err;
    if (taken && can_overlay(space, plan)) {
        err = commit_overlay(space, plan);
    } else {
        if (taken)
            err = map_close_locked(space, plan->range);
        if (!err)
            err = plan->shared ? shared_open_locked(space, &vma)
                  : plan->host ? open_host(space, plan)
                               : open_reserved(space, plan);
    }
    if (err)
        return err;
    vma.generation = space->generation;
    map_insert_locked(space, &vma);
    /* What it replaced may have been a stack, the last one. */
    stack_open_reach_locked(space, hull, plan->range);
    return 0;
}

/* A MAP_FIXED mapping may cut a mapping in two. */
static bool split_is_allowed(const struct uf_space *space,
                             const struct plan *plan)
{
    const struct vma *v = vma_set_find_intersection(&space->vmas, plan->range);

    return !v || v->start >= plan->range.start || v->end <= plan->range.end ||
           space->vmas.count < space->limit_map_count;
}

static intptr_t map_locked(struct uf_space *space, struct plan *plan)
{
    int err = check_locked(space, plan), host_err = 0;

    /* The kernel looks at the file between the two kinds of limits. */
    if (plan->host && (!err || err == -ENOMEM) && !range_is_empty(plan->range))
        host_err = ask_host(plan);
    if (host_err)
        return host_err;
    if (!err && !split_is_allowed(space, plan))
        err = -ENOMEM;
    if (!err)
        err = choose_pager_locked(space, plan);
    if (!err)
        err = commit_locked(space, plan);
    return err ? err : (intptr_t)plan->range.start;
}

intptr_t space_mmap(struct uf_space *space, const struct map_request *request,
                    struct range *ret_populate)
{
    struct plan plan;
    intptr_t where = check_request(request, &plan);

    *ret_populate = (struct range){0, 0};
    if (where < 0)
        return where;
    map_lock(space);
    where = map_locked(space, &plan);
    map_unlock(space);
    pager_unref(plan.pager);
    if (where < 0)
        return where;
    COUNT(space->counters, mmaps);
    if ((plan.flags & VMA_LOCKED) ||
        (request->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE)
        *ret_populate = plan.range;
    return where;
}

int space_munmap(struct uf_space *space, uintptr_t addr, size_t len_bytes)
{
    size_t len = align_up(len_bytes, page_size());
    struct range all = space->region.range;
    struct range range = {addr, addr + len};
    bool any;
    int err;

    if (!is_aligned(addr, page_size()) || len == 0 || range.end < addr ||
        !range_covers(all, range))
        return -EINVAL;
    map_lock(space);
    any = vma_set_find_intersection(&space->vmas, range) != NULL;
    err = any ? vma_set_reserve(&space->vmas, 1) : 0;
    if (any && !err)
        err = map_close_locked(space, range);
    map_unlock(space);
    if (any && !err)
        COUNT(space->counters, munmaps);
    return err;
}
