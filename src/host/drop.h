/* SPDX-License-Identifier: MIT */
/*
 * drop: MADV_DONTNEED of many ranges, in few calls.
 *
 *     drop_begin ─► drop_add, many times ─► drop_end
 *
 * process_madvise(2) of the process itself takes them by the hundred and tells the
 * other CPUs once (Linux 6.13). Before, it is a call each.
 */
#ifndef UF_HOST_DROP_H
#define UF_HOST_DROP_H

#include <sys/uio.h>

#include "base/range.h"

#define DROP_MAX 256

struct drop {
    int pidfd; /* -1: none */
    int err;   /* the first one */
    unsigned n;
    struct iovec parts[DROP_MAX];
};

void drop_begin(struct drop *d);
void drop_add(struct drop *d, struct range part);
/* 0, or the -errno of madvise(2) for one of them; the others are dropped. */
int drop_end(struct drop *d);

#endif
