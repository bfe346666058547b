/* SPDX-License-Identifier: MIT */
/* See image_calls.h. */
#include "lib/image_calls.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "image/calls.h"

static const struct image_calls *real;
static enum image_call which;
static unsigned left; /* until the one; 0: none, or it was */
static int error;     /* 0: kill */
static bool reached;
static char *record;
static unsigned room;

/* True: this is the one. */
static bool is_due(enum image_call call)
{
    if (record && room > 1) {
        *record++ = "?orwsnu"[call];
        room--;
    }
    if (left == 0 || (which != IMAGE_CALL_ANY && which != call) || --left > 0)
        return false;
    reached = true;
    return true;
}

static int refuse(void)
{
    if (error == 0)
        raise(SIGKILL);
    errno = error;
    return -1;
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    return is_due(IMAGE_CALL_OPENAT) ? refuse()
                                     : real->openat(dir, path, flags, mode);
}

static ssize_t read_at(int fd, void *buffer, size_t len_bytes, off_t offset)
{
    return is_due(IMAGE_CALL_PREAD)
               ? refuse()
               : real->pread(fd, buffer, len_bytes, offset);
}

/* A hint, which is not counted. */
static ssize_t read_ahead(int fd, off64_t offset, size_t len_bytes)
{
    return real->readahead(fd, offset, len_bytes);
}

/* What does not fail is done in two parts, as the kernel may. */
static ssize_t write_at(int fd, const void *buffer, size_t len_bytes,
                        off_t offset)
{
    bool due = is_due(IMAGE_CALL_PWRITE);
    size_t part = len_bytes > 4096 || due ? len_bytes / 2 : len_bytes;
    ssize_t n = part > 0 ? real->pwrite(fd, buffer, part, offset) : 0;

    return due ? refuse() : n;
}

static int sync_file(int fd)
{
    return is_due(IMAGE_CALL_FSYNC) ? refuse() : real->fsync(fd);
}

static int rename_at(int old_dir, const char *old_path, int new_dir,
                     const char *new_path)
{
    return is_due(IMAGE_CALL_RENAMEAT)
               ? refuse()
               : real->renameat(old_dir, old_path, new_dir, new_path);
}

static int unlink_at(int dir, const char *path, int flags)
{
    return is_due(IMAGE_CALL_UNLINKAT) ? refuse()
                                       : real->unlinkat(dir, path, flags);
}

static const struct image_calls ours = {
    .openat = open_at,
    .pread = read_at,
    .readahead = read_ahead,
    .pwrite = write_at,
    .fsync = sync_file,
    .renameat = rename_at,
    .unlinkat = unlink_at,
};

static void begin(void)
{
    if (image_sys != &ours)
        real = image_sys;
    image_sys = &ours;
    reached = false;
    record = NULL;
}

void image_calls_fail(enum image_call call, unsigned n, int with)
{
    begin();
    which = call;
    left = n;
    error = with;
}

void image_calls_kill(enum image_call call, unsigned n)
{
    image_calls_fail(call, n, 0);
}

void image_calls_record(char *ret_calls, unsigned max)
{
    begin();
    left = 0;
    record = ret_calls;
    room = max;
    for (unsigned i = 0; i < max; i++)
        ret_calls[i] = '\0';
}

bool image_calls_end(void)
{
    image_sys = real;
    record = NULL;
    return reached;
}
