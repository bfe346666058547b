/* SPDX-License-Identifier: MIT */
/*
 * The parts of a one-page fault, each against the kernel's whole first touch
 * of a page: what the thread engine cannot go below, and what it adds.
 *
 *     touch ─► trap ─► switch to the handler ─► poll, read, COPY ─► switch back
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/ufault.h"

#define ROUNDS 20000
#define PAGES  16384

/* The kernel's own first touch, per page; as in touch.c, unbound. */
static bool kernel_page(const struct row *row, struct sample *ret)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double begun;

    (void)row;
    if (p == MAP_FAILED)
        return false;
    madvise(p, PAGES * page, MADV_NOHUGEPAGE);
    begun = bench_wall_us();
    for (size_t i = 0; i < PAGES; i++)
        p[i * page] = 1;
    ret->wall_us = (bench_wall_us() - begun) / PAGES;
    ret->cpu_us = ret->wall_us;
    munmap(p, PAGES * page);
    return true;
}

static int ping, pong;

static void *echo(void *arg)
{
    uint64_t n;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++)
        if (read(ping, &n, sizeof(n)) < 0 || write(pong, &n, sizeof(n)) < 0)
            break;
    return NULL;
}

/* There and back between two threads on one CPU, by eventfd: two switches and
 * four system calls. */
static bool two_switches(const struct row *row, struct sample *ret)
{
    uint64_t n = 1;
    pthread_t thread;
    double begun;

    (void)row;
    ping = eventfd(0, 0);
    pong = eventfd(0, 0);
    bench_bind(0);
    pthread_create(&thread, NULL, echo, NULL);
    begun = bench_wall_us();
    for (int i = 0; i < ROUNDS; i++)
        if (write(ping, &n, sizeof(n)) < 0 || read(pong, &n, sizeof(n)) < 0)
            return false;
    ret->wall_us = (bench_wall_us() - begun) / ROUNDS;
    ret->cpu_us = ret->wall_us;
    pthread_join(thread, NULL);
    close(ping);
    close(pong);
    bench_bind(-1);
    return true;
}

/* UFFDIO_COPY of one page of zeros a call, from the thread that wants it. */
static bool copy_alone(const struct row *row, struct sample *ret)
{
    size_t len = PAGES * (size_t)sysconf(_SC_PAGESIZE);
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = len, .window_pages = row->window};
    struct uf_space *space;
    double begun;

    if (uf_space_create(&opts, &space) != 0)
        return false;
    uf_sbrk(space, (intptr_t)len);
    begun = bench_wall_us();
    uf_populate(space, uf_space_base(space), len);
    ret->wall_us = (bench_wall_us() - begun) / PAGES;
    ret->cpu_us = ret->wall_us;
    uf_space_destroy(space);
    return true;
}

static bool poll_read(const struct row *row, struct sample *ret)
{
    int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = other, .events = POLLIN}};
    uint64_t n = 1;
    double begun;

    (void)row;
    begun = bench_wall_us();
    for (int i = 0; i < ROUNDS; i++)
        if (ppoll(fds, 2, &(struct timespec){0, 0}, NULL) < 0 ||
            (read(fd, &n, sizeof(n)) < 0 && i < 0))
            return false;
    ret->wall_us = (bench_wall_us() - begun) / ROUNDS;
    ret->cpu_us = ret->wall_us;
    close(fd);
    close(other);
    return true;
}

const struct row part_rows[] = {
    {.work = "part: two context switches on one CPU",
     .engine = "-",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = two_switches,
     .theirs = kernel_page},
    {.work = "part: poll and read that find nothing",
     .engine = "-",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = poll_read,
     .theirs = kernel_page},
    {.work = "part: COPY of zeros, 1 page a call, no fault",
     .engine = "populate",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = copy_alone,
     .theirs = kernel_page,
     .window = 1},
    {.work = "part: COPY of zeros, 64 pages a call, no fault",
     .engine = "populate",
     .baseline = "kernel4k",
     .unit = "page",
     .ours = copy_alone,
     .theirs = kernel_page,
     .window = 64},
};
const size_t part_nrows = sizeof(part_rows) / sizeof(part_rows[0]);
