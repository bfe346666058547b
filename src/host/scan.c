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
    [SCAN_COPIED] = {.category_inverted = PAGE_CAT_FILE,
                     .category_mask = PAGE_CAT_FILE},
};

int scan_open(void)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int scan_pages(int pagemap, enum scan_kind kind, struct range part,
               void (*found)(void *arg, struct range part), void *arg)
{
    struct scan_region regions[REGIONS];
    struct scan_arg scan = kinds[kind];

    scan.size = sizeof(scan);
    scan.end = part.end;
    scan.vec = (uintptr_t)regions;
    scan.vec_len = REGIONS;
    scan.category_anyof_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED;
    scan.return_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED;
    while (part.start < part.end) {
        int n;

        scan.start = part.start;
        n = ioctl(pagemap, SCAN_IOCTL, &scan);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ENOTTY ? -ENOTTY : -EIO;
        for (int i = 0; i < n; i++)
            found(arg, (struct range){(uintptr_t)regions[i].start,
                                      (uintptr_t)regions[i].end});
        part.start = (uintptr_t)scan.walk_end;
    }
    return 0;
}
