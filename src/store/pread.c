/* SPDX-License-Identifier: MIT */
/*
 * A store of a file: opening it, and the reference way to its bytes, pread(2)
 * and pwrite(2). io_uring (uring.c) takes the same steps.
 *
 * With direct I/O a file is open twice. Each step of a read goes the direct way
 * as far as offset, buffer and length are aligned as the file system wants it,
 * the rest by the page cache:
 *
 *     request   |<---------------------- 10000 bytes --------------------->|
 *     steps     |<-- direct: 8192, whole blocks -->|<-- page cache: 1808 ->|
 *
 * A direct read takes the file's lock in most file systems, as who writes to the
 * file does, and keeps it while the kernel reads the memory that is written: if
 * that is a mapping of the same file here, the two would wait for each other. So
 * direct reads ask not to wait, and go by the page cache where they would, or
 * where the file system knows no such request.
 *
 * Writes are never direct. One that is, and one through the page cache that is
 * under way in the same folio, collide: the folio goes to the disk with what was
 * there before, and all that is seen of it is -EIO from a later fdatasync(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/range.h"
#include "store/channel.h"
#include "store/store.h"

/* Most bytes of one attempt: a length that fits everywhere. */
#define STEP_BYTES_MAX ((size_t)1 << 30)
/* What disks take in one piece, to which a read that may not wait is confined. */
#define SMALL_BYTES ((size_t)64 << 10)

/* <linux/stat.h>, 6.1 and later. */
#define DIOALIGN        0x2000u
#define DIOALIGN_OFFSET 152 /* of stx_dio_mem_align, stx_dio_offset_align */

/* What file systems ask for that do not say it. */
#define ALIGN_UNKNOWN 4096

/* ------------------------------------------------------------------- steps -- */

struct file_step store_file_step(const struct store_file *file,
                                 const struct store_io *io)
{
    size_t left = io->len_bytes - io->done_bytes;
    uint64_t at = io->offset + io->done_bytes;
    uintptr_t to = (uintptr_t)io->buffer + io->done_bytes;
    struct file_step step = {FILE_CACHED, left, 0};

    if (file->fds[FILE_DIRECT] >= 0 && !io->write && io->way != WAY_CACHED &&
        !atomic_load(&file->only_waits) && left >= file->offset_align &&
        at % file->offset_align == 0 && is_aligned(to, file->memory_align))
        step = (struct file_step){FILE_DIRECT, left - left % file->offset_align,
                                  RWF_NOWAIT};
    if (step.which == FILE_DIRECT && io->way == WAY_DIRECT_SMALL &&
        step.len_bytes > SMALL_BYTES)
        step.len_bytes = SMALL_BYTES;
    if (step.len_bytes > STEP_BYTES_MAX)
        step.len_bytes = STEP_BYTES_MAX;
    return step;
}

static ssize_t read_flagged(int fd, void *buffer, size_t len_bytes, off_t at,
                            int flags)
{
    struct iovec part = {buffer, len_bytes};

    return preadv2(fd, &part, 1, at, flags);
}

/* What of it is in the page cache, from its start. */
static ssize_t read_cached(int fd, void *buffer, size_t len_bytes, off_t at)
{
    ssize_t n = read_flagged(fd, buffer, len_bytes, at, RWF_NOWAIT);

    if (n < 0 && errno == EOPNOTSUPP)
        errno = EAGAIN; /* not on this file system */
    return n;
}

static ssize_t try_once(struct uf_store *store, struct store_io *io)
{
    struct file_step step = store_file_step(&store->file, io);
    int fd = store->file.fds[step.which];
    off_t at = (off_t)(io->offset + io->done_bytes);
    char *buffer = (char *)io->buffer + io->done_bytes;
    ssize_t n;

    if (io->at_once && step.which == FILE_DIRECT)
        return -EAGAIN;
    io->direct = step.which == FILE_DIRECT;
    if (io->at_once)
        n = read_cached(fd, buffer, step.len_bytes, at);
    else if (io->write)
        n = pwrite(fd, buffer, step.len_bytes, at);
    else if (step.flags)
        n = read_flagged(fd, buffer, step.len_bytes, at, step.flags);
    else
        n = pread(fd, buffer, step.len_bytes, at);
    return n < 0 ? -errno : n;
}

