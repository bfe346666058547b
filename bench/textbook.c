/* SPDX-License-Identifier: MIT */
/*
 * A textbook handler, as the example in userfaultfd(2): one thread that polls,
 * reads one message and copies one page. See servers.h.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "servers.h"

static void *handle(void *arg)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *zeros = kernel_memory(page);
    int fd = (int)(intptr_t)arg;

    memset(zeros, 0, page);
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        struct uffdio_copy copy = {.src = (uintptr_t)zeros, .len = page};
        struct uffd_msg msg;

        poll(&pfd, 1, -1);
        if (read(fd, &msg, sizeof(msg)) != (ssize_t)sizeof(msg))
            continue;
        copy.dst = msg.arg.pagefault.address & ~((uint64_t)page - 1);
        ioctl(fd, UFFDIO_COPY, &copy);
    }
    return NULL;
}

/* The thread inherits the caller's CPU. */
static int start(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    pthread_t thread;

    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ||
        pthread_create(&thread, NULL, handle, (void *)(intptr_t)fd) != 0) {
        perror("# textbook handler");
        return -1;
    }
    pthread_detach(thread);
    return fd;
}

/* One handler that is bound and one that is not serve all rows and turns. */
static int handler_fd(int cpu)
{
    static int fds[2] = {-1, -1};
    int which = cpu >= 0;

    if (fds[which] < 0)
        fds[which] = start();
    return fds[which];
}

static bool map(const struct wish *wish, struct memory *ret)
{
    struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    int fd = handler_fd(wish->cpu);
    char *p = fd < 0 ? NULL : kernel_memory(wish->len_bytes);

    if (!p)
        return false;
    reg.range.start = (uintptr_t)p;
    reg.range.len = wish->len_bytes;
    if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0) {
        perror("# textbook: register");
        return false;
    }
    *ret = (struct memory){p, wish->len_bytes, NULL};
    return true;
}

static void unmap(struct memory *memory)
{
    munmap(memory->base, memory->len_bytes);
}

const struct server textbook = {.map = map, .unmap = unmap};
