/* SPDX-License-Identifier: MIT */
/* See raw.h. */
#include "run/raw.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/protocol.h"

/* What an anonymous mapping has for a descriptor: unused. */
static void *mmap_anonymous(void *addr, size_t len, int prot, int flags,
                            off_t offset)
{
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, RUN_COOKIE,
                           offset);
}

static bool is_in_region(const void *addr)
{
    return ((uintptr_t)addr & ~(RUN_MAPPING_MAX - 1)) == RUN_MAPPING_BASE;
}

/* All arguments of a file's mapping are used, so in the region it is made
 * elsewhere and moved there. */
static void *mmap_and_move(void *addr, size_t len, int prot, int flags, int fd,
                           off_t offset)
{
    void *p = (void *)syscall(SYS_mmap, NULL, len, prot, flags & ~MAP_FIXED, fd,
                              offset);
    void *q = MAP_FAILED;

    if (p != MAP_FAILED)
        q = (void *)syscall(SYS_mremap, p, len, len,
                            MREMAP_MAYMOVE | MREMAP_FIXED, addr, RUN_COOKIE);
    if (p != MAP_FAILED && q == MAP_FAILED) {
        int saved = errno;

        syscall(SYS_munmap, p, len);
        errno = saved;
    }
    return q;
}

static void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd,
                      off_t offset)
{
    if (flags & MAP_ANONYMOUS)
        return mmap_anonymous(addr, len, prot, flags, offset);
    if ((flags & MAP_FIXED) && is_in_region(addr))
        return mmap_and_move(addr, len, prot, flags, fd, offset);
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

static int raw_munmap(void *addr, size_t len)
{
    return (int)syscall(SYS_munmap, addr, len, 0, 0, 0, RUN_COOKIE);
}

static int raw_mprotect(void *addr, size_t len, int prot)
{
    return (int)syscall(SYS_mprotect, addr, len, prot, 0, 0, RUN_COOKIE);
}

static void *raw_mremap(void *addr, size_t old_len, size_t new_len, int flags,
                        void *to)
{
    return (void *)syscall(SYS_mremap, addr, old_len, new_len, flags, to,
                           RUN_COOKIE);
}

static int raw_madvise(void *addr, size_t len, int advice)
{
    return (int)syscall(SYS_madvise, addr, len, advice, 0, 0, RUN_COOKIE);
}

static int raw_mlock2(const void *addr, size_t len, unsigned flags)
{
    return (int)syscall(SYS_mlock2, addr, len, flags, 0, 0, RUN_COOKIE);
}

static int raw_munlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_munlock, addr, len, 0, 0, 0, RUN_COOKIE);
}

static int raw_mincore(void *addr, size_t len, unsigned char *vec)
{
    return (int)syscall(SYS_mincore, addr, len, vec);
}

static int raw_msync(void *addr, size_t len, int flags)
{
    return (int)syscall(SYS_msync, addr, len, flags);
}

const struct sys_calls raw_calls = {
    .mmap = raw_mmap,
    .munmap = raw_munmap,
    .mprotect = raw_mprotect,
    .mremap = raw_mremap,
    .madvise = raw_madvise,
    .mlock2 = raw_mlock2,
    .munlock = raw_munlock,
    .mincore = raw_mincore,
    .msync = raw_msync,
};

int raw_pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
    return (int)syscall(SYS_pkey_mprotect, addr, len, prot, pkey, 0,
                        RUN_COOKIE);
}

/* Of the stack, below a call: more than any of ours needs. libc leaves 16 KiB
 * below a thread's last frame when it drops the rest. */
#define DEPTH_BYTES 12288

static bool stacks_are_served;

void raw_expect_served_stacks(void)
{
    stacks_are_served = true;
}

__attribute__((noinline)) static void touch_stack(void)
{
    volatile char room[DEPTH_BYTES];

    for (size_t i = sizeof(room); i > 0; i -= 4096)
        room[i - 1] = 0;
    room[0] = 0;
}

/* The kernel's sets are 64 bits, libc's 1024. */
uint64_t raw_block_signals(void)
{
    uint64_t all = ~(uint64_t)0, before = 0;

    if (stacks_are_served)
        touch_stack();
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
    return before;
}

void raw_restore_signals(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}
