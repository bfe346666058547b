/* SPDX-License-Identifier: MIT */
/*
 * A load on malloc: threads that allocate, resize and free blocks of many
 * sizes, each block filled with what only it holds, and checked before it goes;
 * meanwhile children are forked that do the same. Prints a sum over all
 * contents, which depends on nothing but the arguments.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NTHREADS  4
#define NBLOCKS   400
#define NROUNDS   60000
#define NCHILDREN 12

struct block {
    unsigned char *bytes;
    size_t len;
    unsigned char first;
};

struct worker {
    pthread_t thread;
    uint64_t state, sum;
    struct block blocks[NBLOCKS];
};

static struct worker workers[NTHREADS];

static uint64_t next_random(struct worker *w)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return w->state;
}

static void fill(struct block *b, size_t from)
{
    for (size_t i = from; i < b->len; i++)
        b->bytes[i] = (unsigned char)(b->first + i);
}

static void check(struct worker *w, const struct block *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->bytes[i] != (unsigned char)(b->first + i)) {
            printf("byte %zu of %zu is wrong\n", i, b->len);
            exit(1);
        }
    w->sum = w->sum * 31 + b->len + b->first;
}

/* Mostly small, some of many pages. */
static size_t random_len(struct worker *w)
{
    uint64_t r = next_random(w);

    if (r % 64 == 0)
        return 1 + (r >> 8) % 300000;
    return 1 + (r >> 8) % (r % 8 == 0 ? 9000 : 500);
}

static void allocate(struct worker *w, struct block *b)
{
    uint64_t how = next_random(w) % 8;

    b->len = random_len(w);
    b->first = (unsigned char)next_random(w);
    b->bytes = how == 0   ? memalign(4096, b->len)
               : how == 1 ? calloc(1, b->len)
                          : malloc(b->len);
    if (!b->bytes || (how == 1 && b->bytes[b->len - 1] != 0))
        exit(2);
    fill(b, 0);
}

static void resize(struct worker *w, struct block *b)
{
    size_t before = b->len;

    b->len = random_len(w);
    b->bytes = realloc(b->bytes, b->len);
    if (!b->bytes)
        exit(2);
    fill(b, before < b->len ? before : b->len);
}

static void step(struct worker *w)
{
    struct block *b = &w->blocks[next_random(w) % NBLOCKS];

    if (!b->bytes) {
        allocate(w, b);
        return;
    }
    check(w, b);
    if (next_random(w) % 3 == 0) {
        resize(w, b);
    } else {
        free(b->bytes);
        b->bytes = NULL;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (unsigned i = 0; i < NROUNDS; i++)
        step(w);
    for (size_t i = 0; i < NBLOCKS; i++)
        if (w->blocks[i].bytes) {
            check(w, &w->blocks[i]);
            free(w->blocks[i].bytes);
        }
    return NULL;
}

static void run_child(unsigned n)
{
    static struct worker w;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        w.state = n + 1;
        for (unsigned i = 0; i < NROUNDS / 20; i++)
            step(&w);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        printf("child %u: status %#x\n", n, (unsigned)status);
        exit(1);
    }
}

int main(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < NTHREADS; i++) {
        workers[i].state = 77 + i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            return 2;
    }
    for (unsigned i = 0; i < NCHILDREN; i++)
        run_child(i);
    for (unsigned i = 0; i < NTHREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        sum = sum * 31 + workers[i].sum;
    }
    printf("%d blocks a thread, sum %016llx\n", NROUNDS,
           (unsigned long long)sum);
    return 0;
}
