/* SPDX-License-Identifier: MIT */
/* See touch.h. */
#include "touch.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BOUND_CPU   1
#define THREADS_MAX 8
#define TIMED_MAX   4096  /* touches of the second pass */
#define LEAST_US    0.001 /* less is noise of the clock, 0 "not measured" */

static size_t page;
static int source = -1; /* what calls read from: a page of ones, in memory */

/* What one thread does. */
struct job {
    pthread_t thread;
    pthread_barrier_t *start;
    char *base;
    const uint32_t *pages; /* to touch, in this order */
    size_t n;
    enum access access;
};

static inline void touch_page(char *p, enum access access)
{
    if (access == ACCESS_READ || access == ACCESS_READ_WRITE)
        (void)*(volatile char *)p;
    if (access == ACCESS_WRITE || access == ACCESS_READ_WRITE)
        *(volatile char *)p = 1;
    if (access == ACCESS_CALL && pread(source, p, page, 0) != (ssize_t)page)
        abort();
}

static void touch_pages(const struct job *job)
{
    for (size_t i = 0; i < job->n; i++)
        touch_page(job->base + job->pages[i] * page, job->access);
}

static void *touch_in_thread(void *arg)
{
    struct job *job = arg;

    pthread_barrier_wait(job->start);
    touch_pages(job);
    return NULL;
}

/* What two looks at the clock take by themselves. */
static double clock_us(void)
{
    double times[101];

    for (size_t i = 0; i < 101; i++) {
        double begun = bench_wall_us();

        times[i] = bench_wall_us() - begun;
    }
    return bench_percentile(times, 101, 50);
}

static bool time_each(const struct job *job, struct sample *ret)
{
    size_t n = job->n < TIMED_MAX ? job->n : TIMED_MAX;
    double *times = calloc(n, sizeof(times[0])), clock = clock_us();

    if (!times)
        return false;
    for (size_t i = 0; i < n; i++)
        times[i] = -1; /* resident, too */
    for (size_t i = 0; i < n; i++) {
        double begun = bench_wall_us(), us;

        touch_page(job->base + job->pages[i] * page, job->access);
        us = bench_wall_us() - begun - clock;
        times[i] = us > LEAST_US ? us : LEAST_US;
    }
    ret->p50_us = bench_percentile(times, n, 50);
    ret->p99_us = bench_percentile(times, n, 99);
    ret->p999_us = bench_percentile(times, n, 99.9);
    free(times);
    return true;
}

/* All touches; the sample is per page. */
static void measure(const struct side *side, const struct memory *memory,
                    struct job *jobs, double npages, struct sample *ret)
{
    pthread_barrier_t start;
    double wall, cpu;

    pthread_barrier_init(&start, NULL, side->nthreads + 1);
    for (unsigned i = 0; i < side->nthreads; i++) {
        jobs[i].start = &start;
        if (pthread_create(&jobs[i].thread, NULL, touch_in_thread, &jobs[i]))
            abort();
    }
    cpu = bench_cpu_us();
    pthread_barrier_wait(&start);
    wall = bench_wall_us();
    if (side->server->begin)
        side->server->begin(memory);
    if (side->nthreads == 0)
        touch_pages(&jobs[0]);
    for (unsigned i = 0; i < side->nthreads; i++)
        pthread_join(jobs[i].thread, NULL);
    ret->wall_us = (bench_wall_us() - wall) / npages;
    if (side->server->settle)
        side->server->settle(memory);
    ret->cpu_us = (bench_cpu_us() - cpu) / npages;
    pthread_barrier_destroy(&start);
}

/* Both passes. `job` is the first thread's, but for where. */
static bool both_passes(const struct touch *t, const struct side *side,
                        const struct wish *wish, struct job *job,
                        struct sample *ret)
{
    unsigned nthreads = side->nthreads ? side->nthreads : 1;
    unsigned nparts = t->same_pages ? 1 : nthreads;
    struct job jobs[THREADS_MAX];
    struct memory memory;
    bool ok = true;

    if (!side->server->map(wish, &memory))
        return false;
    for (unsigned i = 0; i < nthreads; i++) {
        jobs[i] = *job;
        jobs[i].base = memory.base + i % nparts * (wish->len_bytes / nparts);
    }
    measure(side, &memory, jobs, (double)(job->n * nparts), ret);
    side->server->unmap(&memory);
    if (side->nthreads > 0 || side->server->begin)
        return true;

    if (!side->server->map(wish, &memory))
        return false;
    job->base = memory.base;
    ok = time_each(job, ret);
    side->server->unmap(&memory);
    return ok;
}

static bool open_source(void)
{
    char *ones;

    if (source >= 0)
        return true;
    ones = malloc(page);
    source = memfd_create("bench", MFD_CLOEXEC);
    if (!ones || source < 0)
        return false;
    for (size_t i = 0; i < page; i++)
        ones[i] = 1;
    if (write(source, ones, page) != (ssize_t)page)
        return false;
    free(ones);
    return true;
}

static bool run(const struct row *row, const struct side *side,
                struct sample *ret)
{
    const struct touch *t = row->touch;
    unsigned nparts = t->same_pages || !side->nthreads ? 1 : side->nthreads;
    int cpu = sysconf(_SC_NPROCESSORS_ONLN) > BOUND_CPU ? BOUND_CPU : 0;
    struct wish wish = {.len_bytes = row->len_bytes,
                        .window = row->window,
                        .cpu = t->bound ? cpu : -1};
    struct job job = {.access = t->access};
    uint32_t *pages;
    bool ok;

    page = (size_t)sysconf(_SC_PAGESIZE);
    if (!open_source())
        return false;
    pages = pattern_make(t->order, row->len_bytes / page / nparts, &job.n);
    if (!pages)
        return false;
    job.pages = pages;
    bench_bind(wish.cpu);
    ok = both_passes(t, side, &wish, &job, ret);
    bench_bind(-1);
    free(pages);
    return ok;
}

bool touch_ours(const struct row *row, struct sample *ret)
{
    return run(row, &row->touch->ours, ret);
}

bool touch_theirs(const struct row *row, struct sample *ret)
{
    return run(row, &row->touch->theirs, ret);
}
