/* SPDX-License-Identifier: MIT */
/* See alloc_load.h. */
#include "lib/alloc_load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define NBLOCKS   256
#define NEXCHANGE 64

/* At the head of every block. */
struct head {
    size_t len;
    unsigned char first;
};

struct worker {
    pthread_t thread;
    const struct alloc_ops *ops;
    void *own;
    unsigned nops;
    uint64_t state;
    struct head *blocks[NBLOCKS];
};

static struct worker workers[ALLOC_LOAD_THREADS];
static struct head *_Atomic exchange[NEXCHANGE];
static const char *_Atomic failure;

static void fail_with(const char *what)
{
    const char *none = NULL;

    atomic_compare_exchange_strong(&failure, &none, what);
}

static size_t next_random(struct worker *w)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return (size_t)(w->state >> 16);
}

/* Mostly small; one in 128 of many pages. */
static size_t random_len(struct worker *w)
{
    size_t r = next_random(w) % 128;
    size_t most = r == 0 ? 200000 : r < 16 ? 4000 : 300;

    return sizeof(struct head) + next_random(w) % most;
}

static unsigned char *bytes_of(struct head *b)
{
    return (unsigned char *)(b + 1);
}

/* Every byte of small blocks, some of each page of large ones. */
static size_t stride_of(size_t len)
{
    return len < 4096 ? 1 : 509;
}

static void fill(struct worker *w, struct head *b, size_t len)
{
    b->len = len;
    b->first = (unsigned char)next_random(w);
    for (size_t i = 0; i < len - sizeof(*b); i += stride_of(len))
        bytes_of(b)[i] = (unsigned char)(b->first + i);
}

static void check(struct head *b, size_t len)
{
    for (size_t i = 0; i < len - sizeof(*b); i += stride_of(b->len))
        if (bytes_of(b)[i] != (unsigned char)(b->first + i))
            fail_with("a block's contents changed");
}

static struct head *allocate(struct worker *w)
{
    size_t len = random_len(w);
    struct head *b = w->ops->alloc(w->own, len);

    if (!b || !w->ops->is_ours(b)) {
        fail_with(b ? "a block lies elsewhere" : "no memory");
        return NULL;
    }
    fill(w, b, len);
    return b;
}

static void release(struct worker *w, struct head *b)
{
    if (b) {
        check(b, b->len);
        w->ops->free(w->own, b);
    }
}

static struct head *resize(struct worker *w, struct head *b)
{
    size_t len = random_len(w), before = b->len;

    b = w->ops->resize(w->own, b, len);
    if (!b || !w->ops->is_ours(b)) {
        fail_with(b ? "a block lies elsewhere" : "no memory to resize");
        return NULL;
    }
    check(b, before < len ? before : len);
    fill(w, b, len);
    return b;
}

static void step(struct worker *w)
{
    struct head **slot = &w->blocks[next_random(w) % NBLOCKS];
    size_t how = next_random(w) % 8;

    if (!*slot) {
        *slot = allocate(w);
    } else if (how < 2) {
        *slot = resize(w, *slot);
    } else if (how < 4) { /* for whoever comes, and what lay there goes */
        release(w,
                atomic_exchange(&exchange[next_random(w) % NEXCHANGE], *slot));
        *slot = NULL;
    } else {
        release(w, *slot);
        *slot = NULL;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;

    w->own = w->ops->begin();
    for (unsigned i = 0; i < w->nops && !failure; i++)
        step(w);
    for (size_t i = 0; i < NBLOCKS; i++) {
        release(w, w->blocks[i]);
        w->blocks[i] = NULL;
    }
    for (size_t i = 0; i < NEXCHANGE; i++)
        release(w, atomic_exchange(&exchange[i], NULL));
    w->ops->end(w->own);
    return NULL;
}

const char *alloc_load_run(const struct alloc_ops *ops, unsigned nops)
{
    unsigned started = 0;

    atomic_store(&failure, NULL);
    for (unsigned i = 0; i < ALLOC_LOAD_THREADS; i++) {
        struct worker *w = &workers[i];

        w->ops = ops;
        w->nops = nops;
        w->state = 88172645463325252u + i;
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            fail_with("no thread");
            break;
        }
        started++;
    }
    while (started > 0)
        pthread_join(workers[--started].thread, NULL);
    return failure;
}
