/* SPDX-License-Identifier: MIT */
/*
 * What a signal engine cannot go below: SIGBUS, UFFDIO_COPY, return. See
 * servers.h. The handler is in place while the memory is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "servers.h"

static int fd = -1;
static size_t page;
static char *zeros;
static struct sigaction before;

static void on_touch(int signo, siginfo_t *info, void *context)
{
    struct uffdio_copy copy = {.dst = (uintptr_t)info->si_addr &
                                      ~((uint64_t)page - 1),
                               .src = (uintptr_t)zeros,
                               .len = page};
    int err = errno;

    (void)signo;
    (void)context;
    ioctl(fd, UFFDIO_COPY, &copy);
    errno = err;
}

static bool start(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};

    page = (size_t)sysconf(_SC_PAGESIZE);
    zeros = kernel_memory(page);
    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (!zeros || fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
        perror("# bare signal handler");
        return false;
    }
    memset(zeros, 0, page);
    return true;
}

static bool map(const struct wish *wish, struct memory *ret)
{
    struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    struct sigaction action = {.sa_sigaction = on_touch,
                               .sa_flags = SA_SIGINFO};
    char *p = fd >= 0 || start() ? kernel_memory(wish->len_bytes) : NULL;

    if (!p)
        return false;
    reg.range.start = (uintptr_t)p;
    reg.range.len = wish->len_bytes;
    if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0) {
        perror("# bare signal handler: register");
        return false;
    }
    sigfillset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
    *ret = (struct memory){p, wish->len_bytes, NULL};
    return true;
}

static void unmap(struct memory *memory)
{
    sigaction(SIGBUS, &before, NULL);
    munmap(memory->base, memory->len_bytes);
}

const struct server bare_signal = {.map = map, .unmap = unmap};
