/* SPDX-License-Identifier: MIT */
/* See hostcalls.h. */
#include "lib/hostcalls.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/sys.h"

static const struct sys_calls *real;

static _Thread_local struct {
    enum host_call call;
    unsigned left; /* calls until it fails; 0: not armed */
    int error;
    bool half_way;
    unsigned failed;
} plan;

static bool fails(enum host_call call)
{
    if (plan.left == 0 || (plan.call != HOST_ANY && plan.call != call) ||
        --plan.left > 0)
        return false;
    plan.failed++;
    errno = plan.error;
    return true;
}

static void *fake_mmap(void *addr, size_t len, int prot, int flags, int fd,
                       off_t offset)
{
    return fails(HOST_MMAP) ? MAP_FAILED
                            : real->mmap(addr, len, prot, flags, fd, offset);
}

static int fake_munmap(void *addr, size_t len)
{
    return fails(HOST_MUNMAP) ? -1 : real->munmap(addr, len);
}

static int fake_mprotect(void *addr, size_t len, int prot)
{
    if (!fails(HOST_MPROTECT))
        return real->mprotect(addr, len, prot);
    if (plan.half_way)
        real->mprotect(addr, align_down(len / 2, page_size()), prot);
    errno = plan.error;
    return -1;
}

static void *fake_mremap(void *addr, size_t old_len, size_t new_len, int flags,
                         void *to)
{
    return fails(HOST_MREMAP) ? MAP_FAILED
                              : real->mremap(addr, old_len, new_len, flags, to);
}

static int fake_madvise(void *addr, size_t len, int advice)
{
    return fails(HOST_MADVISE) ? -1 : real->madvise(addr, len, advice);
}

static int fake_mlock2(const void *addr, size_t len, unsigned flags)
{
    return fails(HOST_MLOCK) ? -1 : real->mlock2(addr, len, flags);
}

static int fake_munlock(const void *addr, size_t len)
{
    return fails(HOST_MUNLOCK) ? -1 : real->munlock(addr, len);
}

static int fake_mincore(void *addr, size_t len, unsigned char *vec)
{
    return fails(HOST_MINCORE) ? -1 : real->mincore(addr, len, vec);
}

static int fake_msync(void *addr, size_t len, int flags)
{
    return fails(HOST_MSYNC) ? -1 : real->msync(addr, len, flags);
}

static const struct sys_calls fakes = {
    .mmap = fake_mmap,
    .munmap = fake_munmap,
    .mprotect = fake_mprotect,
    .mremap = fake_mremap,
    .madvise = fake_madvise,
    .mlock2 = fake_mlock2,
    .munlock = fake_munlock,
    .mincore = fake_mincore,
    .msync = fake_msync,
};

void host_calls_begin(void)
{
    real = sys;
    sys = &fakes;
}

void host_fail(enum host_call call, unsigned n, int error)
{
    plan.call = call;
    plan.left = n;
    plan.error = error;
    plan.half_way = false;
    plan.failed = 0;
}

void host_fail_half_way(enum host_call call, unsigned n, int error)
{
    host_fail(call, n, error);
    plan.half_way = true;
}

unsigned host_fail_end(void)
{
    plan.left = 0;
    return plan.failed;
}
