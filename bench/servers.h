/* SPDX-License-Identifier: MIT */
/*
 * servers: who answers the first touches of a memory. A row of first touches
 * names two of them and does the same with both (touch.h).
 */
#ifndef BENCH_SERVERS_H
#define BENCH_SERVERS_H

#include <stdbool.h>
#include <stddef.h>

struct uf_space;

/* What is asked for. */
struct wish {
    size_t len_bytes;
    unsigned window; /* pages; 0: the default */
    int cpu;         /* that whoever answers is bound to; -1: none */
};

/* Fresh memory: readable, writable, no page of it touched. */
struct memory {
    char *base;
    size_t len_bytes;
    struct uf_space *space; /* ufault's own */
};

struct server {
    /* False, said why: cannot be had here. */
    bool (*map)(const struct wish *wish, struct memory *ret);
    void (*unmap)(struct memory *memory);
    /* What the program does before it touches, on the clock; or NULL. */
    void (*begin)(const struct memory *memory);
    /* Returns when what the touches set going in the background is done: not
     * the program's time, but CPU time of its touches; or NULL. */
    void (*settle)(const struct memory *memory);
};

/* kernel.c: anonymous memory. 4 KiB pages; transparent huge pages, aligned;
 * MADV_POPULATE_WRITE. */
extern const struct server kernel_4k, kernel_thp, kernel_populate;
/* textbook.c: the example in userfaultfd(2): poll, read one, copy one page. */
extern const struct server textbook;
/* The same, never asleep while faults come. */
extern const struct server textbook_spinning;
/* bare_signal.c: a handler of SIGBUS that does nothing but the copy. */
extern const struct server bare_signal;
/* sigsegv.c: GNU libsigsegv and mprotect(2). Where the library was not found
 * when this was built, sigsegv_none.c stands in, and no row is measured. */
extern const struct server sigsegv;
/* ours.c: a space on the thread engine, with one descriptor or with two, or on
 * the signal engine; uf_populate. */
extern const struct server ours_thread, ours_two, ours_signal, ours_populate;
/* ours_huge.c: the thread engine, the huge policy and a pool that is full when
 * the touches begin, and again when their CPU time is taken. */
extern const struct server ours_huge;

/* Anonymous memory of the kernel's, with MADV_NOHUGEPAGE; NULL: none. */
char *kernel_memory(size_t len_bytes);

#endif
