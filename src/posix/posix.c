/* SPDX-License-Identifier: MIT */
/*
 * libc's mmap family on the default space: whose memory is it, then api.c's
 * functions, or the kernel. Beside api.c the only file that exports.
 *
 * A call that changes or asks about a range is a struct call: what to do with a
 * part in the space, and with one outside. on_range applies it to the parts in
 * address order, as the kernel goes through its mappings, so that a call which
 * stops half-way has done the same part of its work.
 */
#include "ufault/posix.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "posix/across.h"
#include "posix/default_space.h"
#include "posix/parts.h"
#include "ufault/ufault.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MAP_FIXED_ANY  (MAP_FIXED | MAP_FIXED_NOREPLACE)
#define MREMAP_TO_ADDR (MREMAP_FIXED | MREMAP_DONTUNMAP)

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

/* 0 or -errno to 0 or -1 and errno. */
static int answer(int err)
{
    if (!err)
        return 0;
    errno = -err;
    return -1;
}

/* An address or -errno to an address or MAP_FAILED and errno. */
static void *answer_address(intptr_t where)
{
    if (where >= 0)
        return at((uintptr_t)where);
    errno = (int)-where;
    return MAP_FAILED;
}

static int or_errno(int rc)
{
    return rc < 0 ? -errno : 0;
}

static struct range space_range(const struct uf_space *space)
{
    uintptr_t base = uf_space_base(space);

    return (struct range){base, base + uf_space_len(space)};
}

struct uf_space *uf_posix_space(void)
{
    struct uf_space *space;
    int err = default_space_get(&space);

    if (!err)
        return space;
    errno = -err;
    return NULL;
}

int uf_posix_set_space(struct uf_space *space)
{
    return default_space_set(space);
}

/* ------------------------------------------------------- calls on ranges -- */

struct call {
    /* 0 or -errno; `arg` and `vec` are the call's further arguments. */
    int (*inside)(struct uf_space *space, uintptr_t addr, size_t len,
                  const struct call *call);
    int (*outside)(void *addr, size_t len, const struct call *call);
    int arg;
    unsigned char *vec; /* mincore's answer for the range's first page... */
    uintptr_t first;    /* ...which is here */
    bool past_holes;    /* -ENOMEM of one part does not keep from the next */
    bool past_faults;   /* nor any error, if all of the part is mapped */
    bool from_above;    /* the highest part first */
};

static bool is_mapped(struct uf_space *space, struct range part, bool inside)
{
    size_t len = range_len(part);

    if (inside)
        return uf_msync(space, part.start, len, MS_ASYNC) == 0;
    return sys->msync(at(part.start), len, MS_ASYNC) == 0;
}

static int on_parts(const struct call *call, struct uf_space *space,
                    const struct parts *parts)
{
    const struct range part[3] = {parts->below, parts->inside, parts->above};
    int passed = 0;

    for (int n = 0; n < 3; n++) {
        int i = call->from_above ? 2 - n : n, err = 0;
        uintptr_t start = part[i].start;
        size_t len = range_len(part[i]);

        if (len > 0)
            err = i == 1 ? call->inside(space, start, len, call)
                         : call->outside(at(start), len, call);
        if (!err)
            continue;
        if (!(call->past_holes && err == -ENOMEM) &&
            !(call->past_faults && is_mapped(space, part[i], i == 1)))
            return err;
        passed = err;
    }
    return passed;
}

static int on_range(struct call *call, const void *addr, size_t len)
{
    struct uf_space *space = default_space_now();
    uintptr_t start = (uintptr_t)addr;
    enum parts_kind kind = PARTS_OUTSIDE;
    struct parts parts;

    call->first = start;
    if (space)
        kind = parts_of(start, len, space_range(space), &parts);
    if (kind == PARTS_BOTH)
        return on_parts(call, space, &parts);
    return kind == PARTS_INSIDE ? call->inside(space, start, len, call)
                                : call->outside(at(start), len, call);
}

static int munmap_inside(struct uf_space *space, uintptr_t addr, size_t len,
                         const struct call *call)
{
    (void)call;
    return uf_munmap(space, addr, len);
}

static int munmap_outside(void *addr, size_t len, const struct call *call)
{
    (void)call;
    return or_errno(sys->munmap(addr, len));
}

