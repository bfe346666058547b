/* SPDX-License-Identifier: MIT */
/*
 * calls: the system calls on files that an image is written and read with.
 *
 * Behind a table, as base/sys.h has it for memory, so that a test can refuse
 * one, or end the process in the middle of it, and then look at what is left.
 */
#ifndef UF_IMAGE_CALLS_H
#define UF_IMAGE_CALLS_H

#include <stdint.h>
#include <sys/types.h>

/* Each as the function of its name: -1 and errno. */
struct image_calls {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    ssize_t (*pread)(int fd, void *buffer, size_t len_bytes, off_t offset);
    ssize_t (*readahead)(int fd, off64_t offset, size_t len_bytes);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t len_bytes,
                      off_t offset);
    int (*fsync)(int fd);
    int (*renameat)(int old_dir, const char *old_path, int new_dir,
                    const char *new_path);
    int (*unlinkat)(int dir, const char *path, int flags);
};

/* libc's, but for tests. */
extern const struct image_calls *image_sys;

/* All of it, however many calls that takes. 0 or -errno; -ENODATA: the file
 * ends before. */
int image_read_all(int fd, void *buffer, size_t len_bytes, uint64_t offset);
int image_write_all(int fd, const void *buffer, size_t len_bytes,
                    uint64_t offset);

#endif
