/* SPDX-License-Identifier: MIT */
/*
 * mapping_calls: what libc's functions on memory become; see mapping.h.
 *
 * Each looks where its range lies. Outside the region: the kernel's, at once.
 * Inside: the space's. Across an end of the region: cut, each part to its own.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "fault/engine.h"
#include "mm/space.h"
#include "run/mapping_calls.h"
#include "run/mapping_out.h"
#include "run/raw.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MAP_FIXED_ANY (MAP_FIXED | MAP_FIXED_NOREPLACE)

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

/* ------------------------------------------------------- where it lies -- */

enum place { OUTSIDE, INSIDE, ACROSS };

/* Of whole pages. What is empty or wraps is the kernel's to refuse. */
static enum place place_of(uintptr_t addr, size_t len, struct range *ret)
{
    *ret = (struct range){align_down(addr, page_size()),
                          align_up(addr + len, page_size())};
    if (len == 0 || ret->end <= ret->start || addr + len < addr ||
        !range_overlaps(*ret, mapping.range) || !mapping_is_on())
        return OUTSIDE;
    return range_covers(mapping.range, *ret) ? INSIDE : ACROSS;
}

/* ----------------------------------------------- around calls of a space -- */

struct guard {
    uint64_t mask;
    int saved_errno;
};

static struct guard enter(void)
{
    return (struct guard){raw_block_signals(), errno};
}

/* From 0 (an address) or -errno to libc's convention. */
static intptr_t leave(struct guard guard, intptr_t result)
{
    raw_restore_signals(guard.mask);
    errno = result < 0 ? (int)-result : guard.saved_errno;
    return result < 0 ? -1 : result;
}

/* What was mapped or opened is about to be touched by this thread. */
static void expect_touches(int prot)
{
    if ((prot & PROT_WRITE) && mapping.space->engine)
        near_come(mapping.space->engine->channels[0]);
}

/* -------------------------------------------------- calls on a range -- */

enum op { UNMAP, PROTECT, ADVISE, LOCK, UNLOCK, SYNC, RESIDENCY };

struct call {
    enum op op;
    int arg;
    uintptr_t addr; /* of the whole call */
    unsigned char *vec;
};

static unsigned char *vec_at(const struct call *c, uintptr_t addr)
{
    return c->vec + (addr - c->addr) / page_size();
}

/* The space's part: 0 or -errno. */
static int ask_space(const struct call *c, uintptr_t addr, size_t len)
{
    struct uf_space *space = mapping.space;

    switch (c->op) {
    case UNMAP:
        return uf_munmap(space, addr, len);
    case PROTECT:
        expect_touches(c->arg);
        return uf_mprotect(space, addr, len, c->arg);
    case ADVISE:
        return uf_madvise(space, addr, len, c->arg);
    case LOCK:
        return uf_mlock2(space, addr, len, (unsigned)c->arg);
    case UNLOCK:
        return uf_munlock(space, addr, len);
    case SYNC:
        return uf_msync(space, addr, len, c->arg);
    case RESIDENCY:
        return uf_mincore(space, addr, len, vec_at(c, addr));
    }
    return -EINVAL;
}

/* The kernel's part: 0 or -1 and errno. */
static int ask_kernel(const struct call *c, uintptr_t addr, size_t len)
{
    void *p = at(addr);

    switch (c->op) {
    case UNMAP:
        return raw_calls.munmap(p, len);
    case PROTECT:
        return raw_calls.mprotect(p, len, c->arg);
    case ADVISE:
        return raw_calls.madvise(p, len, c->arg);
    case LOCK:
        return raw_calls.mlock2(p, len, (unsigned)c->arg);
    case UNLOCK:
        return raw_calls.munlock(p, len);
    case SYNC:
        return raw_calls.msync(p, len, c->arg);
    case RESIDENCY:
        return raw_calls.mincore(p, len, vec_at(c, addr));
    }
    return -1;
}

/* The parts in order, until one fails. */
static int ask_both(const struct call *c, struct range range)
{
    struct range ours = range_clip(range, mapping.range);
    int rc = 0;

    if (range.start < ours.start)
        rc = ask_kernel(c, range.start, ours.start - range.start);
    if (rc == 0) {
        struct guard guard = enter();

        rc = (int)leave(guard, ask_space(c, ours.start, range_len(ours)));
    }
    if (rc == 0 && range.end > ours.end)
        rc = ask_kernel(c, ours.end, range.end - ours.end);
    return rc;
}

