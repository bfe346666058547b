/* SPDX-License-Identifier: MIT */
/*
 * The public functions on a space's memory: the break, and the mmap family
 * (ufault/mman.h). As api.c: validate, call down; its functions leave the
 * shared library. What a call made under the lock and wants populated is
 * populated here, without it.
 */
#include "ufault/ufault.h"

#include <errno.h>

#include "api.h"
#include "fault/background.h"
#include "fault/fault.h"
#include "fault/writeback.h"
#include "mm/advice.h"
#include "mm/map.h"
#include "pager/pager.h"

/* mm_populate: what a call made is made resident; a page that cannot be had is
 * left to its first touch, as in the kernel. */
static void populate_made(struct uf_space *space, struct range made)
{
    if (!range_is_empty(made))
        fault_populate(space, made, POPULATE_AUTO, true);
}

static void populate_grown(struct uf_space *space, struct range grown)
{
    if (space->def_flags & VMA_LOCKED)
        populate_made(space, grown);
}

uintptr_t uf_brk(struct uf_space *space, uintptr_t brk)
{
    struct range grown;
    uintptr_t now;

    if (!api_is_live(space))
        return 0;
    now = space_brk(space, brk, &grown);
    populate_grown(space, grown);
    return now;
}

intptr_t uf_sbrk(struct uf_space *space, intptr_t increment)
{
    struct range grown;
    intptr_t old;

    if (!api_is_live(space))
        return -EINVAL;
    old = space_sbrk(space, increment, &grown);
    populate_grown(space, grown);
    return old;
}

int uf_populate(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    struct range range;

    if (!api_is_live(space) || !is_aligned(address, page_size()) ||
        !range_make(address, len_bytes, &range) ||
        align_up(range.end, page_size()) < range.end)
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    range.end = align_up(range.end, page_size());
    return fault_populate(space, range, POPULATE_WRITE, false);
}

int uf_prefetch(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    struct range range;
    int err = api_may_call(space);

    if (!err)
        err = map_range_check(address, len_bytes, &range);
    if (err || range_is_empty(range))
        return err;
    return prefetch_request(space, range, false);
}

/* ---- ufault/mman.h ----------------------------------------------------- */

intptr_t uf_mmap(struct uf_space *space, uintptr_t address, size_t len_bytes,
                 int prot, int flags, int fd, off_t offset_bytes)
{
    struct map_request request = {
        .addr = address,
        .len_bytes = len_bytes,
        .prot = prot,
        .flags = flags,
        .fd = fd,
        .offset = offset_bytes,
    };
    struct range made;
    intptr_t where = api_may_call(space);

    if (where < 0)
        return where;
    where = space_mmap(space, &request, &made);
    populate_made(space, made);
    return where;
}

intptr_t uf_mmap_pager(struct uf_space *space, uintptr_t address,
                       size_t len_bytes, int prot, int flags,
                       struct uf_pager *pager, uint64_t offset_bytes)
{
    struct map_request request = {
        .addr = address,
        .len_bytes = len_bytes,
        .prot = prot,
        .flags = flags | MAP_ANONYMOUS,
        .fd = -1,
        .pager = pager,
        .pager_offset = offset_bytes,
    };
    struct range made;
    intptr_t where = api_may_call(space);

    if (where < 0)
        return where;
    if (!pager || !is_aligned(offset_bytes, page_size()) ||
        (flags & (MAP_GROWSDOWN | MAP_HUGETLB)) ||
        (space->config.zero_only && pager != pager_zero()))
        return -EINVAL;
    if (offset_bytes + len_bytes < offset_bytes)
        return -EOVERFLOW;
    where = engine_ready_for_pager(space, pager);
    if (where < 0)
        return where;
    where = space_mmap(space, &request, &made);
    if (where >= 0 && (flags & MAP_SHARED))
        writeback_begin(space);
    populate_made(space, made);
    return where;
}

int uf_munmap(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    int err = api_may_call(space);

    return err ? err : space_munmap(space, address, len_bytes);
}

int uf_mprotect(struct uf_space *space, uintptr_t address, size_t len_bytes,
                int prot)
{
    struct map_made made;
    int err = api_may_call(space);

    if (err)
        return err;
    err = space_mprotect(space, address, len_bytes, prot, &made);
    for (unsigned i = 0; i < made.n; i++)
        fault_populate(space, made.parts[i], POPULATE_LOCKED, true);
    return err;
}

