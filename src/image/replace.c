/* SPDX-License-Identifier: MIT */
/* See replace.h. */
#include "image/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/calls.h"

#define TRIES 100

int replace_open_dir(const char *path, char name[REPLACE_NAME_MAX],
                     int *ret_dir)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    size_t dir_len = slash ? (size_t)(slash - path) : 0;
    char dir[PATH_MAX];
    int fd;

    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return -EINVAL;
    if (strlen(last) >= REPLACE_NAME_MAX || dir_len >= sizeof(dir) - 1)
        return -ENAMETOOLONG;
    memcpy(dir, path, dir_len);
    dir[dir_len] = '\0';
    if (dir_len == 0)
        strcpy(dir, slash ? "/" : ".");
    fd =
        image_sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    strcpy(name, last);
    *ret_dir = fd;
    return 0;
}

/* A name that is not there yet. */
static int open_temporary(struct replace *r)
{
    uint64_t number;

    for (int i = 0; i < TRIES; i++) {
        if (getrandom(&number, sizeof(number), 0) != sizeof(number))
            return -EIO;
        snprintf(r->temporary, sizeof(r->temporary), ".ufault-image.%016llx",
                 (unsigned long long)number);
        r->fd = image_sys->openat(r->dir, r->temporary,
                                  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (r->fd >= 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EIO;
}

int replace_begin(struct replace *r, const char *path)
{
    int err = replace_open_dir(path, r->name, &r->dir);

    if (err)
        return err;
    err = open_temporary(r);
    if (err)
        close(r->dir);
    return err;
}

int replace_commit(struct replace *r)
{
    int err = 0;

    if (image_sys->fsync(r->fd) < 0)
        err = -errno;
    if (!err && image_sys->renameat(r->dir, r->temporary, r->dir, r->name) < 0)
        err = -errno;
    if (err) {
        replace_abandon(r);
        return err;
    }
    if (image_sys->fsync(r->dir) < 0)
        err = -errno;
    close(r->fd);
    close(r->dir);
    return err;
}

void replace_abandon(struct replace *r)
{
    image_sys->unlinkat(r->dir, r->temporary, 0);
    close(r->fd);
    close(r->dir);
}

int replace_may_have_parent(const struct replace *r, dev_t dir_device,
                            ino_t dir_inode, const char *name)
{
    struct stat st = {0}; /* touched by us: the stack may be a space's */

    if (fstat(r->dir, &st) < 0)
        return -errno;
    if (st.st_dev != dir_device || st.st_ino != dir_inode)
        return -EXDEV;
    return strcmp(r->name, name) == 0 ? -EINVAL : 0;
}
