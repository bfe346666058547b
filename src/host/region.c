/* SPDX-License-Identifier: MIT */
/* See region.h. */
#include "host/region.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static int or_errno(int rc)
{
    return rc < 0 ? -errno : 0;
}

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

/* mmap at exactly `address`, or nothing; kernels before 4.17 take NOREPLACE
 * for a hint, so the answer is compared. */
static int map_exactly(uintptr_t address, size_t len_bytes, int prot, int flags)
{
    void *p = sys->mmap(
        at(address), len_bytes, prot,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    if (p != at(address)) {
        sys->munmap(p, len_bytes);
        return -EEXIST;
    }
    return 0;
}

static int undo_reserve(struct region *region, int err)
{
    region_release(region);
    return err;
}

/* More than the page: then no page table stays behind, which would keep a huge
 * page from being moved there (kernels with CONFIG_PT_RECLAIM). */
static size_t first_huge_page(const struct region *region)
{
    size_t huge = page_size() / 8 * page_size();

    return range_len(region->range) < huge ? page_size() : huge;
}

/*
 * The kernel joins two of its VMAs only if they share an anon_vma, which each
 * gets at its first write fault: pieces opened apart would stay apart for ever
 * when closed again. One write before the first split gives the reservation one
 * for all, so the host's VMAs are as many as protections need.
 */
static int share_one_anon_vma(struct region *region)
{
    char *first = at(region->range.start);

    if (sys->mprotect(first, page_size(), PROT_READ | PROT_WRITE) == 0) {
        *(volatile char *)first = 0;
        if (sys->mprotect(first, page_size(), PROT_NONE) == 0 &&
            sys->madvise(first, first_huge_page(region), MADV_DONTNEED) == 0)
            return 0;
    }
    return undo_reserve(region, -errno);
}

int region_reserve(struct region *region, uintptr_t address, size_t len_bytes)
{
    void *p = at(address);
    int err = 0;

    if (address) {
        err = map_exactly(address, len_bytes, PROT_NONE, MAP_NORESERVE);
    } else {
        p = sys->mmap(NULL, len_bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            err = -errno;
    }
    if (err)
        return err;
    *region = (struct region){
        .kind = REGION_RESERVED,
        .range = {(uintptr_t)p, (uintptr_t)p + len_bytes},
    };
    return share_one_anon_vma(region);
}

void region_native(struct region *region, struct range range)
{
    *region = (struct region){.kind = REGION_NATIVE, .range = range};
}

void region_release(struct region *region)
{
    if (region->kind == REGION_RESERVED && !range_is_empty(region->range))
        sys->munmap(at(region->range.start), range_len(region->range));
    region->range.end = region->range.start;
}

/* Grows the mapping that ends where part starts. It keeps its registration, so
 * no descriptor is needed and any thread can do it, also one that has not ours
 * (see run/heap.c). 0, or -errno if it cannot be done this way. */
static int extend_native(const struct region *region, struct range part)
{
    uintptr_t last = part.start - page_size();
    int err;

    if (part.start == region->range.start)
        return -ENOENT; /* the heap is empty: nothing to grow */
    /* Memory locked by mlock(2) would be populated within mremap, whose caller
     * holds the lock that its faults wait for. -EBUSY says it is. */
    if (sys->msync(at(last), page_size(), MS_INVALIDATE) < 0 ||
        sys->mremap(at(last), page_size(), page_size() + range_len(part), 0,
                    NULL) == MAP_FAILED)
        return -errno;
    /* The page below may have a protection of the program's choice. */
    err = or_errno(
        sys->mprotect(at(part.start), range_len(part), PROT_READ | PROT_WRITE));
    if (err)
        sys->munmap(at(part.start), range_len(part));
    return err;
}

static int open_native(struct region *region, struct range part)
{
    struct range guard = {part.end, part.end + page_size()};
    unsigned char vec;
    int err;

    /* brk(2) wants one free page between the heap and the next mapping. */
    if (sys->mincore(at(guard.start), range_len(guard), &vec) == 0)
        return -EEXIST;
    if (region->uffd && extend_native(region, part) == 0)
        return 0;
    err = map_exactly(part.start, range_len(part), PROT_READ | PROT_WRITE, 0);
    if (err || !region->uffd)
        return err;
    err = uffd_register(region->uffd, part).err;
    if (err)
        sys->munmap(at(part.start), range_len(part));
    return err;
}

int region_open(struct region *region, struct range part)
{
    if (region->kind == REGION_NATIVE)
        return open_native(region, part);
    if (!range_is_empty(region->lost)) {
        int err = region_recover(region, part);

        if (err)
            return err;
    }
    return region_protect(region, part, PROT_READ | PROT_WRITE);
}

int region_close(struct region *region, struct range part)
{
    if (region->kind == REGION_NATIVE)
        return or_errno(sys->munmap(at(part.start), range_len(part)));
    /* Protection first: it is the step that may fail, and once it is done no
     * touch can bring back what is dropped next. */
    if (sys->mprotect(at(part.start), range_len(part), PROT_NONE) < 0)
        return -errno;
    return region_drop(region, part);
}

int region_drop(struct region *region, struct range part)
{
    (void)region;
    if (sys->madvise(at(part.start), range_len(part), MADV_DONTNEED) == 0)
        return 0;
    /* Locked memory keeps its pages but for this one, of 5.18. */
    return or_errno(
        sys->madvise(at(part.start), range_len(part), MADV_DONTNEED_LOCKED));
}

int region_forbid(struct region *region, struct range part)
{
    (void)region;
    return or_errno(sys->mprotect(at(part.start), range_len(part), PROT_NONE));
}

int region_dontfork(struct region *region)
{
    region->dontfork = true;
    return or_errno(sys->madvise(at(region->range.start),
                                 range_len(region->range), MADV_DONTFORK));
}

void region_prefer_huge(struct region *region)
{
    region->huge = sys->madvise(at(region->range.start),
                                range_len(region->range), MADV_HUGEPAGE) == 0;
}

int region_residency(struct range part, unsigned char *ret_vec)
{
    return or_errno(sys->mincore(at(part.start), range_len(part), ret_vec));
}

/* ---- RESERVED regions only --------------------------------------------- */

int region_keep_from_children(const struct region *region, struct range part)
{
    if (!region->dontfork)
        return 0;
    return or_errno(
        sys->madvise(at(part.start), range_len(part), MADV_DONTFORK));
}

int region_register(struct region *region, struct range part)
{
    if (!region->uffd)
        return 0;
    return region->tracked ? region->uffd->ops->track(region->uffd, part).err
                           : uffd_register(region->uffd, part).err;
}

int region_register_shared(struct region *region, struct range part,
                           bool protectable)
{
    struct uffd *uffd = region->uffd;

    return protectable ? uffd->ops->track(uffd, part).err
                       : uffd_register(uffd, part).err;
}

static int reserve_again(struct region *region, struct range part)
{
    int err = 0;

    if (sys->mmap(at(part.start), range_len(part), PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                  0) == MAP_FAILED)
        return -errno;
    if (region->huge)
        sys->madvise(at(part.start), range_len(part), MADV_HUGEPAGE);
    err = region_keep_from_children(region, part);
    return err ? err : region_register(region, part);
}

int region_recover(struct region *region, struct range part)
{
    struct range lost = range_clip(part, region->lost);
    int err = range_is_empty(lost) ? 0 : reserve_again(region, lost);

    if (!err && range_covers(lost, region->lost))
        region->lost = (struct range){0, 0};
    return err;
}

int region_renew(struct region *region, struct range part)
{
    int err = reserve_again(region, part);

    if (err)
        region->lost = range_hull(region->lost, part);
    return err;
}

int region_protect(struct region *region, struct range part, int prot)
{
    (void)region;
    return or_errno(sys->mprotect(at(part.start), range_len(part), prot));
}

int region_advise(struct region *region, struct range part, int advice)
{
    (void)region;
    return or_errno(sys->madvise(at(part.start), range_len(part), advice));
}

int region_lock(struct region *region, struct range part, bool locked)
{
    (void)region;
    if (!locked)
        return or_errno(sys->munlock(at(part.start), range_len(part)));
    return or_errno(
        sys->mlock2(at(part.start), range_len(part), MLOCK_ONFAULT));
}

int region_sync(struct region *region, struct range part, int flags)
{
    (void)region;
    return or_errno(sys->msync(at(part.start), range_len(part), flags));
}
