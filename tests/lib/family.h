/* SPDX-License-Identifier: MIT */
/*
 * family: the mmap family as a table, so that one test can be played with
 * libc's functions and with uf_posix_*; and what both of a pair answered.
 */
#ifndef TESTS_LIB_FAMILY_H
#define TESTS_LIB_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct family {
    const char *name;
    void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
    int (*munmap)(void *addr, size_t len);
    int (*mprotect)(void *addr, size_t len, int prot);
    void *(*mremap)(void *old_addr, size_t old_len, size_t new_len, int flags,
                    ...);
    int (*madvise)(void *addr, size_t len, int advice);
    int (*mincore)(void *addr, size_t len, unsigned char *vec);
    int (*msync)(void *addr, size_t len, int flags);
    int (*mlock)(const void *addr, size_t len);
    int (*mlock2)(const void *addr, size_t len, unsigned flags);
    int (*munlock)(const void *addr, size_t len);
    int (*mlockall)(int flags);
    int (*munlockall)(void);
    int (*brk)(void *addr);
    void *(*sbrk)(intptr_t increment);
};

extern const struct family family_libc;
extern const struct family family_posix;

/* An answer: errno, or 0 and what was returned. */
struct answer {
    int error;
    intptr_t value;
};

/* Of a call that just returned `rc`, -1 being its failure. */
struct answer answer_of(intptr_t rc);

#endif
