/* SPDX-License-Identifier: MIT */
/* See family.h. That these compile shows that the signatures are the same. */
#include "lib/family.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ufault/posix.h"

/* libc's are these calls and no more; sanitizers make nothing of them. */
static int bare_mlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_mlock, addr, len);
}

static int bare_munlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_munlock, addr, len);
}

static int bare_mlockall(int flags)
{
    return (int)syscall(SYS_mlockall, flags);
}

static int bare_munlockall(void)
{
    return (int)syscall(SYS_munlockall);
}

const struct family family_libc = {
    .name = "libc",
    .mmap = mmap,
    .munmap = munmap,
    .mprotect = mprotect,
    .mremap = mremap,
    .madvise = madvise,
    .mincore = mincore,
    .msync = msync,
    .mlock = bare_mlock,
    .mlock2 = mlock2,
    .munlock = bare_munlock,
    .mlockall = bare_mlockall,
    .munlockall = bare_munlockall,
    .brk = brk,
    .sbrk = sbrk,
};

const struct family family_posix = {
    .name = "posix",
    .mmap = uf_posix_mmap,
    .munmap = uf_posix_munmap,
    .mprotect = uf_posix_mprotect,
    .mremap = uf_posix_mremap,
    .madvise = uf_posix_madvise,
    .mincore = uf_posix_mincore,
    .msync = uf_posix_msync,
    .mlock = uf_posix_mlock,
    .mlock2 = uf_posix_mlock2,
    .munlock = uf_posix_munlock,
    .mlockall = uf_posix_mlockall,
    .munlockall = uf_posix_munlockall,
    .brk = uf_posix_brk,
    .sbrk = uf_posix_sbrk,
};

struct answer answer_of(intptr_t rc)
{
    if (rc == -1)
        return (struct answer){.error = errno};
    return (struct answer){.value = rc};
}