/* From above, so that an end beyond the address space is refused first. */
int uf_posix_munmap(void *addr, size_t len)
{
    struct call call = {
        .inside = munmap_inside,
        .outside = munmap_outside,
        .from_above = true,
    };

    return answer(on_range(&call, addr, len));
}

static int mprotect_inside(struct uf_space *space, uintptr_t addr, size_t len,
                           const struct call *call)
{
    return uf_mprotect(space, addr, len, call->arg);
}

static int mprotect_outside(void *addr, size_t len, const struct call *call)
{
    return or_errno(sys->mprotect(addr, len, call->arg));
}

int uf_posix_mprotect(void *addr, size_t len, int prot)
{
    struct call call = {
        .inside = mprotect_inside, .outside = mprotect_outside, .arg = prot};

    return answer(on_range(&call, addr, len));
}

static int madvise_inside(struct uf_space *space, uintptr_t addr, size_t len,
                          const struct call *call)
{
    return uf_madvise(space, addr, len, call->arg);
}

static int madvise_outside(void *addr, size_t len, const struct call *call)
{
    return or_errno(sys->madvise(addr, len, call->arg));
}

int uf_posix_madvise(void *addr, size_t len, int advice)
{
    struct call call = {
        .inside = madvise_inside,
        .outside = madvise_outside,
        .arg = advice,
        .past_holes =
            advice != MADV_POPULATE_READ && advice != MADV_POPULATE_WRITE,
    };

    return answer(on_range(&call, addr, len));
}

static unsigned char *vec_at(const struct call *call, uintptr_t addr)
{
    return call->vec + (addr - call->first) / page_size();
}

static int mincore_inside(struct uf_space *space, uintptr_t addr, size_t len,
                          const struct call *call)
{
    return uf_mincore(space, addr, len, vec_at(call, addr));
}

static int mincore_outside(void *addr, size_t len, const struct call *call)
{
    return or_errno(sys->mincore(addr, len, vec_at(call, (uintptr_t)addr)));
}

int uf_posix_mincore(void *addr, size_t len, unsigned char *vec)
{
    struct call call = {
        .inside = mincore_inside, .outside = mincore_outside, .vec = vec};

    return answer(on_range(&call, addr, len));
}

static int msync_inside(struct uf_space *space, uintptr_t addr, size_t len,
                        const struct call *call)
{
    return uf_msync(space, addr, len, call->arg);
}

static int msync_outside(void *addr, size_t len, const struct call *call)
{
    return or_errno(sys->msync(addr, len, call->arg));
}

int uf_posix_msync(void *addr, size_t len, int flags)
{
    struct call call = {
        .inside = msync_inside,
        .outside = msync_outside,
        .arg = flags,
        .past_holes = true,
    };

    return answer(on_range(&call, addr, len));
}

/* ----------------------------------------------------------------- locks -- */

/* mlock and munlock round the start down, and the end up from there. A length
 * that wraps is what is left of it, as in the kernel. */
static int on_rounded_range(struct call *call, const void *addr, size_t len)
{
    uintptr_t start = align_down((uintptr_t)addr, page_size());

    return on_range(call, at(start), len + ((uintptr_t)addr - start));
}

static int mlock2_inside(struct uf_space *space, uintptr_t addr, size_t len,
                         const struct call *call)
{
    return uf_mlock2(space, addr, len, (unsigned)call->arg);
}

static int mlock2_outside(void *addr, size_t len, const struct call *call)
{
    return or_errno(sys->mlock2(addr, len, (unsigned)call->arg));
}

int uf_posix_mlock2(const void *addr, size_t len, unsigned flags)
{
    struct call call = {
        .inside = mlock2_inside,
        .outside = mlock2_outside,
        .arg = (int)flags,
        /* The kernel marks all as locked, then brings pages in. */
        .past_faults = true,
    };

    return answer(on_rounded_range(&call, addr, len));
}

int uf_posix_mlock(const void *addr, size_t len)
{
    return uf_posix_mlock2(addr, len, 0);
}

static int munlock_inside(struct uf_space *space, uintptr_t addr, size_t len,
                          const struct call *call)
{
    (void)call;
    return uf_munlock(space, addr, len);
}

static int munlock_outside(void *addr, size_t len, const struct call *call)
{
    (void)call;
    return or_errno(sys->munlock(addr, len));
}

int uf_posix_munlock(const void *addr, size_t len)
{
    struct call call = {.inside = munlock_inside, .outside = munlock_outside};

    return answer(on_rounded_range(&call, addr, len));
}

