/* SPDX-License-Identifier: MIT */
/*
 * image_calls: the calls on files of the image code (image/calls.h), the n-th
 * of which fails, or ends the process in the middle.
 *
 *     image_calls_fail(IMAGE_CALL_PWRITE, 2, ENOSPC);
 *     ...
 *     assert_true(image_calls_end());     it came to that
 *
 * Not for several threads at once.
 */
#ifndef TESTS_LIB_IMAGE_CALLS_H
#define TESTS_LIB_IMAGE_CALLS_H

#include <stdbool.h>

enum image_call {
    IMAGE_CALL_ANY,
    IMAGE_CALL_OPENAT,
    IMAGE_CALL_PREAD,
    IMAGE_CALL_PWRITE,
    IMAGE_CALL_FSYNC,
    IMAGE_CALL_RENAMEAT,
    IMAGE_CALL_UNLINKAT
};

/* The n-th call of that kind from now on (1 is the next) answers `error`. */
void image_calls_fail(enum image_call call, unsigned n, int error);

/* The n-th ends this process with SIGKILL: a write when half of it is done, the
 * others before they are. */
void image_calls_kill(enum image_call call, unsigned n);

/* From now on the calls are only written down: 'o', 'r', 'w', 's' (fsync), 'n'
 * (rename), 'u', and '?' for no room. */
void image_calls_record(char *ret_calls, unsigned max);

/* libc's again. True: the n-th was reached. */
bool image_calls_end(void);

#endif
