/* SPDX-License-Identifier: MIT */
/* See drop.h. */
#include "host/drop.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"

void drop_begin(struct drop *d)
{
    d->pidfd = -1;
    d->err = 0;
    d->n = 0;
}

static bool drop_at_once(struct drop *d)
{
    size_t len = 0;

    for (unsigned i = 0; i < d->n; i++)
        len += d->parts[i].iov_len;
    if (d->pidfd < 0)
        d->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    return d->pidfd >= 0 &&
           syscall(SYS_process_madvise, d->pidfd, d->parts, (unsigned long)d->n,
                   MADV_DONTNEED, 0u) == (long)len;
}

static void flush(struct drop *d)
{
    if (d->n < 2 || !drop_at_once(d))
        for (unsigned i = 0; i < d->n; i++)
            if (sys->madvise(d->parts[i].iov_base, d->parts[i].iov_len,
                             MADV_DONTNEED) != 0 &&
                d->err == 0)
                d->err = -errno;
    d->n = 0;
}

void drop_add(struct drop *d, struct range part)
{
    if (d->n == DROP_MAX)
        flush(d);
    d->parts[d->n++] =
        (struct iovec){(void *)part.start, range_len(part)}; /* NOLINT */
}

int drop_end(struct drop *d)
{
    flush(d);
    if (d->pidfd >= 0)
        close(d->pidfd);
    return d->err;
}
