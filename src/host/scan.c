/* SPDX-License-Identifier: MIT */
/* See scan.h. */
#include "host/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "host/proc_abi.h"

#define REGIONS 128

/* What is absent counts as written to the kernel. */
static const struct scan_arg kinds[] = {
    [SCAN_WRITTEN] = {.flags = SCAN_WP_MATCHING | SCAN_CHECK_WP_ASYNC,
                      .category_inverted = PAGE_CAT_PFNZERO,
                      .category_mask = PAGE_CAT_WRITTEN | PAGE_CAT_PFNZERO},
    [SCAN_UNPROTECTED] = {.flags = SCAN_WP_MATCHING | SCAN_CHECK_WP_ASYNC,
                          .category_mask = PAGE_CAT_WRITTEN},
    [SCAN_COPIED] = {.category_inverted = PAGE_CAT_FILE,
                     .category_mask = PAGE_CAT_FILE},
    [SCAN_PRESENT] = {0},
};

int scan_open(void)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* One call, for at most REGIONS: how many were found, or -errno. *part is what
 * was not walked. */
static int scan_some(int pagemap, enum scan_kind kind, struct range *part,
                     struct scan_region *regions, unsigned max)
{
    struct scan_arg scan = kinds[kind];
    int n;

    scan.size = sizeof(scan);
    scan.end = part->end;
    scan.vec = (uintptr_t)regions;
    scan.vec_len = max;
    scan.return_mask = scan.category_mask;
    if (kind != SCAN_UNPROTECTED)
        scan.category_anyof_mask = scan.return_mask =
            PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED;
    do {
        scan.start = part->start;
        n = ioctl(pagemap, SCAN_IOCTL, &scan);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ENOTTY ? -ENOTTY : -EIO;
    part->start = (uintptr_t)scan.walk_end;
    return n;
}

int scan_first(int pagemap, enum scan_kind kind, struct range part,
               struct range *ret)
{
    uintptr_t end = part.end;
    struct scan_region region;
    int n = 0;

    while (n == 0 && part.start < end) {
        n = scan_some(pagemap, kind, &part, &region, 1);
        if (n < 0)
            return n;
    }
    *ret = n == 0
               ? (struct range){end, end}
               : (struct range){(uintptr_t)region.start, (uintptr_t)region.end};
    return 0;
}

int scan_pages(int pagemap, enum scan_kind kind, struct range part,
               void (*found)(void *arg, struct range part), void *arg)
{
    struct scan_region regions[REGIONS];

    while (part.start < part.end) {
        int n = scan_some(pagemap, kind, &part, regions, REGIONS);

        if (n < 0)
            return n;
        for (int i = 0; i < n; i++)
            found(arg, (struct range){(uintptr_t)regions[i].start,
                                      (uintptr_t)regions[i].end});
    }
    return 0;
}