static int ask(const struct call *c, uintptr_t addr, size_t len)
{
    struct range range;
    struct guard guard;

    switch (place_of(addr, len, &range)) {
    case INSIDE:
        guard = enter();
        return (int)leave(guard, ask_space(c, addr, len));
    case ACROSS:
        return ask_both(c, range);
    default:
        return ask_kernel(c, addr, len);
    }
}

int mapping_munmap(void *addr, size_t len)
{
    struct call c = {.op = UNMAP};

    return ask(&c, (uintptr_t)addr, len);
}

int mapping_mprotect(void *addr, size_t len, int prot)
{
    struct call c = {.op = PROTECT, .arg = prot};

    return ask(&c, (uintptr_t)addr, len);
}

/* A key would stay on the reservation: refused there. */
int mapping_pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
    struct range range;

    if (pkey == -1)
        return mapping_mprotect(addr, len, prot);
    if (place_of((uintptr_t)addr, len, &range) == OUTSIDE)
        return raw_pkey_mprotect(addr, len, prot, pkey);
    errno = EINVAL;
    return -1;
}

int mapping_madvise(void *addr, size_t len, int advice)
{
    struct call c = {.op = ADVISE, .arg = advice};

    return ask(&c, (uintptr_t)addr, len);
}

/* As glibc's: POSIX_MADV_DONTNEED may not lose data, and does nothing. */
static int mapping_posix_madvise(void *addr, size_t len, int advice)
{
    int saved = errno, rc = 0;

    if (advice != POSIX_MADV_DONTNEED && mapping_madvise(addr, len, advice) < 0)
        rc = errno;
    errno = saved;
    return rc;
}

int mapping_mlock(const void *addr, size_t len)
{
    struct call c = {.op = LOCK};

    return ask(&c, (uintptr_t)addr, len);
}

int mapping_mlock2(const void *addr, size_t len, unsigned flags)
{
    struct call c = {.op = LOCK, .arg = (int)flags};

    return ask(&c, (uintptr_t)addr, len);
}

int mapping_munlock(const void *addr, size_t len)
{
    struct call c = {.op = UNLOCK};

    return ask(&c, (uintptr_t)addr, len);
}

static int mapping_msync(void *addr, size_t len, int flags)
{
    struct call c = {.op = SYNC, .arg = flags};

    pthread_testcancel(); /* msync is a place for it */
    return ask(&c, (uintptr_t)addr, len);
}

static int mapping_mincore(void *addr, size_t len, unsigned char *vec)
{
    struct call c = {.op = RESIDENCY, .addr = (uintptr_t)addr, .vec = vec};

    return ask(&c, (uintptr_t)addr, len);
}

/* ---------------------------------------------------------------- mmap -- */

struct mmap_args {
    uintptr_t addr;
    size_t len;
    int prot;
    int flags;
    int fd;
    off_t offset;
};

static void *kernel_mmap(const struct mmap_args *a)
{
    return raw_calls.mmap(at(a->addr), a->len, a->prot, a->flags, a->fd,
                          a->offset);
}

static void *space_mmap_here(const struct mmap_args *a)
{
    struct guard guard = enter();
    intptr_t where = uf_mmap(mapping.space, a->addr, a->len, a->prot, a->flags,
                             a->fd, a->offset);

    if (where >= 0)
        expect_touches(a->prot);
    return (void *)leave(guard, where); /* -1 is MAP_FAILED */
}

/* The space would allow what the kernel refuses; see mapping.h. */
static bool is_too_large(const struct mmap_args *a)
{
    return a->len > mapping.largest && (a->prot & PROT_WRITE) &&
           !(a->flags & MAP_NORESERVE);
}

/* Anonymous private memory, wherever the kernel would put it. */
static bool may_be_served(const struct mmap_args *a)
{
    return (a->flags & MAP_ANONYMOUS) &&
           (a->flags & (MAP_SHARED | MAP_PRIVATE)) == MAP_PRIVATE &&
           mapping_is_on();
}

static bool is_served(const struct mmap_args *a)
{
    int left = MAP_GROWSDOWN | MAP_HUGETLB | MAP_32BIT;

    if (!mapping.stacks)
        left |= MAP_STACK;
    return !(a->flags & left) && !is_too_large(a) &&
           (a->addr == 0 || range_contains(mapping.range, a->addr));
}

