/* SPDX-License-Identifier: MIT */
/*
 * Two threads fault while a third maps and unmaps elsewhere: the time that the
 * same touches take with it, over the time without. The kernel's own figures
 * stand beside ours.
 *
 * On a machine with fewer than three CPUs the third thread takes CPU time from
 * the two whatever it does with it. So there are two kinds of rows: "without"
 * is nobody there at all, or a third thread that computes and maps nothing;
 * the latter is what the locks cost.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "ufault/ufault.h"

#define TOUCHERS 2

enum third { NOBODY, COMPUTES, MAPS };

struct scene {
    struct uf_space *space; /* NULL: the kernel */
    enum third third;
    size_t len_bytes; /* of each toucher */
    char *memory[TOUCHERS];
    pthread_barrier_t start;
    atomic_bool stop;
    unsigned long pairs; /* of mmap and munmap */
};

struct toucher {
    struct scene *scene;
    char *memory;
};

static char *map(struct scene *s, char *hint, size_t len_bytes)
{
    int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *p;

    if (s->space) {
        intptr_t at =
            uf_mmap(s->space, (uintptr_t)hint, len_bytes, prot, flags, -1, 0);

        return at < 0 ? NULL : (char *)at;
    }
    p = mmap(hint, len_bytes, prot, flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void unmap(struct scene *s, char *p, size_t len_bytes)
{
    if (s->space)
        uf_munmap(s->space, (uintptr_t)p, len_bytes);
    else
        munmap(p, len_bytes);
}

static void *touch(void *arg)
{
    struct toucher *t = arg;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    pthread_barrier_wait(&t->scene->start);
    for (size_t at = 0; at < t->scene->len_bytes; at += page)
        *(volatile char *)(t->memory + at) = 1;
    return NULL;
}

static void *be_third(void *arg)
{
    struct scene *s = arg;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* Beside the touched memory it would be one VMA with it, and what the
     * kernel locks for a change. */
    char *elsewhere = s->memory[TOUCHERS - 1] - s->len_bytes;
    volatile unsigned long work = 0;

    pthread_barrier_wait(&s->start);
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        if (s->third == MAPS) {
            char *p = map(s, elsewhere, page);

            if (p)
                unmap(s, p, page);
            s->pairs++;
        } else {
            for (int i = 0; i < 1000; i++)
                work = work + 1;
        }
    }
    return NULL;
}

static void play(struct scene *s, struct sample *ret)
{
    struct toucher touchers[TOUCHERS];
    pthread_t threads[TOUCHERS], third;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    double npages = (double)(TOUCHERS * s->len_bytes / page), wall, cpu;

    pthread_barrier_init(&s->start, NULL, TOUCHERS + 1 + (s->third != NOBODY));
    for (int i = 0; i < TOUCHERS; i++) {
        touchers[i] = (struct toucher){s, s->memory[i]};
        pthread_create(&threads[i], NULL, touch, &touchers[i]);
    }
    if (s->third != NOBODY)
        pthread_create(&third, NULL, be_third, s);
    pthread_barrier_wait(&s->start);
    wall = bench_wall_us();
    cpu = bench_cpu_us();
    for (int i = 0; i < TOUCHERS; i++)
        pthread_join(threads[i], NULL);
    ret->wall_us = (bench_wall_us() - wall) / npages;
    ret->cpu_us = (bench_cpu_us() - cpu) / npages;
    atomic_store(&s->stop, true);
    if (s->third != NOBODY)
        pthread_join(third, NULL);
    pthread_barrier_destroy(&s->start);
}

static bool run(const struct row *row, enum third third, struct sample *ret)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = (size_t)1 << 30,
        .window_pages = row->window,
    };
    struct scene scene = {.third = third, .len_bytes = row->len_bytes};
    bool ok = true;

    if (row->engine[0] != 'k' && uf_space_create(&opts, &scene.space) != 0)
        return false;
    for (int i = 0; i < TOUCHERS; i++) {
        scene.memory[i] = map(&scene, NULL, row->len_bytes);
        ok = ok && scene.memory[i];
        if (ok)
            madvise(scene.memory[i], row->len_bytes, MADV_NOHUGEPAGE);
    }
    if (ok)
        play(&scene, ret);
    for (int i = 0; i < TOUCHERS; i++)
        if (scene.memory[i])
            unmap(&scene, scene.memory[i], row->len_bytes);
    uf_space_destroy(scene.space);
    return ok;
}

static bool with_maps(const struct row *row, struct sample *ret)
{
    return run(row, MAPS, ret);
}

static bool alone(const struct row *row, struct sample *ret)
{
    return run(row, NOBODY, ret);
}

static bool beside_work(const struct row *row, struct sample *ret)
{
    return run(row, COMPUTES, ret);
}

#define MIB ((size_t)1 << 20)

/* 0.8 of the rate is 1.25 times the time. */
#define REACH 1.25

const struct row beside_rows[] = {
    {.work = "2 threads fault beside one that maps",
     .engine = "thread",
     .baseline = "alone",
     .unit = "page",
     .reach = REACH,
     .ours = with_maps,
     .theirs = alone,
     .len_bytes = 64 * MIB},
    {.work = "the same, 1 page per fault",
     .engine = "thread",
     .baseline = "alone",
     .unit = "page",
     .reach = REACH,
     .ours = with_maps,
     .theirs = alone,
     .len_bytes = 16 * MIB,
     .window = 1},
    {.work = "2 threads fault beside one that maps",
     .engine = "kernel",
     .baseline = "alone",
     .unit = "page",
     .ours = with_maps,
     .theirs = alone,
     .len_bytes = 64 * MIB},
    {.work = "2 threads fault beside one that maps",
     .engine = "thread",
     .baseline = "computes",
     .unit = "page",
     .reach = REACH,
     .ours = with_maps,
     .theirs = beside_work,
     .len_bytes = 64 * MIB},
    {.work = "the same, 1 page per fault",
     .engine = "thread",
     .baseline = "computes",
     .unit = "page",
     .reach = REACH,
     .ours = with_maps,
     .theirs = beside_work,
     .len_bytes = 16 * MIB,
     .window = 1},
    {.work = "2 threads fault beside one that maps",
     .engine = "kernel",
     .baseline = "computes",
     .unit = "page",
     .ours = with_maps,
     .theirs = beside_work,
     .len_bytes = 64 * MIB},
};
const size_t beside_nrows = sizeof(beside_rows) / sizeof(beside_rows[0]);
