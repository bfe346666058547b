/* SPDX-License-Identifier: MIT */
/*
 * copied: pages of a private mapping of a file that are the process's own, by
 * PAGEMAP_SCAN (Linux 6.7).
 */
#ifndef UF_HOST_COPIED_H
#define UF_HOST_COPIED_H

#include "base/range.h"

/* An open /proc/self/pagemap, or the -errno of open(2). */
int copied_open(void);

/* Hands every run of pages of [part) that were copied to `found`. 0, -ENOTTY
 * (before 6.7) or -EIO. */
int copied_find(int pagemap, struct range part,
                void (*found)(void *arg, struct range part), void *arg);

#endif