static int get_size(struct uf_store *store, uint64_t *ret_bytes)
{
    int fd = store->file.fds[FILE_CACHED];
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISBLK(st.st_mode))
        return ioctl(fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int flush(struct uf_store *store)
{
    int fd = store->file.fds[FILE_CACHED];

    return fdatasync(fd) < 0 ? -errno : 0;
}

static void close_fds(struct uf_store *store)
{
    for (int i = 0; i < FILE_FDS; i++)
        if (store->file.fds[i] >= 0)
            close(store->file.fds[i]);
}

static const struct store_ops file_ops = {
    .step = try_once, .size = get_size, .flush = flush, .close = close_fds};

/* ------------------------------------------------------------------ opening -- */

/* 0, or why no bytes are to be had of such a file. */
static int refuse_kind(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? 0 : -ESPIPE;
}

/* What the file system asks of direct I/O; false: it has none. */
static bool get_alignment(int fd, struct store_file *ret)
{
    struct statx stx;
    uint32_t aligns[2];

    memset(&stx, 0, sizeof(stx));
    ret->memory_align = ret->offset_align = ALIGN_UNKNOWN;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | DIOALIGN, &stx) < 0 ||
        !(stx.stx_mask & DIOALIGN))
        return true; /* an older kernel: an alignment that suits all disks */
    memcpy(aligns, (const char *)&stx + DIOALIGN_OFFSET, sizeof(aligns));
    ret->memory_align = aligns[0];
    ret->offset_align = aligns[1];
    ret->on_disk = S_ISREG(stx.stx_mode);
    return aligns[0] > 0 && aligns[1] > 0;
}

static int open_direct(struct store_file *file)
{
    int fd = file->fds[FILE_CACHED];
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    char self[32];

    if (!get_alignment(fd, file))
        return -ENOTSUP;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (mode == O_WRONLY)
        return 0; /* nothing to read */
    file->fds[FILE_DIRECT] = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (file->fds[FILE_DIRECT] >= 0)
        return 0;
    return errno == EMFILE ? -EMFILE : -ENOTSUP;
}

/* Takes fd over, also on failure. */
static int make(int fd, uint32_t flags, struct uf_store **ret_store)
{
    struct uf_store *store = store_alloc(&file_ops, UF_STORE_KIND_PREAD);
    int err;

    if (!store) {
        close(fd);
        return -ENOMEM;
    }
    store->file.fds[FILE_CACHED] = fd;
    store->file.fds[FILE_DIRECT] = -1;
    store->writable = (flags & UF_STORE_WRITE) != 0;
    err = refuse_kind(fd);
    if (!err && (flags & UF_STORE_DIRECT))
        err = open_direct(&store->file);
    if (err) {
        store_unref(store);
        return err;
    }
    if (!(flags & UF_STORE_NO_URING))
        channels_begin(store);
    *ret_store = store;
    return 0;
}

int store_open_path(const char *path, uint32_t flags,
                    struct uf_store **ret_store)
{
    int mode = flags & UF_STORE_WRITE ? O_RDWR : O_RDONLY;
    /* Not to wait for the other end of a pipe, which is refused anyway. */
    int fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFL, 0); /* io_uring would heed it for some files */
    return make(fd, flags, ret_store);
}

int store_open_fd(int fd, uint32_t flags, struct uf_store **ret_store)
{
    int status = fcntl(fd, F_GETFL), own;

    if (status < 0)
        return -errno;
    if ((status & O_DIRECT) ||
        ((status & O_APPEND) && (flags & UF_STORE_WRITE)))
        return -EINVAL;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return own < 0 ? -errno : make(own, flags, ret_store);
}
