/* SPDX-License-Identifier: MIT */
/* See uffd_signal.h. */
#include "host/uffd_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/slab.h"
#include "host/uffd_abi.h"

/* A thread that waits; on its own stack. */
struct waiter {
    struct waiter *next;
    uintptr_t addr;
    _Atomic uint32_t done;
};

struct uffd_box {
    struct uffd_ops ops;         /* the one that is put in front */
    const struct uffd_ops *real; /* the descriptor's */
    int pipe[2];
    struct lock lock;
    struct waiter *waiters; /* under the lock */
};

static struct slab_cache boxes =
    SLAB_CACHE("uffd_box", sizeof(struct uffd_box));

static int box_read(struct uffd *u, struct uffd_fault *faults, int max)
{
    ssize_t got =
        read(u->box->pipe[0], faults, (size_t)max * sizeof(faults[0]));

    return got < 0 ? -errno : (int)((size_t)got / sizeof(faults[0]));
}

static int box_wait(struct uffd *u, int stop_fd, int64_t timeout_ns)
{
    struct pollfd fds[2] = {{.fd = u->box->pipe[0], .events = POLLIN},
                            {.fd = stop_fd, .events = POLLIN}};
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int rc = ppoll(fds, 2, timeout_ns < 0 ? NULL : &ts, NULL);

    if (rc < 0)
        return errno == EINTR ? 0 : -errno;
    return (fds[0].revents & POLLIN) != 0;
}

static struct uffd_result box_wake(struct uffd *u, struct range range)
{
    struct uffd_box *box = u->box;

    lock_take(&box->lock);
    for (struct waiter *w = box->waiters; w; w = w->next) {
        if (!range_contains(range, w->addr))
            continue;
        atomic_store(&w->done, 1);
        syscall(SYS_futex, &w->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
    }
    lock_release(&box->lock);
    return (struct uffd_result){0};
}

static void box_close(struct uffd *u)
{
    struct uffd_box *box = u->box;

    close(box->pipe[0]);
    close(box->pipe[1]);
    u->ops = box->real;
    u->box = NULL;
    lock_destroy(&box->lock);
    slab_free(&boxes, box);
    u->ops->close(u);
}

int uffd_signal_init(struct uffd *u)
{
    struct uffd_box *box;

    if (!(u->features & UFFD_FEATURE_SIGBUS))
        return -ENOTSUP;
    box = slab_alloc(&boxes);
    if (!box)
        return -ENOMEM;
    if (pipe2(box->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        slab_free(&boxes, box);
        return -errno;
    }
    lock_init(&box->lock, LOCK_RANK_THREADS);
    box->real = u->ops;
    box->ops = *u->ops;
    box->ops.read = box_read;
    box->ops.wait = box_wait;
    box->ops.wake = box_wake;
    box->ops.close = box_close;
    u->ops = &box->ops;
    u->box = box;
    return 0;
}

bool uffd_signal_is(const struct uffd *u)
{
    return u->box != NULL;
}

static void enlist(struct uffd_box *box, struct waiter *waiter)
{
    lock_take(&box->lock);
    waiter->next = box->waiters;
    box->waiters = waiter;
    lock_release(&box->lock);
}

static void delist(struct uffd_box *box, struct waiter *waiter)
{
    struct waiter **link = &box->waiters;

    lock_take(&box->lock);
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
    lock_release(&box->lock);
}

void uffd_signal_hand_over(struct uffd *u, const struct uffd_fault *fault)
{
    struct uffd_box *box = u->box;
    struct waiter waiter = {.addr = fault->addr};

    enlist(box, &waiter);
    /* A thread has one message in the pipe at most, so it is full only when
     * thousands wait at once. The bare call: libc's is a cancellation point. */
    while (syscall(SYS_write, box->pipe[1], fault, sizeof(*fault)) < 0 &&
           errno == EAGAIN)
        sched_yield();
    while (atomic_load(&waiter.done) == 0)
        syscall(SYS_futex, &waiter.done, FUTEX_WAIT_PRIVATE, 0, NULL);
    /* Under the lock: who woke us does not look at the waiter any more. */
    delist(box, &waiter);
}
