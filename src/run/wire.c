/* SPDX-License-Identifier: MIT */
/* See wire.h. */
#include "run/wire.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

static int send_flags(int socket, const struct msghdr *msg, int flags)
{
    ssize_t rc;

    do {
        rc = sendmsg(socket, msg, flags | MSG_NOSIGNAL);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int wire_send(int socket, const void *message, size_t len_bytes, const int *fds,
              size_t nfds)
{
    struct iovec part = {(void *)(uintptr_t)message, len_bytes};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};

    if (nfds > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, nfds * sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
    }
    return send_flags(socket, &msg, 0);
}

int wire_try_send(int socket, const void *message, size_t len_bytes)
{
    struct iovec part = {(void *)(uintptr_t)message, len_bytes};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    return send_flags(socket, &msg, MSG_DONTWAIT);
}

/* The descriptors that came, at most WIRE_FDS_MAX; the kernel closes more. */
static size_t take_fds(struct msghdr *msg, int *fds)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(msg);
    size_t n;

    if (!header || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS)
        return 0;
    n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), n * sizeof(int));
    return n;
}

int wire_receive(int socket, void *message, size_t len_bytes, int *ret_fds,
                 size_t nfds)
{
    struct iovec part = {message, len_bytes};
    union control control = {0};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int fds[WIRE_FDS_MAX];
    size_t n;
    ssize_t got;

    do {
        got = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    n = take_fds(&msg, fds);
    if ((size_t)got == len_bytes && n == nfds && !(msg.msg_flags & MSG_TRUNC)) {
        if (nfds > 0)
            memcpy(ret_fds, fds, nfds * sizeof(int));
        return 0;
    }
    while (n > 0)
        close(fds[--n]);
    return got == 0 ? -ECONNRESET : -EPROTO;
}

int wire_connect(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    socklen_t address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    int fd, rc;

    if (len == 0 || len >= sizeof(address.sun_path))
        return -EINVAL;
    memcpy(address.sun_path + 1, name, len);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    do {
        rc = connect(fd, (struct sockaddr *)&address, address_len);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int wire_listen(char *ret_name, size_t name_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(address);
    int fd, err;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* A bare family asks for an unused abstract name (unix(7), autobind). */
    if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
        listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    len -= (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1);
    if (len >= name_bytes) {
        close(fd);
        return -ENAMETOOLONG;
    }
    memcpy(ret_name, address.sun_path + 1, len);
    ret_name[len] = '\0';
    return fd;
}
