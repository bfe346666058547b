/* SPDX-License-Identifier: MIT */
/*
 * replace: a file that gets its name when it is whole.
 *
 *     replace_begin     DIR/.ufault-image.0123456789abcdef     empty
 *       ... written ...
 *     replace_commit    fsync(file), rename to DIR/NAME, fsync(DIR)
 *
 * Until the rename DIR/NAME is the old file, from then on the new one; the
 * first fsync keeps the name from reaching the disk before the bytes. Whoever
 * is killed in between leaves the file with the odd name, which nothing reads.
 */
#ifndef UF_IMAGE_REPLACE_H
#define UF_IMAGE_REPLACE_H

#include <sys/types.h>

#define REPLACE_NAME_MAX 256

struct replace {
    int dir;
    int fd;
    char name[REPLACE_NAME_MAX];
    char temporary[32];
};

/* 0 or -errno; -EINVAL: the path ends in no name. Then nothing is open. */
int replace_begin(struct replace *r, const char *path);

/* Both close; after commit has failed, too, nothing is left to do. */
int replace_commit(struct replace *r);
void replace_abandon(struct replace *r);

/* May a file with that parent be there? 0; -EXDEV: the parent lies in another
 * directory; -EINVAL: it is the file. Or -errno of fstat(2). */
int replace_may_have_parent(const struct replace *r, dev_t dir_device,
                            ino_t dir_inode, const char *name);

/* The directory of `path`, open, and the name in it. 0 or -errno. */
int replace_open_dir(const char *path, char name[REPLACE_NAME_MAX],
                     int *ret_dir);

#endif
