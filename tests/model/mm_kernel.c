/* SPDX-License-Identifier: MIT */
/*
 * The kernel side: each operation as the real system call, on the only free
 * range of a process.
 *
 * A range that reaches beyond the end must meet there what it would meet at the
 * end of the address space. Calls that compare with TASK_SIZE are moved up to
 * stand before TASK_SIZE as they stood before the end, where they fail without
 * effect (mmap, munmap, mremap, mincore); calls that look for mappings find
 * none, since the zones are opened for them.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/range.h"
#include "ufault/ufault.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int64_t answer(long rc)
{
    return rc == -1 ? -errno : rc;
}

/* ------------------------------------------------------ ranges of a call -- */

/* What of [at, at + len) is given to the kernel. */
struct given {
    uintptr_t at;
    uint64_t len;
    uint32_t low, high; /* zones to open */
};

/* The end, in whole pages, is beyond the top of all numbers. */
static bool wraps(uintptr_t at, uint64_t len)
{
    uint64_t bytes = len + at % page_size();

    return bytes < len || bytes > UINT64_MAX - (page_size() - 1) ||
           align_down(at, page_size()) + align_up(bytes, page_size()) <
               align_down(at, page_size());
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* For calls that look for mappings and do not compare with TASK_SIZE. What
 * lies beyond a zone holds nothing that is ours, and is cut off. */
static struct given give(const struct mm_side *side, uintptr_t at, uint64_t len)
{
    size_t page = page_size();
    uintptr_t zone_end = side->end + ZONE_PAGES * page;
    struct given given = {at, len, 0, 0};

    if (wraps(at, len) || at >= mm_room_task_size())
        return given;
    if (at >= side->base && at <= side->end && len <= side->end - at)
        return given;
    given.low = given.high = ZONE_PAGES;
    if (at < side->base)
        given.at = side->base - page + at % page;
    else if (at >= zone_end)
        given.at = zone_end - page + at % page;
    if (at < side->base || at >= zone_end)
        given.len = at_most(len, page - at % page);
    else
        given.len = at_most(len, zone_end - at);
    return given;
}

/* As far before TASK_SIZE as `at` is before the end. */
static uintptr_t at_top(const struct mm_side *side, uintptr_t at)
{
    return at + (mm_room_task_size() - side->end);
}

static bool ends_beyond(const struct mm_side *side, uintptr_t at, uint64_t len)
{
    return at >= side->base && at <= mm_room_task_size() &&
           (at > side->end || len > side->end - at);
}

/* ---------------------------------------------------------------- calls -- */

static int64_t call_mmap(struct mm_side *side, const struct mm_args *args)
{
    uintptr_t at = args->at;

    if ((args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) &&
        ends_beyond(side, at, align_up(args->len, page_size())))
        at = at_top(side, at);
    return answer(syscall(SYS_mmap, at, args->len, args->prot, args->flags,
                          mm_file(args->file), args->extra));
}

static int64_t call_munmap(struct mm_side *side, const struct mm_args *args)
{
    uintptr_t at = args->at;

    if (ends_beyond(side, at, args->len))
        at = at_top(side, at);
    return answer(syscall(SYS_munmap, at, args->len));
}

static int64_t call_mremap(struct mm_side *side, const struct mm_args *args)
{
    uintptr_t dest = args->dest;
    uint64_t new_len = args->extra;

    if (new_len > side->end && new_len <= mm_room_task_size())
        new_len = at_top(side, new_len);
    if ((args->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) &&
        ends_beyond(side, dest, args->extra))
        dest = at_top(side, dest);
    if (args->at >= side->end || ends_beyond(side, args->at, args->len))
        mm_room_open(0, ZONE_PAGES);
    return answer(
        syscall(SYS_mremap, args->at, args->len, new_len, args->flags, dest));
}

/* On [at, at + len), and what else the call takes. */
static int64_t call_on_range(struct mm_side *side, const struct mm_args *args,
                             unsigned char *vec)
{
    struct given given = give(side, args->at, args->len);

    if (given.low || given.high)
        mm_room_open(given.low, given.high);
    switch (args->kind) {
    case MM_MPROTECT:
        return answer(syscall(SYS_mprotect, given.at, given.len, args->prot));
    case MM_MADVISE:
        return answer(syscall(SYS_madvise, given.at, given.len, args->flags));
    case MM_POPULATE:
        return answer(
            syscall(SYS_madvise, given.at, given.len, MADV_POPULATE_WRITE));
    case MM_MINCORE:
        if (ends_beyond(side, args->at, args->len))
            given = (struct given){at_top(side, args->at), args->len, 0, 0};
        return answer(syscall(SYS_mincore, given.at, given.len, vec));
    case MM_MLOCK:
        return answer(syscall(SYS_mlock, given.at, given.len));
    case MM_MLOCK2:
        return answer(syscall(SYS_mlock2, given.at, given.len, args->flags));
    case MM_MUNLOCK:
        return answer(syscall(SYS_munlock, given.at, given.len));
    case MM_MSYNC:
        return answer(syscall(SYS_msync, given.at, given.len, args->flags));
    default:
        return -ENOSYS;
    }
}

static uint64_t outside[MM_GAUGES]; /* what the process has beside the range */

/* Locks the process's own memory with the range, and unlocks it again. The
 * limit is compared with all that is mapped, which is far more than any: what
 * is mapped in the range decides whether it binds. */
static int64_t call_mlockall(const struct mm_args *args)
{
    bool current = args->flags & MCL_CURRENT;
    uint64_t limit = mm_room_limit_now(UF_LIMIT_MEMLOCK), gauges[MM_GAUGES];
    int64_t rc;

    if (current && limit > 0 && mm_maps_gauges(gauges) == 0)
        mm_room_may_lock(gauges[MM_TOTAL] - outside[MM_TOTAL] <=
                         limit / page_size());
    rc = answer(syscall(SYS_mlockall, args->flags));
    mm_room_limit_lift(false);
    if (current)
        mm_room_unlock();
    return rc;
}

static uintptr_t kernel_brk(uintptr_t brk)
{
    uintptr_t now;

#ifdef __x86_64__
    /* Not syscall(2): it turns an answer near the top into errno. */
    __asm__ volatile("syscall"
                     : "=a"(now)
                     : "a"(SYS_brk), "D"(brk)
                     : "rcx", "r11", "memory");
#else
    now = (uintptr_t)syscall(SYS_brk, brk);
#endif
    return now;
}

static uintptr_t brk_now(struct mm_side *side)
{
    (void)side;
    return kernel_brk(0);
}

/* One page beyond is free: a break at the very end is still allowed. */
static int64_t call_brk(struct mm_side *side, const struct mm_args *args)
{
    (void)side;
    mm_room_open(0, 1);
    return (int64_t)kernel_brk(args->at);
}

/* As libc's sbrk, which need not know where the break is. */
static int64_t call_sbrk(struct mm_side *side, const struct mm_args *args)
{
    uintptr_t old = brk_now(side), want = old + args->len;
    int64_t increment = (int64_t)args->len;

    if (increment == 0)
        return (int64_t)old;
    if (increment > 0 ? want < old : want > old)
        return -ENOMEM;
    mm_room_open(0, 1);
    return kernel_brk(want) < want ? -ENOMEM : (int64_t)old;
}

static int64_t dispatch(struct mm_side *side, const struct mm_args *args,
                        unsigned char *vec)
{
    switch (args->kind) {
    case MM_MMAP:
        return call_mmap(side, args);
    case MM_MUNMAP:
        return call_munmap(side, args);
    case MM_MREMAP:
        return call_mremap(side, args);
    case MM_MLOCKALL:
        return call_mlockall(args);
    case MM_MUNLOCKALL:
        return answer(syscall(SYS_munlockall));
    case MM_BRK:
        return call_brk(side, args);
    case MM_SBRK:
        return call_sbrk(side, args);
    case MM_LIMIT:
        mm_room_limit(args->flags, args->extra);
        return 0;
    default:
        return call_on_range(side, args, vec);
    }
}

static int64_t call(struct mm_side *side, const struct mm_args *args,
                    unsigned char *vec)
{
    int64_t rc = dispatch(side, args, vec);
    int err = mm_room_close();

    return err ? INT64_MIN + err : rc; /* no kernel answers so */
}

/* -------------------------------------------------------------- the side -- */

static int prepare(struct mm_side *side, bool bottom_up)
{
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    int err = mm_room_may_lock(true);

    (void)bottom_up; /* main asked for it before execve */
    setrlimit(RLIMIT_STACK, &unlimited);
    prctl(PR_SET_DUMPABLE, 1); /* or /proc/self is root's */
    if (!err)
        err = mm_maps_open();
    if (!err)
        err = mm_room_fill(side->arena, ARENA_PAGES * page_size());
    return err;
}

static int begin(struct mm_side *side)
{
    int err = mm_room_set(side->base, side->end);
    if (!err)
        err = mm_maps_gauges(outside);
    /* The kernel loses count (mm_meant.c), and would compare limits with it. */
    if (!err && outside[MM_LOCKED] > 0)
        err = -EAGAIN;
    if (!err)
        err = mm_room_set_brk(side->base);
    return err;
}

static void end_run(struct mm_side *side)
{
    (void)side;
    syscall(SYS_munlockall);
    for (int which = 0; which <= UF_LIMIT_MAP_COUNT; which++)
        mm_room_limit(which, UF_UNLIMITED);
}

static int list(struct mm_side *side, struct mm_map *maps)
{
    return mm_maps_list(side->base, side->end, maps);
}

static int list_flags(struct mm_side *side, struct mm_map *maps, int nmaps)
{
    return mm_maps_flags(side->base, side->end, maps, nmaps);
}

static int side_mincore(struct mm_side *side, uintptr_t at, size_t len,
                        unsigned char *vec)
{
    (void)side;
    return mincore((void *)at, len, vec) < 0 ? -errno : 0;
}

static int gauges(struct mm_side *side, uint64_t *ret_gauges)
{
    int err = mm_maps_gauges(ret_gauges);

    (void)side;
    for (int i = 0; !err && i < MM_GAUGES; i++)
        ret_gauges[i] -= outside[i];
    return err;
}

/* Not libc's: that allocates. */
static pid_t bare_fork(struct mm_side *side)
{
    (void)side;
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

struct mm_side *mm_kernel_side(void)
{
    static struct mm_side side = {
        .id = SIDE_KERNEL,
        .prepare = prepare,
        .begin = begin,
        .end_run = end_run,
        .call = call,
        .brk_now = brk_now,
        .list = list,
        .list_flags = list_flags,
        .mincore = side_mincore,
        .gauges = gauges,
        .fork = bare_fork,
    };

    return &side;
}