intptr_t uf_mremap(struct uf_space *space, uintptr_t address,
                   size_t old_len_bytes, size_t new_len_bytes, int flags,
                   uintptr_t new_address)
{
    struct range made;
    intptr_t where = api_may_call(space);

    if (where < 0)
        return where;
    where = space_mremap(space, address, old_len_bytes, new_len_bytes, flags,
                         new_address, &made);
    populate_made(space, made);
    return where;
}

static int madvise_populate(struct uf_space *space, uintptr_t address,
                            size_t len_bytes, enum populate_mode mode)
{
    struct range range;
    int err = map_range_check(address, len_bytes, &range);

    if (err || range_is_empty(range))
        return err;
    return fault_populate(space, range, mode, false);
}

/* A hint: what comes of it is nobody's business. */
static void prefetch_pagers(struct uf_space *space, uintptr_t address,
                            size_t len_bytes)
{
    struct range range;

    if (atomic_load(&space->has_pagers) &&
        map_range_check(address, len_bytes, &range) == 0 &&
        !range_is_empty(range))
        prefetch_request(space, range, true);
}

/* The whole huge pages of a range. */
static struct range huge_pages_in(struct range range)
{
    size_t huge = page_size() / 8 * page_size();
    struct range inner = {align_up(range.start, huge),
                          align_down(range.end, huge)};

    if (inner.start >= inner.end)
        inner.end = inner.start = 0;
    return inner;
}

int uf_madvise(struct uf_space *space, uintptr_t address, size_t len_bytes,
               int advice)
{
    struct range range;
    int err = api_may_call(space);

    if (err)
        return err;
    if (advice == MADV_POPULATE_READ)
        return madvise_populate(space, address, len_bytes, POPULATE_READ);
    if (advice == MADV_POPULATE_WRITE)
        return madvise_populate(space, address, len_bytes, POPULATE_WRITE);
    /* The kernel does not collapse what a userfaultfd may still fill. */
    if (advice == MADV_COLLAPSE &&
        map_range_check(address, len_bytes, &range) == 0 &&
        range_covers(space->region.range, range))
        populate_made(space, huge_pages_in(range));
    err = space_madvise(space, address, len_bytes, advice);
    if (advice == MADV_HUGEPAGE && (!err || err == -ENOMEM))
        background_ready_for_huge(space);
    if (advice == MADV_WILLNEED && (!err || err == -ENOMEM))
        prefetch_pagers(space, address, len_bytes);
    return err;
}

int uf_mincore(struct uf_space *space, uintptr_t address, size_t len_bytes,
               unsigned char *ret_vec)
{
    if (!api_is_live(space))
        return -EINVAL;
    return space_mincore(space, address, len_bytes, ret_vec);
}

/* __mlock_posix_error_return */
static int lock_error(int err)
{
    if (err == -EFAULT)
        return -ENOMEM;
    return err == -ENOMEM ? -EAGAIN : err;
}

int uf_mlock2(struct uf_space *space, uintptr_t address, size_t len_bytes,
              unsigned flags)
{
    uint32_t lock = VMA_LOCKED;
    struct range made;
    int err = api_may_call(space);

    if (err)
        return err;
    if (flags & ~UF_MLOCK_ONFAULT)
        return -EINVAL;
    if (flags & UF_MLOCK_ONFAULT)
        lock |= VMA_LOCKONFAULT;
    err = space_mlock(space, address, len_bytes, lock, &made);
    if (err || range_is_empty(made) || (flags & UF_MLOCK_ONFAULT))
        return err;
    return lock_error(fault_populate(space, made, POPULATE_AUTO, false));
}

int uf_mlock(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    return uf_mlock2(space, address, len_bytes, 0);
}

int uf_munlock(struct uf_space *space, uintptr_t address, size_t len_bytes)
{
    int err = api_may_call(space);

    return err ? err : space_munlock(space, address, len_bytes);
}

int uf_mlockall(struct uf_space *space, int flags)
{
    int known = UF_MCL_CURRENT | UF_MCL_FUTURE | UF_MCL_ONFAULT;
    struct range made;
    int err = api_may_call(space);

    if (err)
        return err;
    if (flags == 0 || (flags & ~known) || flags == UF_MCL_ONFAULT)
        return -EINVAL;
    err = space_mlockall(space, flags, &made);
    populate_made(space, made);
    return err;
}

int uf_munlockall(struct uf_space *space)
{
    struct range made;
    int err = api_may_call(space);

    return err ? err : space_mlockall(space, 0, &made);
}

int uf_msync(struct uf_space *space, uintptr_t address, size_t len_bytes,
             int flags)
{
    if (!api_is_live(space))
        return -EINVAL;
    return space_msync(space, address, len_bytes, flags, writeback_sync);
}
