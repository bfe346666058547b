/* SPDX-License-Identifier: MIT */
/* See sys.h. */
#include "base/sys.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* mremap is variadic. */
static void *libc_mremap(void *addr, size_t old_len, size_t new_len, int flags,
                         void *to)
{
    return mremap(addr, old_len, new_len, flags, to);
}

/* As the kernel answers it: libc makes ENOSYS of a kernel without it EINVAL. */
static int bare_mlock2(const void *addr, size_t len, unsigned flags)
{
    return (int)syscall(SYS_mlock2, addr, len, flags);
}

/* Sanitizers make a no-op of libc's. */
static int bare_munlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_munlock, addr, len);
}

static const struct sys_calls libc_calls = {
    .mmap = mmap,
    .munmap = munmap,
    .mprotect = mprotect,
    .mremap = libc_mremap,
    .madvise = madvise,
    .mlock2 = bare_mlock2,
    .munlock = bare_munlock,
    .mincore = mincore,
    .msync = msync,
};

const struct sys_calls *sys = &libc_calls;
