/* SPDX-License-Identifier: MIT */
/* See calls.h. */
#include "image/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* openat is variadic. */
static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static const struct image_calls libc_calls = {
    .openat = open_at,
    .pread = pread,
    .readahead = readahead,
    .pwrite = pwrite,
    .fsync = fsync,
    .renameat = renameat,
    .unlinkat = unlinkat,
};

const struct image_calls *image_sys = &libc_calls;

int image_read_all(int fd, void *buffer, size_t len_bytes, uint64_t offset)
{
    size_t done = 0;

    while (done < len_bytes) {
        ssize_t n = image_sys->pread(fd, (char *)buffer + done,
                                     len_bytes - done, (off_t)(offset + done));

        if (n == 0)
            return -ENODATA;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int image_write_all(int fd, const void *buffer, size_t len_bytes,
                    uint64_t offset)
{
    size_t done = 0;

    while (done < len_bytes) {
        ssize_t n = image_sys->pwrite(fd, (const char *)buffer + done,
                                      len_bytes - done, (off_t)(offset + done));

        if (n == 0)
            return -EIO;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}
