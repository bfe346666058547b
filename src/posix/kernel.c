/* SPDX-License-Identifier: MIT */
/*
 * libc's mmap family by system call, for the static library alone.
 *
 * A program's --wrap=mmap holds for every object of its link, so for those of
 * libufault.a as well, and what base/sys.c asks of libc would come back to
 * uf_posix_mmap. When the archive is made its references to the names of
 * libc become references to these (see src/CMakeLists.txt). The shared library
 * is bound to libc itself and does without.
 */
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

void *kernel_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
int kernel_munmap(void *addr, size_t len);
int kernel_mprotect(void *addr, size_t len, int prot);
void *kernel_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                    ...);
int kernel_madvise(void *addr, size_t len, int advice);
int kernel_mincore(void *addr, size_t len, unsigned char *vec);
int kernel_msync(void *addr, size_t len, int flags);
int kernel_munlock(const void *addr, size_t len);

static void *as_address(long answer)
{
    return (void *)answer; /* -1 is MAP_FAILED */
}

void *kernel_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset)
{
    return as_address(syscall(SYS_mmap, addr, len, prot, flags, fd, offset));
}

int kernel_munmap(void *addr, size_t len)
{
    return (int)syscall(SYS_munmap, addr, len);
}

int kernel_mprotect(void *addr, size_t len, int prot)
{
    return (int)syscall(SYS_mprotect, addr, len, prot);
}

void *kernel_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                    ...)
{
    void *new_addr;
    va_list more;

    /* As glibc: read whether or not it is there, used by the kernel only if
     * the flags say so. */
    va_start(more, flags);
    new_addr = va_arg(more, void *);
    va_end(more);
    return as_address(
        syscall(SYS_mremap, old_addr, old_len, new_len, flags, new_addr));
}

int kernel_madvise(void *addr, size_t len, int advice)
{
    return (int)syscall(SYS_madvise, addr, len, advice);
}

int kernel_mincore(void *addr, size_t len, unsigned char *vec)
{
    return (int)syscall(SYS_mincore, addr, len, vec);
}

int kernel_msync(void *addr, size_t len, int flags)
{
    return (int)syscall(SYS_msync, addr, len, flags);
}

int kernel_munlock(const void *addr, size_t len)
{
    return (int)syscall(SYS_munlock, addr, len);
}
