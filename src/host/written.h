/* SPDX-License-Identifier: MIT */
/*
 * written: pages that were written since they were last protected, as the
 * kernel records them (PAGEMAP_SCAN on memory registered with WP_ASYNC, Linux
 * 6.7). Finding a page and protecting it again is one step.
 */
#ifndef UF_HOST_WRITTEN_H
#define UF_HOST_WRITTEN_H

#include "base/range.h"

struct written;

/* 0, -ENOMEM, or the errno of open(2). */
int written_open(struct written **ret);
void written_close(struct written *written); /* NULL is allowed */

/*
 * Hands every run of pages of [part) that is there (swapped out is), was written
 * and is not the shared page of zeros to `found`; they are protected again. 0 or
 * -EIO.
 */
int written_take(struct written *written, struct range part,
                 void (*found)(void *arg, struct range part), void *arg);

#endif
