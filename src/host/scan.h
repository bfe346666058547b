/* SPDX-License-Identifier: MIT */
/*
 * scan: what was written, or copied, as the kernel's page tables have it
 * (PAGEMAP_SCAN, Linux 6.7).
 */
#ifndef UF_HOST_SCAN_H
#define UF_HOST_SCAN_H

#include "base/range.h"

enum scan_kind {
    /* Memory registered with WP_ASYNC: pages written since they were last
     * protected, but for the shared page of zeros. They are protected again:
     * finding and protecting is one step. */
    SCAN_WRITTEN,
    /* The same of shared memory, whose pages can be protected before they are
     * there: all that is not protected, there or not. What was written and then
     * taken from the page table, or swapped out, is not. */
    SCAN_UNPROTECTED,
    /* A private mapping of a file: pages that are the process's own. */
    SCAN_COPIED,
    /* Any memory, also another process's: pages that are there at all. */
    SCAN_PRESENT
};

/* An open /proc/self/pagemap, for this process alone, or the -errno of open(2). */
int scan_open(void);

/* Hands every run of such pages of [part) to `found`; what is swapped out counts
 * as there. 0, -ENOTTY (before 6.7) or -EIO. */
int scan_pages(int pagemap, enum scan_kind kind, struct range part,
               void (*found)(void *arg, struct range part), void *arg);

/* The first such run; [part.end, part.end) if there is none. */
int scan_first(int pagemap, enum scan_kind kind, struct range part,
               struct range *ret);

#endif
