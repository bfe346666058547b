/* SPDX-License-Identifier: MIT */
/*
 * across: a fixed mapping that lies partly in the default space. Each part is
 * made where it belongs, and a file's goes on from one to the next.
 */
#ifndef UF_POSIX_ACROSS_H
#define UF_POSIX_ACROSS_H

#include <sys/types.h>

#include "posix/parts.h"

struct uf_space;

/* What mmap was asked for, but for the place. */
struct mapping {
    int prot;
    int flags;
    int fd;
    off_t offset;
};

/* Maps *parts with MAP_FIXED or MAP_FIXED_NOREPLACE in m->flags. 0 or -errno,
 * and then nothing is mapped by it; but what was there may be unmapped, as may
 * be in the kernel. */
int map_across(struct uf_space *space, const struct mapping *m,
               const struct parts *parts);

#endif
