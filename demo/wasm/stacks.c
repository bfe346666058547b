/* SPDX-License-Identifier: MIT */
/*
 * stacks.c: threads for guests, with a stack in a space.
 *
 *     |closed| stack 0 |closed| stack 1 | ...
 *
 * A guest's own stack is native: one that calls itself for ever runs into what
 * is closed below, and the hook of the space is told, on the thread's alternate
 * stack, which lies outside.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "runtime.h"

#define STACK_BYTES ((size_t)1 << 20)
#define GUARD_BYTES ((size_t)256 << 10)
#define ALTERNATE   ((size_t)64 << 10)

struct start {
    void *(*run)(void *);
    void *data;
};

int stacks_create(struct stacks *stacks, size_t n, struct uf_engine *engine)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = n * (GUARD_BYTES + STACK_BYTES),
                                 .engine = engine};
    int err = uf_space_create(&opts, &stacks->space);

    if (err != 0)
        return err;
    err = trap_watch(stacks->space);
    for (size_t i = 0; i < n && err == 0; i++) {
        /* There before the thread is: the kernel writes to it, too. */
        intptr_t at = uf_mmap(
            stacks->space,
            uf_space_base(stacks->space) + GUARD_BYTES +
                i * (GUARD_BYTES + STACK_BYTES),
            STACK_BYTES, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);

        err = at < 0 ? (int)at : 0;
    }
    if (err != 0)
        uf_space_destroy(stacks->space);
    return err;
}

static void *begin(void *data)
{
    struct start start = *(struct start *)data;
    stack_t alternate = {.ss_size = ALTERNATE}, before;
    void *result;

    free(data);
    alternate.ss_sp = malloc(ALTERNATE);
    if (!alternate.ss_sp || sigaltstack(&alternate, &before) != 0)
        abort();
    result = start.run(start.data);
    sigaltstack(&before, NULL);
    free(alternate.ss_sp);
    return result;
}

int stacks_start(struct stacks *stacks, size_t i, pthread_t *ret_thread,
                 void *(*run)(void *), void *data)
{
    uintptr_t at = uf_space_base(stacks->space) + GUARD_BYTES +
                   i * (GUARD_BYTES + STACK_BYTES);
    struct start *start = malloc(sizeof(*start));
    pthread_attr_t attr;
    int err;

    if (!start)
        return -ENOMEM;
    *start = (struct start){run, data};
    pthread_attr_init(&attr);
    err = pthread_attr_setstack(&attr, (void *)at, STACK_BYTES);
    if (err == 0)
        err = pthread_create(ret_thread, &attr, begin, start);
    pthread_attr_destroy(&attr);
    if (err != 0)
        free(start);
    return -err;
}

void stacks_destroy(struct stacks *stacks)
{
    uf_space_destroy(stacks->space);
}
