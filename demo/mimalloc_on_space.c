/* SPDX-License-Identifier: MIT */
/*
 * mimalloc-on-space: somebody else's allocator on memory of ours.
 *
 *     mi_malloc ──► segments of an arena ──► uf_mmap ──► addresses
 *                                                           │ first touch
 *     four threads                                          ▼
 *                                                         pages
 *
 * mimalloc takes what memory it is given: mi_manage_os_memory makes an arena
 * of a range that the program mapped, here in a space, and with
 * limit_os_alloc it asks the system for no more. It needs to know nothing of
 * ufault, and ufault nothing of it; each page is made by a fault that the space
 * answers, and only when the allocator comes to touch it.
 */
#include <mimalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

#define MIB(n)   ((size_t)(n) << 20)
#define ARENA    MIB(512)
#define NTHREADS 4
#define NLISTS   2000

static struct uf_space *space;

static int is_ours(const void *p)
{
    return (uintptr_t)p - uf_space_base(space) < uf_space_len(space);
}

/* Returns what is resident, in bytes. */
static size_t stage(const char *name)
{
    struct uf_stats s = {.size = sizeof(s)};

    CHECK(uf_space_stats(space, &s) == 0);
    printf("%-34s %8zu %9zu %8llu\n", name,
           (size_t)(s.total_vm * s.page_bytes) >> 10,
           (size_t)(s.resident * s.page_bytes) >> 10,
           (unsigned long long)s.faults);
    return (size_t)(s.resident * s.page_bytes);
}

/* Lists of strings, each in a block of its own. */
static void *work(void *unused)
{
    char **lines = mi_calloc(NLISTS, sizeof(*lines));

    (void)unused;
    CHECK(lines && is_ours(lines));
    for (size_t i = 0; i < NLISTS; i++) {
        lines[i] = mi_malloc(16 + i % 1500);
        CHECK(lines[i] && is_ours(lines[i]));
        snprintf(lines[i], 16, "line %zu", i);
    }
    for (size_t i = 0; i < NLISTS; i++) {
        CHECK(strtoul(lines[i] + 5, NULL, 10) == i);
        mi_free(lines[i]);
    }
    mi_free(lines);
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[NTHREADS];

    for (int i = 0; i < NTHREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
    for (int i = 0; i < NTHREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = MIB(1024)};
    uintptr_t place;
    size_t once, twice;

    CHECK(uf_space_create(&opts, &space) == 0);
    place = (uf_space_base(space) + MIB(32)) & ~(MIB(32) - 1); /* aligned */
    CHECK(uf_mmap(space, place, ARENA, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0) == (intptr_t)place);
    printf("%34s   mapped  resident   faults\n", "KiB:");
    CHECK(stage("mapped: addresses, no memory") == 0);

    mi_option_enable(mi_option_limit_os_alloc);
    CHECK(mi_manage_os_memory((void *)place, ARENA, true, false, true, -1));
    CHECK(stage("given to mimalloc: untouched") == 0);
    run_threads();
    once = stage("four threads have allocated");
    run_threads();
    twice = stage("four more, in what these freed");
    CHECK(once > 0 && twice < 2 * once);
    /* The program's malloc lives there now: the space stays till the end. */
    return 0;
}
