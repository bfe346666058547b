/* SPDX-License-Identifier: MIT */
/* See uffd.h: the real descriptor. */
#include "host/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/uffd_abi.h"

#define READ_BATCH 64

static int or_errno(int rc)
{
    return rc < 0 ? -errno : rc;
}

static int open_device(void)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd;

    if (device < 0)
        return -errno;
    fd = or_errno(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    close(device);
    return fd;
}

int uffd_open_tier(enum uf_tier tier)
{
    int flags = O_CLOEXEC | O_NONBLOCK;

    switch (tier) {
    case UF_TIER_SYSCALL:
        return or_errno((int)syscall(SYS_userfaultfd, flags));
    case UF_TIER_DEVICE:
        return open_device();
    case UF_TIER_USER_MODE:
        return or_errno(
            (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY));
    case UF_TIER_NONE:
        break;
    }
    return -EINVAL;
}

static int handshake(int fd, uint64_t wanted, uint64_t *ret_features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = wanted};

    if (ioctl(fd, UFFDIO_API, &api) < 0)
        return -errno;
    *ret_features = api.features;
    return 0;
}

int uffd_features(enum uf_tier tier, uint64_t *ret_features)
{
    int fd = uffd_open_tier(tier);
    int err;

    if (fd < 0)
        return fd;
    err = handshake(fd, 0, ret_features);
    close(fd);
    return err;
}

static int fd_read(struct uffd *u, struct uffd_fault *faults, int max)
{
    struct uffd_msg msgs[READ_BATCH];
    size_t want = (size_t)(max < READ_BATCH ? max : READ_BATCH);
    ssize_t got = read(u->fd, msgs, want * sizeof(msgs[0]));
    int n = 0;

    if (got < 0)
        return -errno;
    for (size_t i = 0; i < (size_t)got / sizeof(msgs[0]); i++) {
        if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
            continue;
        faults[n++] = (struct uffd_fault){
            .addr = msgs[i].arg.pagefault.address,
            .flags = (uint32_t)msgs[i].arg.pagefault.flags,
            .tid = (pid_t)msgs[i].arg.pagefault.feat.ptid,
        };
    }
    return n;
}

static int fd_wait(struct uffd *u, int stop_fd, int64_t timeout_ns)
{
    struct pollfd fds[2] = {{.fd = u->fd, .events = POLLIN},
                            {.fd = stop_fd, .events = POLLIN}};
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int rc = ppoll(fds, 2, timeout_ns < 0 ? NULL : &ts, NULL);

    if (rc < 0)
        return errno == EINTR ? 0 : -errno;
    if (fds[0].revents & (POLLERR | POLLNVAL))
        return -EBADF;
    return (fds[0].revents & POLLIN) != 0;
}

static struct uffd_result result(int rc, int64_t done)
{
    return (struct uffd_result){.err = rc < 0 ? -errno : 0, .done = done};
}

static struct uffd_result copy(struct uffd *u, struct range dst,
                               const void *src, uint64_t mode)
{
    struct uffdio_copy arg = {.dst = dst.start,
                              .src = (uintptr_t)src,
                              .len = range_len(dst),
                              .mode = mode};
    int rc;

    if (u->hold_wakes)
        arg.mode |= UFFDIO_COPY_MODE_DONTWAKE;
    rc = ioctl(u->fd, UFFDIO_COPY, &arg);
    return result(rc, arg.copy);
}

static struct uffd_result fd_copy(struct uffd *u, struct range dst,
                                  const void *src)
{
    return copy(u, dst, src, 0);
}

static struct uffd_result fd_copy_protected(struct uffd *u, struct range dst,
                                            const void *src)
{
    return copy(u, dst, src, UFFDIO_COPY_MODE_WP);
}

static struct uffd_result fd_zeropage(struct uffd *u, struct range dst)
{
    struct uffdio_zeropage arg = {
        .range = {.start = dst.start, .len = range_len(dst)},
        .mode = u->hold_wakes ? UFFDIO_ZEROPAGE_MODE_DONTWAKE : 0};
    int rc = ioctl(u->fd, UFFDIO_ZEROPAGE, &arg);

