/* SPDX-License-Identifier: MIT */
/*
 * pages: how many pages of a range are there, and of which kind, page by page,
 * as the kernel knows it: by PAGEMAP_SCAN (6.7), which passes over what is not
 * there, and /proc/PID/pagemap. Neither needs a privilege nor touches a page.
 */
#ifndef UF_HOST_PAGES_H
#define UF_HOST_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/range.h"

struct pages;

struct page_counts {
    size_t present;   /* mapped, the shared page of zeros included */
    size_t file;      /* of these, of a file or shared */
    size_t exclusive; /* of these, mapped here alone */
    size_t swapped;   /* in swap, or a marker: poison, a guard */
    /* Of `present`: the shared page of zeros. Not known before 6.7: then it is
     * what is neither `file` nor `exclusive`, among it memory that a forked
     * child shares. */
    size_t zero;
    bool zero_is_known;
};

/* 0, -ENOMEM, or the errno of open(2). */
int pages_open(struct pages **ret);
void pages_close(struct pages *pages); /* NULL is allowed */

/* 0 or -errno. */
int pages_count(struct pages *pages, struct range part,
                struct page_counts *ret);

/* How many of [part), as small pages, are mapped by huge pages, or -errno
 * (before 6.7). One huge page's worth at most; any thread at any time. */
ssize_t pages_count_huge(const struct pages *pages, struct range part);

/* Testing: as before 6.7. */
void pages_forbid_scan(struct pages *pages);

/* The same by mincore(2), where /proc cannot be had: resident pages, pages of
 * zeros included; of files, those in the page cache. 0 or -errno. */
int pages_count_resident(struct range part, size_t *ret_npages);

#endif
