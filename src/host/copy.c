/* SPDX-License-Identifier: MIT */
/* See copy.h. */
#include "host/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/range.h"
#include "base/sys.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* Set at the first refusal: a filter is there for good. */
static atomic_bool by_pipe;

static ssize_t by_kernel(enum copy_way way, void *own, uintptr_t managed,
                         size_t len_bytes)
{
    struct iovec local = {own, len_bytes};
    struct iovec remote = {(void *)managed, len_bytes};
    ssize_t n = way == COPY_IN
                    ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0)
                    : process_vm_writev(getpid(), &local, 1, &remote, 1, 0);

    return n < 0 ? -errno : n;
}

/* Through the pipe, within one page of either side, so that it is all or
 * nothing. 0 or -errno. */
static int pass(const int fds[2], const void *from, void *to, size_t len_bytes)
{
    ssize_t n = write(fds[1], from, len_bytes);

    if (n == (ssize_t)len_bytes)
        n = read(fds[0], to, len_bytes);
    return n == (ssize_t)len_bytes ? 0 : -EFAULT;
}

static size_t to_page_end(uintptr_t addr)
{
    return page_size() - (addr & (page_size() - 1));
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static ssize_t pass_all(const int fds[2], enum copy_way way, char *own,
                        uintptr_t managed, size_t len_bytes)
{
    size_t done = 0;
    int err = 0;

    while (done < len_bytes && !err) {
        char *here = own + done;
        void *there = (void *)(managed + done);
        size_t part =
            least(to_page_end((uintptr_t)there), to_page_end((uintptr_t)here));

        part = least(part, len_bytes - done);
        err = way == COPY_IN ? pass(fds, there, here, part)
                             : pass(fds, here, there, part);
        if (!err)
            done += part;
    }
    return done > 0 ? (ssize_t)done : err;
}

/* A pipe of its own for each call: a lasting one would be shared with forked
 * children. */
static ssize_t through_pipe(enum copy_way way, char *own, uintptr_t managed,
                            size_t len_bytes)
{
    int fds[2];
    ssize_t n;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        bool scarce = errno == EMFILE || errno == ENFILE || errno == ENOMEM;

        return scarce ? -errno : -ENOSYS;
    }
    n = pass_all(fds, way, own, managed, len_bytes);
    close(fds[0]);
    close(fds[1]);
    return n;
}

ssize_t host_copy(enum copy_way way, void *own, uintptr_t managed,
                  size_t len_bytes)
{
    ssize_t n;

    if (!atomic_load_explicit(&by_pipe, memory_order_relaxed)) {
        n = by_kernel(way, own, managed, len_bytes);
        if (n > 0 || n == -EFAULT || n == -ENOMEM)
            return n;
        if (n == 0)
            return -EFAULT;
        atomic_store_explicit(&by_pipe, true, memory_order_relaxed);
    }
    return through_pipe(way, own, managed, len_bytes);
}

int host_populate(enum copy_way way, uintptr_t addr, size_t len_bytes)
{
    int advice = way == COPY_IN ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

    if (sys->madvise((void *)addr, len_bytes, advice) == 0)
        return 0;
    /* Is it the mapping, or does the kernel not know the advice? */
    if (errno == EINVAL && sys->madvise(NULL, 0, advice) < 0)
        return 0;
    return errno == ENOMEM ? -ENOMEM : -EFAULT;
}