static void *mmap_anywhere(const struct mmap_args *a)
{
    int saved = errno;
    void *p = is_served(a) ? space_mmap_here(a) : MAP_FAILED;

    if (p != MAP_FAILED)
        return p;
    errno = saved;
    p = kernel_mmap(a);
    if (p != MAP_FAILED)
        atomic_fetch_add(mapping.nleft, 1);
    return p;
}

/* MAP_FIXED across an end of the region: its parts one by one. */
static void *mmap_across(const struct mmap_args *a, struct range range)
{
    struct range ours = range_clip(range, mapping.range);
    struct range parts[3] = {
        {range.start, ours.start}, ours, {ours.end, range.end}};

    for (int i = 0; i < 3; i++) {
        struct mmap_args part = *a;
        void *p;

        if (range_is_empty(parts[i]))
            continue;
        part.addr = parts[i].start;
        part.len = range_len(parts[i]);
        part.offset += (off_t)(parts[i].start - range.start);
        p = i == 1 ? space_mmap_here(&part) : kernel_mmap(&part);
        if (p == MAP_FAILED)
            return p;
    }
    return at(a->addr);
}

static void *mmap_fixed(const struct mmap_args *a)
{
    struct range range;

    switch (place_of(a->addr, a->len, &range)) {
    case INSIDE:
        return space_mmap_here(a);
    case ACROSS:
        if (is_aligned(a->addr, page_size()))
            return mmap_across(a, range);
        errno = EINVAL;
        return MAP_FAILED;
    default:
        return kernel_mmap(a);
    }
}

void *mapping_mmap(void *addr, size_t len, int prot, int flags, int fd,
                   off_t offset)
{
    struct mmap_args a = {(uintptr_t)addr, len, prot, flags, fd, offset};

    if (flags & MAP_FIXED_ANY)
        return mmap_fixed(&a);
    return may_be_served(&a) ? mmap_anywhere(&a) : kernel_mmap(&a);
}

/* -------------------------------------------------------------- mremap -- */

/* Inside the region, or out of it for want of room. */
static intptr_t move_inside(uintptr_t old, size_t old_len, size_t new_len,
                            int flags, uintptr_t to)
{
    intptr_t where = uf_mremap(mapping.space, old, old_len, new_len, flags, to);

    if (where == -ENOMEM && flags == MREMAP_MAYMOVE) {
        where = mapping_copy_out(old, old_len, new_len);
        if (where >= 0)
            atomic_fetch_add(mapping.nleft, 1);
    } else if (where >= 0) {
        expect_touches(PROT_WRITE);
    }
    return where;
}

void *mapping_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                     void *to_addr)
{
    uintptr_t old = (uintptr_t)old_addr, to = (uintptr_t)to_addr;
    struct range from, target;
    /* old_len 0 duplicates what is shared. */
    enum place source = place_of(old, old_len ? old_len : 1, &from);
    enum place goal =
        (flags & MREMAP_FIXED) ? place_of(to, new_len, &target) : source;
    struct guard guard;
    intptr_t where = -ENOMEM; /* into the region from outside: refused */

    if (source == OUTSIDE && goal == OUTSIDE)
        return raw_calls.mremap(old_addr, old_len, new_len, flags, to_addr);
    guard = enter();
    if (source == ACROSS)
        where = -EFAULT; /* more than one mapping */
    else if (source == INSIDE && goal == INSIDE)
        where = move_inside(old, old_len, new_len, flags, to);
    else if (source == INSIDE && goal == OUTSIDE)
        where = mapping_move_out(old, old_len, new_len, flags, to);
    return (void *)leave(guard, where);
}

/* -------------------------------------------------------------- the list -- */

#define LEAD(name, number)                                                     \
    {                                                                          \
#name, (void (*)(void))mapping_##name, number                          \
    }

const struct libc_call mapping_calls[] = {
    LEAD(mmap, SYS_mmap),
    LEAD(munmap, SYS_munmap),
    LEAD(mprotect, SYS_mprotect),
    LEAD(pkey_mprotect, SYS_pkey_mprotect),
    LEAD(mremap, SYS_mremap),
    LEAD(madvise, SYS_madvise),
    LEAD(posix_madvise, SYS_madvise),
    LEAD(mlock, SYS_mlock),
    LEAD(mlock2, SYS_mlock2),
    LEAD(munlock, SYS_munlock),
    LEAD(msync, SYS_msync),
    LEAD(mincore, SYS_mincore),
    {NULL, NULL, 0},
};
