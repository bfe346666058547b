/* SPDX-License-Identifier: MIT */
/*
 * A textbook handler, as the example in userfaultfd(2): one thread that polls,
 * reads one message and copies one page; and one that does not sleep while
 * faults come, but asks again and again. See servers.h.
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
#include <time.h>
#include <unistd.h>

#include "servers.h"

/* How long it asks before it sleeps: longer than any toucher takes. */
#define SPIN_NS 1000000

struct handler {
    int fd;
    bool spins;
};

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* The next message. */
static void await(const struct handler *h, struct uffd_msg *msg)
{
    struct pollfd pfd = {.fd = h->fd, .events = POLLIN};
    int64_t until = h->spins ? now_ns() + SPIN_NS : 0;

    for (;;) {
        if (now_ns() >= until)
            poll(&pfd, 1, -1);
        if (read(h->fd, msg, sizeof(*msg)) == (ssize_t)sizeof(*msg))
            return;
    }
}

static void *handle(void *arg)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *zeros = kernel_memory(page);
    const struct handler *h = arg;
    int fd = h->fd;

    memset(zeros, 0, page);
    for (;;) {
        struct uffdio_copy copy = {.src = (uintptr_t)zeros, .len = page};
        struct uffd_msg msg;

        await(h, &msg);
        copy.dst = msg.arg.pagefault.address & ~((uint64_t)page - 1);
        ioctl(fd, UFFDIO_COPY, &copy);
    }
    return NULL;
}

/* The thread inherits the caller's CPU. */
static int start(struct handler *h)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    pthread_t thread;

    h->fd = fd;
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ||
        pthread_create(&thread, NULL, handle, h) != 0) {
        perror("# textbook handler");
        return -1;
    }
    pthread_detach(thread);
    return fd;
}

/* One handler that is bound, one that is not and one that spins serve all rows
 * and turns. */
static int handler_fd(int cpu, bool spins)
{
    static struct handler handlers[3] = {
        {.fd = -1}, {.fd = -1}, {.fd = -1, .spins = true}};
    struct handler *h = &handlers[spins ? 2 : cpu >= 0];

    return h->fd < 0 ? start(h) : h->fd;
}

static bool map_at(int fd, const struct wish *wish, struct memory *ret)
{
    struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
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

static bool map(const struct wish *wish, struct memory *ret)
{
    return map_at(handler_fd(wish->cpu, false), wish, ret);
}

static bool map_spinning(const struct wish *wish, struct memory *ret)
{
    return map_at(handler_fd(-1, true), wish, ret);
}

static void unmap(struct memory *memory)
{
    munmap(memory->base, memory->len_bytes);
}

const struct server textbook = {.map = map, .unmap = unmap};
const struct server textbook_spinning = {.map = map_spinning, .unmap = unmap};
