/* SPDX-License-Identifier: MIT */
/*
 * First touches: a write to every page of a fresh heap, against the same on
 * fresh anonymous memory of the kernel (4 KiB pages, transparent huge pages
 * off). Toucher and handler are bound to one CPU, which is what the reach of
 * these rows is about: what the fault path costs without waking another CPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "harness.h"
#include "ufault/ufault.h"

#define CPU 1

static size_t page;

static int the_cpu(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > CPU ? CPU : 0;
}

/* Writes one byte of every page; the sample is per page. */
static void touch_all(char *base, size_t len_bytes, struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();
    double npages = (double)(len_bytes / page);

    for (size_t i = 0; i < len_bytes; i += page)
        base[i] = 1;
    ret->wall_us = (bench_wall_us() - wall) / npages;
    ret->cpu_us = (bench_cpu_us() - cpu) / npages;
}

/* The latency of single touches, over at most 16 Mi bytes. */
static void touch_timed(char *base, size_t len_bytes, struct sample *ret)
{
    size_t n = (len_bytes < (16u << 20) ? len_bytes : (16u << 20)) / page;
    double *times = malloc(n * sizeof(times[0]));

    memset(times, 0, n * sizeof(times[0]));
    for (size_t i = 0; i < n; i++) {
        double begun = bench_wall_us();

        base[i * page] = 1;
        times[i] = bench_wall_us() - begun;
    }
    ret->p50_us = bench_percentile(times, n, 50);
    ret->p99_us = bench_percentile(times, n, 99);
    free(times);
}

static char *kernel_memory(size_t len_bytes)
{
    char *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, len_bytes, MADV_NOHUGEPAGE);
    return p;
}

static bool kernel_touch(const struct row *row, struct sample *ret)
{
    char *p;

    page = (size_t)sysconf(_SC_PAGESIZE);
    bench_bind(the_cpu());
    p = kernel_memory(row->len_bytes);
    if (!p)
        return false;
    touch_all(p, row->len_bytes, ret);
    munmap(p, row->len_bytes);
    bench_bind(-1);
    return true;
}

static struct uf_space *fresh_space(const struct row *row,
                                    struct uf_engine *engine)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = row->len_bytes + (64u << 10),
        .engine = engine,
        .window_pages = row->window,
    };
    struct uf_space *space;
    int err = uf_space_create(&opts, &space);

    if (err) {
        printf("# %s: no space: %s\n", row->work, strerror(-err));
        return NULL;
    }
    return space;
}

static bool our_touch(const struct row *row, struct sample *ret)
{
    static struct uf_engine *engine; /* one for all rows and turns */
    struct uf_engine_opts opts = {.size = sizeof(opts)};
    struct uf_space *space;
    char *heap;

    page = (size_t)sysconf(_SC_PAGESIZE);
    opts.cpu_plus_one = (uint32_t)the_cpu() + 1;
    if (!engine && uf_engine_create(&opts, &engine) != 0)
        return false;
    bench_bind(the_cpu());
    space = fresh_space(row, engine);
    if (!space)
        return false;
    heap = (char *)uf_sbrk(space, (intptr_t)row->len_bytes);
    touch_all(heap, row->len_bytes, ret);
    uf_sbrk(space, -(intptr_t)row->len_bytes);
    heap = (char *)uf_sbrk(space, (intptr_t)row->len_bytes);
    touch_timed(heap, row->len_bytes, ret);
    uf_space_destroy(space);
    bench_bind(-1);
    return true;
}

/* ---------------------------------------------- the textbook handler -- */

/* What the manual page's example does: poll, read one, copy one page. */
static void *textbook_handler(void *arg)
{
    int fd = *(int *)arg;
    char *zeros = kernel_memory(page);

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

static int textbook_fd(void)
{
    static int fd = -1;
    struct uffdio_api api = {.api = UFFD_API};
    pthread_t thread;

    if (fd >= 0)
        return fd;
    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
        return -1;
    pthread_create(&thread, NULL, textbook_handler, &fd);
    return fd;
}

static bool textbook_touch(const struct row *row, struct sample *ret)
{
    struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    char *p;
    int fd;

    page = (size_t)sysconf(_SC_PAGESIZE);
    bench_bind(the_cpu()); /* inherited by the handler */
    fd = textbook_fd();
    p = kernel_memory(row->len_bytes);
    if (fd < 0 || !p)
        return false;
    reg.range.start = (uintptr_t)p;
    reg.range.len = row->len_bytes;
    if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
        return false;
    touch_all(p, row->len_bytes, ret);
    munmap(p, row->len_bytes);
    bench_bind(-1);
    return true;
}

#define MIB ((size_t)1 << 20)

const struct row touch_rows[] = {
    {.work = "write first touch, 1 page per fault, same CPU",
     .engine = "thread",
     .baseline = "kernel4k",
     .unit = "page",
     .reach = 3.3,
     .ours = our_touch,
     .theirs = kernel_touch,
     .len_bytes = 256 * MIB,
     .window = 1},
    {.work = "the same against a textbook handler",
     .engine = "thread",
     .baseline = "textbook",
     .unit = "page",
     .ours = our_touch,
     .theirs = textbook_touch,
     .len_bytes = 64 * MIB,
     .window = 1},
    {.work = "textbook handler, 1 page per fault, same CPU",
     .engine = "textbook",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = textbook_touch,
     .theirs = kernel_touch,
     .len_bytes = 64 * MIB,
     .window = 1},
    {.work = "write first touch, 64 pages per fault, same CPU",
     .engine = "thread",
     .baseline = "kernel4k",
     .unit = "page",
     .reach = 1.0,
     .ours = our_touch,
     .theirs = kernel_touch,
     .len_bytes = 256 * MIB,
     .window = 64},
};
const size_t touch_nrows = sizeof(touch_rows) / sizeof(touch_rows[0]);
