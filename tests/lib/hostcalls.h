/* SPDX-License-Identifier: MIT */
/*
 * hostcalls: the library's system calls on memory (base/sys.h), some of which
 * fail. Only calls of the thread that arms it count and fail; those of handler
 * threads go through.
 *
 *     host_calls_begin();               first in main
 *     host_fail(HOST_ANY, 3, ENOMEM);   the third call from now answers ENOMEM
 *     ...
 *     assert_int_equal(host_fail_end(), 1);   it came to that
 */
#ifndef TESTS_LIB_HOSTCALLS_H
#define TESTS_LIB_HOSTCALLS_H

enum host_call {
    HOST_ANY,
    HOST_MMAP,
    HOST_MUNMAP,
    HOST_MPROTECT,
    HOST_MREMAP,
    HOST_MADVISE,
    HOST_MLOCK,
    HOST_MUNLOCK,
    HOST_MINCORE,
    HOST_MSYNC
};

/* Before any call of the library. */
void host_calls_begin(void);

/* The n-th call of that kind from now on (1 is the next) answers `error`. */
void host_fail(enum host_call call, unsigned n, int error);

/* The same, and of a protection the first half is changed before it fails, as
 * the kernel may leave it. */
void host_fail_half_way(enum host_call call, unsigned n, int error);

/* No more failures. Returns how many there were: 0 or 1. */
unsigned host_fail_end(void);

#endif
