/* SPDX-License-Identifier: MIT */
/*
 * The files that operations map: each process has its own, filled alike at the
 * beginning of each run. Lengths end within a page, so that there is a tail and
 * a beyond.
 */
#include "model/mm_twin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES ((size_t)11 * 4096 + 1000)
#define NO_FD      9999

static int files[FILE_KINDS] = {-1, -1, -1, -1, -1, NO_FD};

/* Another opening of the same file. */
static int again(int fd, int flags)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static int unnamed_file(void)
{
    char path[] = "/var/tmp/mm-twin-XXXXXX";
    int fd = mkstemp(path);

    if (fd >= 0)
        unlink(path);
    return fd;
}

int mm_files_open(void)
{
    int ends[2];

    files[FILE_MEM] = memfd_create("mm-twin-file", MFD_CLOEXEC);
    files[FILE_DISK] = unnamed_file();
    if (files[FILE_MEM] < 0 || files[FILE_DISK] < 0 || pipe(ends) < 0)
        return -errno;
    files[FILE_MEM_RDONLY] = again(files[FILE_MEM], O_RDONLY);
    files[FILE_MEM_WRONLY] = again(files[FILE_MEM], O_WRONLY);
    files[FILE_PIPE] = ends[0];
    for (int i = 0; i < FILE_CLOSED; i++)
        if (files[i] < 0)
            return -errno;
    return 0;
}

static int fill(int fd)
{
    static unsigned char bytes[FILE_BYTES];
    ssize_t put;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i >> 12 == 3 ? 0 : i * 7 + (i >> 8) + 1);
    if (ftruncate(fd, 0) < 0)
        return -errno;
    put = pwrite(fd, bytes, sizeof(bytes), 0);
    return put < 0 ? -errno : put < (ssize_t)sizeof(bytes) ? -EIO : 0;
}

int mm_files_reset(void)
{
    int err = fill(files[FILE_MEM]);

    return err ? err : fill(files[FILE_DISK]);
}

int mm_file(uint8_t which)
{
    return which < FILE_KINDS ? files[which] : -1;
}

int mm_file_truncate(uint8_t which, uint64_t len_bytes)
{
    return ftruncate(mm_file(which), (off_t)len_bytes) < 0 ? -errno : 0;
}
