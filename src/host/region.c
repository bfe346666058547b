/* SPDX-License-Identifier: MIT */
/* See region.h. */
#include "host/region.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
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
    void *p =
        mmap(at(address), len_bytes, prot,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    if (p != at(address)) {
        munmap(p, len_bytes);
        return -EEXIST;
    }
    return 0;
}

int region_reserve(struct region *region, uintptr_t address, size_t len_bytes)
{
    void *p = at(address);
    int err = 0;

    if (address) {
        err = map_exactly(address, len_bytes, PROT_NONE, MAP_NORESERVE);
    } else {
        p = mmap(NULL, len_bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            err = -errno;
    }
    if (err)
        return err;
    region->kind = REGION_RESERVED;
    region->range.start = (uintptr_t)p;
    region->range.end = (uintptr_t)p + len_bytes;
    region->uffd = NULL;
    return 0;
}

void region_native(struct region *region, struct range range)
{
    region->kind = REGION_NATIVE;
    region->range = range;
    region->uffd = NULL;
}

void region_release(struct region *region)
{
    if (region->kind == REGION_RESERVED && !range_is_empty(region->range))
        munmap(at(region->range.start), range_len(region->range));
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
    if (msync(at(last), page_size(), MS_INVALIDATE) < 0 ||
        mremap(at(last), page_size(), page_size() + range_len(part), 0) ==
            MAP_FAILED)
        return -errno;
    /* The page below may have a protection of the program's choice. */
    err = or_errno(
        mprotect(at(part.start), range_len(part), PROT_READ | PROT_WRITE));
    if (err)
        munmap(at(part.start), range_len(part));
    return err;
}

static int open_native(struct region *region, struct range part)
{
    struct range guard = {part.end, part.end + page_size()};
    unsigned char vec;
    int err;

    /* brk(2) wants one free page between the heap and the next mapping. */
    if (mincore(at(guard.start), range_len(guard), &vec) == 0)
        return -EEXIST;
    if (region->uffd && extend_native(region, part) == 0)
        return 0;
    err = map_exactly(part.start, range_len(part), PROT_READ | PROT_WRITE, 0);
    if (err || !region->uffd)
        return err;
    err = uffd_register(region->uffd, part).err;
    if (err)
        munmap(at(part.start), range_len(part));
    return err;
}

int region_open(struct region *region, struct range part)
{
    if (region->kind == REGION_NATIVE)
        return open_native(region, part);
    return or_errno(
        mprotect(at(part.start), range_len(part), PROT_READ | PROT_WRITE));
}

int region_close(struct region *region, struct range part)
{
    if (region->kind == REGION_NATIVE)
        return or_errno(munmap(at(part.start), range_len(part)));
    /* Protection first: it is the step that may fail, and once it is done no
     * touch can bring back what is dropped next. */
    if (mprotect(at(part.start), range_len(part), PROT_NONE) < 0)
        return -errno;
    return region_drop(region, part);
}

int region_drop(struct region *region, struct range part)
{
    (void)region;
    return or_errno(madvise(at(part.start), range_len(part), MADV_DONTNEED));
}

int region_forbid(struct region *region, struct range part)
{
    (void)region;
    return or_errno(mprotect(at(part.start), range_len(part), PROT_NONE));
}

int region_dontfork(struct region *region)
{
    return or_errno(madvise(at(region->range.start), range_len(region->range),
                            MADV_DONTFORK));
}

int region_residency(struct range part, unsigned char *ret_vec)
{
    return or_errno(mincore(at(part.start), range_len(part), ret_vec));
}