    return result(rc, arg.zeropage);
}

static struct uffd_result fd_move(struct uffd *u, struct range dst, void *src)
{
    struct uffdio_move arg = {.dst = dst.start,
                              .src = (uintptr_t)src,
                              .len = range_len(dst),
                              .mode = u->hold_wakes ? UFFDIO_MOVE_MODE_DONTWAKE
                                                    : 0};
    int rc = ioctl(u->fd, UFFDIO_MOVE, &arg);

    return result(rc, arg.move);
}

static struct uffd_result fd_poison(struct uffd *u, struct range dst)
{
    struct uffdio_poison arg = {
        .range = {.start = dst.start, .len = range_len(dst)},
        .mode = u->hold_wakes ? UFFDIO_POISON_MODE_DONTWAKE : 0};
    int rc = ioctl(u->fd, UFFDIO_POISON, &arg);

    return result(rc, arg.updated);
}

static struct uffd_result fd_wake(struct uffd *u, struct range range)
{
    struct uffdio_range arg = {.start = range.start, .len = range_len(range)};

    return result(ioctl(u->fd, UFFDIO_WAKE, &arg), 0);
}

static struct uffd_result regist(struct uffd *u, struct range range,
                                 uint64_t mode)
{
    struct uffdio_register arg = {
        .range = {.start = range.start, .len = range_len(range)}, .mode = mode};

    return result(ioctl(u->fd, UFFDIO_REGISTER, &arg), 0);
}

static struct uffd_result fd_register(struct uffd *u, struct range range)
{
    return regist(u, range, UFFDIO_REGISTER_MODE_MISSING);
}

static struct uffd_result fd_track(struct uffd *u, struct range range)
{
    return regist(u, range,
                  UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
}

static struct uffd_result fd_protect(struct uffd *u, struct range range,
                                     bool on)
{
    struct uffdio_writeprotect arg = {
        .range = {.start = range.start, .len = range_len(range)},
        .mode = on              ? UFFDIO_WRITEPROTECT_MODE_WP
                : u->hold_wakes ? UFFDIO_WRITEPROTECT_MODE_DONTWAKE
                                : 0};

    return result(ioctl(u->fd, UFFDIO_WRITEPROTECT, &arg), 0);
}

static struct uffd_result fd_unregister(struct uffd *u, struct range range)
{
    struct uffdio_range arg = {.start = range.start, .len = range_len(range)};

    return result(ioctl(u->fd, UFFDIO_UNREGISTER, &arg), 0);
}

static void fd_close(struct uffd *u)
{
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

static const struct uffd_ops fd_ops = {
    .read = fd_read,
    .wait = fd_wait,
    .copy = fd_copy,
    .zeropage = fd_zeropage,
    .move = fd_move,
    .poison = fd_poison,
    .wake = fd_wake,
    .regist = fd_register,
    .unregister = fd_unregister,
    .track = fd_track,
    .protect = fd_protect,
    .copy_protected = fd_copy_protected,
    .close = fd_close,
};

int uffd_init(struct uffd *u, enum uf_tier tier, uint64_t wanted)
{
    uint64_t features;
    int err = uffd_features(tier, &features);
    int fd;

    if (err)
        return err;
    fd = uffd_open_tier(tier);
    if (fd < 0)
        return fd;
    err = handshake(fd, wanted & features, &features);
    if (err) {
        close(fd);
        return err;
    }
    *u = (struct uffd){
        .ops = &fd_ops,
        .fd = fd,
        .tier = tier,
        .features = wanted & features,
        .can_poison = (features & UFFD_FEATURE_POISON) != 0,
        .can_move = (features & UFFD_FEATURE_MOVE) != 0,
        .can_protect = (features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0,
        /* What was not asked for is not on. */
        .protects_async = (wanted & features & UFFD_FEATURE_WP_ASYNC) != 0};
    u->protects_shared = u->protects_async &&
                         (wanted & features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
    return 0;
}

void uffd_close(struct uffd *u)
{
    u->ops->close(u);
}