int uf_posix_mlockall(int flags)
{
    struct uf_space *space;
    int err = default_space_get(&space);

    return answer(err ? err : uf_mlockall(space, flags));
}

int uf_posix_munlockall(void)
{
    struct uf_space *space = default_space_now();

    return answer(space ? uf_munlockall(space) : 0);
}

/* ------------------------------------------------------------------ mmap -- */

static void *map_fixed(void *addr, size_t len, const struct mapping *m)
{
    struct uf_space *space = default_space_now();
    uintptr_t start = (uintptr_t)addr;
    enum parts_kind kind = PARTS_OUTSIDE;
    struct parts parts;
    int err;

    if (space)
        kind = parts_of(start, len, space_range(space), &parts);
    switch (kind) {
    case PARTS_INSIDE:
        return answer_address(
            uf_mmap(space, start, len, m->prot, m->flags, m->fd, m->offset));
    case PARTS_BOTH:
        err = map_across(space, m, &parts);
        return answer_address(err ? err : (intptr_t)start);
    case PARTS_OUTSIDE:
        break;
    }
    return sys->mmap(addr, len, m->prot, m->flags, m->fd, m->offset);
}

void *uf_posix_mmap(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset)
{
    const struct mapping m = {prot, flags, fd, offset};
    struct uf_space *space;
    int err;

    if (flags & MAP_FIXED_ANY)
        return map_fixed(addr, len, &m);
    if ((flags & (MAP_32BIT | MAP_HUGETLB)) || default_space_is_not_for_me())
        return sys->mmap(addr, len, prot, flags, fd, offset);
    err = default_space_get(&space);
    if (err)
        return answer_address(err);
    return answer_address(
        uf_mmap(space, (uintptr_t)addr, len, prot, flags, fd, offset));
}

void *uf_posix_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                      off_t offset)
{
    return uf_posix_mmap(addr, len, prot, flags, fd, offset);
}

/* ---------------------------------------------------------------- mremap -- */

static bool touches(struct range space, uintptr_t addr, size_t len)
{
    struct range range;

    return range_make(addr, align_up(len, page_size()), &range) &&
           range_overlaps(range, space);
}

/* A move that begins outside the space: 0, or why it is not the kernel's. What
 * the kernel refuses in any case is left to it. */
static int refuse_move(struct range space, uintptr_t from, size_t old_len,
                       size_t new_len, int flags, uintptr_t to)
{
    if (!is_aligned(from, page_size()) ||
        (flags & ~(MREMAP_MAYMOVE | MREMAP_TO_ADDR)))
        return 0;
    if (touches(space, from, old_len))
        return -EFAULT;
    if ((flags & MREMAP_FIXED) && is_aligned(to, page_size()) &&
        touches(space, to, new_len))
        return -EINVAL;
    return 0;
}

void *uf_posix_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                      ...)
{
    struct uf_space *space = default_space_now();
    uintptr_t from = (uintptr_t)old_addr, to = 0;
    va_list more;
    int err = 0;

    if (flags & MREMAP_TO_ADDR) {
        va_start(more, flags);
        to = (uintptr_t)va_arg(more, void *);
        va_end(more);
    }
    if (space && range_contains(space_range(space), from))
        return answer_address(
            uf_mremap(space, from, old_len, new_len, flags, to));
    if (space)
        err =
            refuse_move(space_range(space), from, old_len, new_len, flags, to);
    if (err)
        return answer_address(err);
    return sys->mremap(old_addr, old_len, new_len, flags, at(to));
}

/* ----------------------------------------------------------------- break -- */

/* Threads that may not have the space's memory have no break either: there is
 * no other to go to. */
static int space_for_break(struct uf_space **ret_space)
{
    return default_space_is_not_for_me() ? -ENOMEM
                                         : default_space_get(ret_space);
}

int uf_posix_brk(void *addr)
{
    struct uf_space *space;
    int err = space_for_break(&space);

    if (!err && uf_brk(space, (uintptr_t)addr) < (uintptr_t)addr)
        err = -ENOMEM;
    return answer(err);
}

void *uf_posix_sbrk(intptr_t increment)
{
    struct uf_space *space;
    int err = space_for_break(&space);

    return answer_address(err ? err : uf_sbrk(space, increment));
}
