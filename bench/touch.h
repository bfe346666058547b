/* SPDX-License-Identifier: MIT */
/*
 * touch: rows of first touches. A side is who answers and how many threads
 * touch; both sides get fresh memory in every turn and do the same with it.
 * Means are of touches that nobody times; the percentiles come from a second
 * pass over fresh memory, in which each of the first touches is.
 */
#ifndef BENCH_TOUCH_H
#define BENCH_TOUCH_H

#include "harness.h"
#include "patterns.h"
#include "servers.h"

enum access {
    ACCESS_WRITE,
    ACCESS_READ,
    ACCESS_READ_WRITE, /* a read, then a write, page by page */
    ACCESS_CALL        /* pread(2) into it, a page a call */
};

struct side {
    const struct server *server;
    unsigned nthreads; /* 0: the thread that calls, and no other */
};

struct touch {
    struct side ours, theirs;
    enum order order;
    enum access access;
    bool same_pages; /* all threads touch all pages, not each its part */
    bool bound;      /* the touching thread and who answers to one CPU */
};

/* A row's .ours and .theirs. */
bool touch_ours(const struct row *row, struct sample *ret);
bool touch_theirs(const struct row *row, struct sample *ret);

/* The members of a row that say so; what follows are members of its touch. */
#define TOUCH(server, against, ...)                                            \
    .ours = touch_ours, .theirs = touch_theirs, .touch = &(const struct touch) \
    {                                                                          \
        .ours = {&(server), 0}, .theirs = {&(against), 0}, __VA_ARGS__         \
    }

#define MIB ((size_t)1 << 20)

#endif
