/* SPDX-License-Identifier: MIT */
/*
 * fault-count: four threads share a heap; who touched what first?
 *
 * Each thread writes 12 pages of its own, then the 16 pages that all share. Two
 * ways to find out, and the kernel's own count to check them:
 *
 *     uf_space_thread_stats    the sums per thread, always counted
 *     the trace hook           called for each fault: address, thread, outcome
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define NTHREADS 4
#define OWN      12
#define SHARED   16
#define NPAGES   (NTHREADS * OWN + SHARED)

static struct toucher {
    pthread_t thread;
    _Atomic pid_t tid;
    long faults;        /* as the kernel counts */
    atomic_long traced; /* as the hook was told */
} touchers[NTHREADS];

static char *heap;
static size_t page;
static char owner[NPAGES + 1]; /* a letter a page, by the trace hook */
static pthread_barrier_t together;

/* On a handler thread, perhaps a moment after the toucher has gone on. */
static void on_fault(void *data, const struct uf_fault_event *event)
{
    (void)data;
    for (int i = 0; i < NTHREADS; i++) {
        if (touchers[i].tid != event->tid)
            continue;
        touchers[i].traced++;
        if (event->outcome == UF_OUTCOME_INSTALLED)
            owner[(event->start - (uintptr_t)heap) / page] = (char)('A' + i);
    }
}

static long thread_faults(void)
{
    struct rusage usage = {0};

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static void *touch(void *arg)
{
    struct toucher *me = arg;
    char *own = heap + (size_t)(me - touchers) * OWN * page;
    char *shared = heap + NTHREADS * OWN * page;

    me->tid = gettid();
    thread_faults(); /* its own first faults are not to be counted */
    pthread_barrier_wait(&together);
    me->faults = -thread_faults();
    for (size_t i = 0; i < OWN; i++)
        own[i * page] = 1;
    for (size_t i = 0; i < SHARED; i++)
        shared[(i + (size_t)(me - touchers) * 4) % SHARED * page] = 1;
    me->faults += thread_faults();
    return NULL;
}

static void show(struct toucher *t, const struct uf_thread_stats *seen)
{
    while (seen->tid != t->tid)
        seen++;
    printf("%4c %7d %9d %8d %8ld %8ld\n", (int)('A' + (t - touchers)), t->tid,
           (int)seen->pages_installed, (int)seen->faults_write, t->traced,
           t->faults);
    /* A page that another thread's fault brings in may wake this one first and
     * be counted for it a moment later; or come before the kernel asks us. */
    CHECK(seen->faults_write <= (uint64_t)t->traced && t->traced <= t->faults);
}

int main(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = 1 << 20,
                                 .window_pages = 1,
                                 .on_fault = on_fault};
    struct uf_thread_stats seen[NTHREADS];
    struct uf_stats s = {.size = sizeof(s)};
    struct uf_space *space;

    page = (size_t)getpagesize();
    CHECK(uf_space_create(&opts, &space) == 0);
    heap = (char *)uf_sbrk(space, (intptr_t)(NPAGES * page));
    pthread_barrier_init(&together, NULL, NTHREADS);
    for (struct toucher *t = touchers; t < touchers + NTHREADS; t++)
        CHECK(pthread_create(&t->thread, NULL, touch, t) == 0);
    for (int i = 0; i < NTHREADS; i++)
        pthread_join(touchers[i].thread, NULL);

    CHECK(uf_space_stats(space, &s) == 0);
    CHECK(uf_space_thread_stats(space, seen, NTHREADS) == NTHREADS);
    CHECK(uf_space_destroy(space) == 0); /* waits for hooks under way */
    printf("thread  tid     pages   faults   traced   kernel\n");
    for (int i = 0; i < NTHREADS; i++)
        show(&touchers[i], seen);
    printf("\nwho was first at each page:\n%s\n", owner);
    CHECK(strlen(owner) == NPAGES && s.installed == NPAGES);
    return 0;
}
