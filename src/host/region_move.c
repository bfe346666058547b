/* SPDX-License-Identifier: MIT */
/*
 * What the kernel itself maps inside a region, and what mremap(2) moves there.
 *
 * The kernel's own moves and growths leave or need a hole, and a hole in a
 * reservation is where another thread's mmap(NULL) may land. So a move
 * leaves the old mapping in place, empty (MREMAP_DONTUNMAP), for region_renew
 * to replace in one step; and what grows is made outside the region (staging)
 * and moved over the reservation, again in one step.
 *
 *     [from] ──DONTUNMAP──► [staging] ──grows as it moves──► [to ...... )
 *        └─ region_renew
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "host/region.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

int region_map_fd(struct region *region, struct range part, int prot, int flags,
                  int fd, off_t offset_bytes)
{
    if (sys->mmap(at(part.start), range_len(part), prot, flags | MAP_FIXED, fd,
                  offset_bytes) == MAP_FAILED)
        return -errno;
    return region_keep_from_children(region, part);
}

/* Moves without a hole. 0 or -errno, nothing changed. */
static int move_pages(struct range from, struct range to)
{
    struct range half[2] = {from, to};
    size_t len = align_down(range_len(from) / 2, page_size());
    int err;

    if (sys->mremap(at(from.start), range_len(from), range_len(from),
                    MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                    at(to.start)) != MAP_FAILED)
        return 0;
    if (errno != EFAULT || len == 0)
        return -errno;
    /* More than one VMA of the host: it moves them one at a time. */
    half[0].end = from.start + len;
    half[1].end = to.start + len;
    err = move_pages(half[0], half[1]);
    if (err)
        return err;
    from.start = half[0].end;
    to.start = half[1].end;
    err = move_pages(from, to);
    if (err)
        move_pages(half[1], half[0]);
    return err;
}

int region_move_served(struct region *region, struct range from,
                       struct range to)
{
    (void)region;
    return move_pages(from, to);
}

static void mark(struct range part, int advice)
{
    sys->madvise(at(part.start), range_len(part), advice);
}

/*
 * The kernel takes the registration from what it has moved. If what it has
 * moved became one VMA with its new neighbours, it takes theirs too: they are
 * the reservation, whose faults would be answered with zeros from then on. An
 * advice that no other memory of a region carries keeps the moved VMA apart
 * until it is registered; the old place may have become one with it, so it is
 * registered again as well. It is closed all the while.
 */
int region_move(struct region *region, struct range from, struct range to)
{
    int err;

    if (sys->madvise(at(from.start), range_len(from), MADV_RANDOM) < 0)
        return -errno;
    err = move_pages(from, to);
    if (!err) {
        err = region_register(region, to);
        if (!err)
            err = region_register(region, from);
        if (err)
            move_pages(to, from);
        mark(to, MADV_NORMAL);
    }
    mark(from, MADV_NORMAL);
    return err;
}

int region_copy_shared(struct region *region, uintptr_t from, struct range to)
{
    if (sys->mremap(at(from), 0, range_len(to), MREMAP_MAYMOVE | MREMAP_FIXED,
                    at(to.start)) == MAP_FAILED)
        return -errno;
    return region_keep_from_children(region, to);
}

/* Room outside the region, to make a mapping in. NULL if there is none. */
static void *staging(size_t len_bytes)
{
    void *p = sys->mmap(NULL, len_bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int region_move_longer(struct region *region, struct range from,
                       struct range to)
{
    size_t len = range_len(from);
    void *stage = staging(range_len(to));
    int err;

    if (!stage)
        return -ENOMEM;
    if (sys->mremap(at(from.start), len, len,
                    MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                    stage) == MAP_FAILED) {
        err = -errno;
        sys->munmap(stage, range_len(to));
        return err;
    }
    if (sys->mremap(stage, len, range_len(to), MREMAP_MAYMOVE | MREMAP_FIXED,
                    at(to.start)) != MAP_FAILED) {
        sys->munmap((char *)stage + len, range_len(to) - len);
        return region_keep_from_children(region, to);
    }
    err = -errno;
    sys->mremap(stage, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(from.start));
    sys->munmap(stage, range_len(to));
    return err;
}

/* The tail of a longer copy, moved behind the mapping. */
static int lengthen_shared(struct range whole, size_t old_len)
{
    size_t more = range_len(whole) - old_len;
    char *copy =
        sys->mremap(at(whole.start), 0, range_len(whole), MREMAP_MAYMOVE, NULL);
    int err = 0;

    if (copy == MAP_FAILED)
        return -errno;
    if (sys->mremap(copy + old_len, more, more, MREMAP_MAYMOVE | MREMAP_FIXED,
                    at(whole.start + old_len)) == MAP_FAILED) {
        err = -errno;
        sys->munmap(copy, range_len(whole));
    }
    sys->munmap(copy, old_len);
    return err;
}

/*
 * A private mapping of a file cannot be copied, and moving it to and fro would
 * show the bare file meanwhile. So there is a hole for the length of one call.
 * If another thread's mmap lands in it, -EEXIST: what landed stays, and the
 * caller must not use its place.
 */
static int lengthen_private(struct region *region, struct range whole,
                            size_t old_len)
{
    struct range more = {whole.start + old_len, whole.end};
    int err = 0;

    if (sys->munmap(at(more.start), range_len(more)) < 0)
        return -errno;
    if (sys->mremap(at(whole.start), old_len, range_len(whole), 0, NULL) !=
        MAP_FAILED)
        return 0;
    err = -errno;
    if (sys->mmap(at(more.start), range_len(more), PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                      MAP_FIXED_NOREPLACE,
                  -1, 0) == MAP_FAILED)
        return errno == EEXIST ? -EEXIST : err;
    region_keep_from_children(region, more);
    region_register(region, more);
    return err;
}

int region_lengthen(struct region *region, struct range whole, size_t old_len,
                    bool shared)
{
    int err = shared ? lengthen_shared(whole, old_len)
                     : lengthen_private(region, whole, old_len);

    return err ? err : region_keep_from_children(region, whole);
}
