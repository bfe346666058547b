/* SPDX-License-Identifier: MIT */
/*
 * libufault_wrap.a: what the linker's --wrap=mmap makes of a program's calls.
 *
 *     program: mmap ──► __wrap_mmap ──► uf_posix_mmap
 *
 * A library of its own, since --wrap is a decision of the program's link: the
 * CMake target ufault::wrap brings the flags along.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ufault/posix.h"

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
int __wrap_munmap(void *addr, size_t len);
int __wrap_mprotect(void *addr, size_t len, int prot);
void *__wrap_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                    ...);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_mincore(void *addr, size_t len, unsigned char *vec);
int __wrap_msync(void *addr, size_t len, int flags);
int __wrap_mlock(const void *addr, size_t len);
int __wrap_mlock2(const void *addr, size_t len, unsigned flags);
int __wrap_munlock(const void *addr, size_t len);
int __wrap_mlockall(int flags);
int __wrap_munlockall(void);
int __wrap_brk(void *addr);
void *__wrap_sbrk(intptr_t increment);

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset)
{
    return uf_posix_mmap(addr, len, prot, flags, fd, offset);
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset)
{
    return uf_posix_mmap64(addr, len, prot, flags, fd, offset);
}

int __wrap_munmap(void *addr, size_t len)
{
    return uf_posix_munmap(addr, len);
}

int __wrap_mprotect(void *addr, size_t len, int prot)
{
    return uf_posix_mprotect(addr, len, prot);
}

void *__wrap_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                    ...)
{
    void *new_addr;
    va_list more;

    /* Read whether or not it is there; used only if the flags say so. */
    va_start(more, flags);
    new_addr = va_arg(more, void *);
    va_end(more);
    return uf_posix_mremap(old_addr, old_len, new_len, flags, new_addr);
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
    return uf_posix_madvise(addr, len, advice);
}

int __wrap_mincore(void *addr, size_t len, unsigned char *vec)
{
    return uf_posix_mincore(addr, len, vec);
}

int __wrap_msync(void *addr, size_t len, int flags)
{
    return uf_posix_msync(addr, len, flags);
}

int __wrap_mlock(const void *addr, size_t len)
{
    return uf_posix_mlock(addr, len);
}

int __wrap_mlock2(const void *addr, size_t len, unsigned flags)
{
    return uf_posix_mlock2(addr, len, flags);
}

int __wrap_munlock(const void *addr, size_t len)
{
    return uf_posix_munlock(addr, len);
}

int __wrap_mlockall(int flags)
{
    return uf_posix_mlockall(flags);
}

int __wrap_munlockall(void)
{
    return uf_posix_munlockall();
}

int __wrap_brk(void *addr)
{
    return uf_posix_brk(addr);
}

void *__wrap_sbrk(intptr_t increment)
{
    return uf_posix_sbrk(increment);
}
