/* SPDX-License-Identifier: MIT */
/*
 * alloc_load: a load on an allocator. Threads allocate, resize and free blocks
 * of many sizes, each filled with what only it holds, and checked before it
 * goes; some blocks are handed to other threads, which free them.
 */
#ifndef TESTS_LIB_ALLOC_LOAD_H
#define TESTS_LIB_ALLOC_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#define ALLOC_LOAD_THREADS 4

struct alloc_ops {
    /* In each thread, first and last; what `begin` returns is `own` below. */
    void *(*begin)(void);
    void (*end)(void *own);
    void *(*alloc)(void *own, size_t len);
    void *(*resize)(void *own, void *p, size_t len);
    void (*free)(void *own, void *p);
    /* May memory lie here? */
    bool (*is_ours)(const void *p);
};

/* Does `nops` operations in each thread and frees all. NULL, or what went
 * wrong first. */
const char *alloc_load_run(const struct alloc_ops *ops, unsigned nops);

#endif
