/* SPDX-License-Identifier: MIT */
/* See copied.h. */
#include "host/copied.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "host/proc_abi.h"

#define REGIONS 128

int copied_open(void)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int copied_find(int pagemap, struct range part,
                void (*found)(void *arg, struct range part), void *arg)
{
    struct scan_region regions[REGIONS];
    struct scan_arg scan = {
        .size = sizeof(scan),
        .end = part.end,
        .vec = (uintptr_t)regions,
        .vec_len = REGIONS,
        .category_inverted = PAGE_CAT_FILE,
        .category_mask = PAGE_CAT_FILE,
        .category_anyof_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED,
        .return_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED,
    };
    uintptr_t at = part.start;

    while (at < part.end) {
        int n;

        scan.start = at;
        n = ioctl(pagemap, SCAN_IOCTL, &scan);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ENOTTY ? -ENOTTY : -EIO;
        for (int i = 0; i < n; i++)
            found(arg, (struct range){(uintptr_t)regions[i].start,
                                      (uintptr_t)regions[i].end});
        at = (uintptr_t)scan.walk_end;
    }
    return 0;
}
