/* SPDX-License-Identifier: MIT */
/*
 * hello-fault: touch memory, and watch who makes it real.
 *
 * A space is addresses without memory. The first touch of a page is a fault;
 * the kernel puts the touching thread to sleep and tells the space's engine,
 * which installs the page and wakes the thread. Nobody who only runs the store
 * instruction can see any of that, so three witnesses are asked:
 *
 *     ufault      uf_space_stats: faults received, pages installed
 *     getrusage   faults of this thread, as the kernel counts them
 *     mincore     pages that the kernel says are there
 *
 * Exits with 0 if they agree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define NPAGES 64

/* Minor and major: some kernels count a served fault as major. */
static long thread_faults(void)
{
    struct rusage usage;

    CHECK(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_minflt + usage.ru_majflt;
}

static long resident_pages(char *start)
{
    unsigned char vec[NPAGES];
    long n = 0;

    CHECK(mincore(start, NPAGES * (size_t)getpagesize(), vec) == 0);
    for (int i = 0; i < NPAGES; i++)
        n += vec[i] & 1;
    return n;
}

/* Windows are aligned, as the kernel's own fault-around: how many do these
 * pages lie in? */
static size_t windows_of(const char *start, size_t len_bytes, size_t window)
{
    return ((uintptr_t)start + len_bytes - 1) / window -
           (uintptr_t)start / window + 1;
}

/* Touches every page of a new space whose faults bring in `window` pages. */
static void touch_all(uint32_t window)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)1 << 40,
                                 .window_pages = window};
    struct uf_stats stats = {.size = sizeof(stats)};
    size_t page = (size_t)getpagesize();
    struct uf_space *space;
    long before, kernel;
    char *heap;
    int err;

    err = uf_space_create(&opts, &space);
    if (err) {
        fprintf(stderr, "no space: %s; `ufault probe` says why\n",
                strerror(-err));
        exit(1);
    }
    /* The reservation is 1 TiB, the break 64 pages into it: still no memory. */
    heap = (char *)uf_sbrk(space, (intptr_t)(NPAGES * page));
    CHECK((uintptr_t)heap == uf_space_base(space));
    CHECK(resident_pages(heap) == 0);

    before = thread_faults();
    for (size_t i = 0; i < NPAGES; i++)
        heap[i * page] = 1;
    kernel = thread_faults() - before;

    CHECK(uf_space_stats(space, &stats) == 0);
    printf("%6u %9llu %10ld %10llu %8ld %11.1f us\n", window,
           (unsigned long long)stats.faults, kernel,
           (unsigned long long)stats.pages_installed, resident_pages(heap),
           (double)stats.fault_ns / 1000 / (double)stats.faults);
    CHECK(stats.faults == windows_of(heap, NPAGES * page, window * page));
    CHECK((uint64_t)kernel == stats.faults);
    CHECK(stats.pages_installed == NPAGES);
    CHECK(stats.resident == NPAGES && resident_pages(heap) == NPAGES);
    CHECK(uf_space_destroy(space) == 0);
}

int main(void)
{
    printf("%d pages written one after the other, in a space of 1 TiB\n\n"
           "window    faults  getrusage  installed  mincore  a fault took\n",
           NPAGES);
    thread_faults(); /* the first call may fault by itself */
    touch_all(1);
    touch_all(8);
    touch_all(64);
    printf("\nAll three agree. A wider window: as many pages, fewer faults.\n");
    return 0;
}
