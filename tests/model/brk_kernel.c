/* SPDX-License-Identifier: MIT */
/*
 * The oracle: this process's own heap, moved by brk(2) and by libc's sbrk(3).
 */
#include "model/brk_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/range.h"

static int statm_fd = -1;

static uintptr_t area_end(const struct side *side)
{
    return side->start + AREA_PAGES * page_size();
}

static uintptr_t raw_brk(struct side *side, uintptr_t brk)
{
    (void)side;
    return (uintptr_t)syscall(SYS_brk, brk);
}

/* libc keeps the break in a variable, which raw calls do not reach: asking it
 * to move the break to where it is brings it up to date. */
static uint64_t libc_sbrk(struct side *side, intptr_t increment)
{
    void *old;

    if (brk((void *)raw_brk(side, 0)) < 0)
        return 1;
    errno = 0;
    old = sbrk(increment);
    if (old == (void *)-1)
        return errno == ENOMEM ? ANSWER_ENOMEM : 2;
    return (uintptr_t)old;
}

/* total_vm of the process, in pages. */
static uint64_t total_pages(struct side *side)
{
    char text[128];
    ssize_t got;

    (void)side;
    if (statm_fd < 0)
        statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    got = pread(statm_fd, text, sizeof(text) - 1, 0);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    return strtoull(text, NULL, 10);
}

static void set_limits(struct side *side)
{
    process_limit(side->limit_data, side->limit_as);
}

/* Putting a page in the way is the test's doing: no limit stops it. */
static int put_page(struct side *side, uintptr_t address)
{
    int err;

    process_limit(side->limit_data, UINT64_MAX);
    err = process_put_page(address);
    set_limits(side);
    return err;
}

static void take_page(struct side *side, uintptr_t address)
{
    (void)side;
    process_take_page(address);
}

static int begin_kernel(struct side *side)
{
    uint64_t extra;
    int err = process_heap(&side->start, &extra);

    if (err)
        return err;
    if (raw_brk(side, side->start) != side->start)
        return -EBUSY;
    /* One page beyond: a break at the area's very end is still allowed. */
    err = process_put_page(area_end(side) + page_size());
    return err;
}

static void end_kernel(struct side *side)
{
    syscall(SYS_munlockall);
    process_unpad();
    process_take_page(area_end(side) + page_size());
}

static uint32_t no_self_check(struct side *side, uint64_t resident)
{
    (void)side;
    (void)resident;
    return 0;
}

struct side *kernel_side(void)
{
    static struct side side = {
        .id = SIDE_KERNEL,
        .pads = true,
        .begin = begin_kernel,
        .end = end_kernel,
        .brk = raw_brk,
        .sbrk = libc_sbrk,
        .foreign_put = put_page,
        .foreign_take = take_page,
        .limit = set_limits,
        .mapped = total_pages,
        .self_check = no_self_check,
    };

    return &side;
}
