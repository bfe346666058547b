/* SPDX-License-Identifier: MIT */
/* See written.h. */
#include "host/written.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/slab.h"
#include "host/proc_abi.h"

#define REGIONS 512

struct written {
    int fd;
    struct scan_region regions[REGIONS];
};

int written_open(struct written **ret)
{
    struct written *written = slab_pages(sizeof(*written));
    int err;

    if (!written)
        return -ENOMEM;
    written->fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (written->fd < 0) {
        err = -errno;
        slab_pages_free(written, sizeof(*written));
        return err;
    }
    *ret = written;
    return 0;
}

void written_close(struct written *written)
{
    if (!written)
        return;
    close(written->fd);
    slab_pages_free(written, sizeof(*written));
}

int written_take(struct written *written, struct range part,
                 void (*found)(void *arg, struct range part), void *arg)
{
    struct scan_arg scan = {
        .size = sizeof(scan),
        .flags = SCAN_WP_MATCHING | SCAN_CHECK_WP_ASYNC,
        .end = part.end,
        .vec = (uintptr_t)written->regions,
        .vec_len = REGIONS,
        /* Written, and not the page of zeros; what is absent counts as written
         * to the kernel. */
        .category_inverted = PAGE_CAT_PFNZERO,
        .category_mask = PAGE_CAT_WRITTEN | PAGE_CAT_PFNZERO,
        .category_anyof_mask = PAGE_CAT_PRESENT | PAGE_CAT_SWAPPED,
        .return_mask = PAGE_CAT_WRITTEN,
    };

    for (scan.start = part.start; scan.start < part.end;
         scan.start = scan.walk_end) {
        int n = ioctl(written->fd, SCAN_IOCTL, &scan);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -EIO;
        for (int i = 0; i < n; i++)
            found(arg, (struct range){(uintptr_t)written->regions[i].start,
                                      (uintptr_t)written->regions[i].end});
    }
    return 0;
}
