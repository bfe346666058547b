/* SPDX-License-Identifier: MIT */
/*
 * sys: the system calls on memory, as this library makes them.
 *
 * Normally libc's functions (which sanitizers watch). Under `ufault run` libc's
 * own are led to us, so what we ask of the kernel must go another way, or it
 * would come back to us: src/run/raw.h puts its functions here before anything
 * else is called. All code of ours calls these, on managed memory and on any.
 */
#ifndef UF_BASE_SYS_H
#define UF_BASE_SYS_H

#include <stddef.h>
#include <sys/types.h>

/* Each as the function of its name: -1 or MAP_FAILED, and errno. */
struct sys_calls {
    void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
    int (*munmap)(void *addr, size_t len);
    int (*mprotect)(void *addr, size_t len, int prot);
    /* `to` counts with the flags that need it. */
    void *(*mremap)(void *addr, size_t old_len, size_t new_len, int flags,
                    void *to);
    int (*madvise)(void *addr, size_t len, int advice);
    int (*mlock2)(const void *addr, size_t len, unsigned flags);
    int (*munlock)(const void *addr, size_t len);
    int (*mincore)(void *addr, size_t len, unsigned char *vec);
    int (*msync)(void *addr, size_t len, int flags);
};

/* Set before the first call and never again, or libc's. */
extern const struct sys_calls *sys;

#endif
