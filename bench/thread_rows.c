/* SPDX-License-Identifier: MIT */
/*
 * Two threads that touch. On disjoint halves the row is two threads' time per
 * page over one thread's, on the same engine ("thread/2": an engine with two
 * descriptors, and one thread on an engine with one): 0.625 is 1.6 times the
 * throughput. The kernel does not always scale so far, least of all on a
 * machine where others run; its own rows come first, and where they are worse
 * they are the reach. On the same pages the row is a ratio to the kernel's.
 */
#include "touch.h"

#define SCALED (1 / 1.6)

#define HALVES(server, the_order)                                              \
    .baseline = "1 thread", .unit = "page", .ours = touch_ours,                \
    .theirs = touch_theirs, .touch = &(const struct touch)                     \
    {                                                                          \
        .ours = {&(server), 2}, .theirs = {&(server), 1}, .order = (the_order) \
    }

/* A descriptor for each half, against one thread on one descriptor. */
#define IN_PARTS(the_order)                                                    \
    .engine = "thread/2", .baseline = "1 thread", .unit = "page",              \
    .ours = touch_ours, .theirs = touch_theirs, .touch = &(const struct touch) \
    {                                                                          \
        .ours = {&ours_two, 2}, .theirs = {&ours_thread, 1},                   \
        .order = (the_order)                                                   \
    }

#define SAME_PAGES(server)                                                     \
    .baseline = "kernel4k", .unit = "page", .ours = touch_ours,                \
    .theirs = touch_theirs, .touch = &(const struct touch)                     \
    {                                                                          \
        .ours = {&(server), 2}, .theirs = {&kernel_4k, 2}, .same_pages = true  \
    }

#define SEQUENTIAL "2 threads, disjoint halves, sequential"
/* A descriptor for each half. */
#define TWO    "thread, 2 descriptors"
#define RANDOM "2 threads, disjoint halves, random, 1 page"

const struct row thread_rows[] = {
    {.work = SEQUENTIAL,
     .engine = "kernel",
     .len_bytes = 256 * MIB,
     HALVES(kernel_4k, ORDER_SEQUENTIAL)},
    {.work = SEQUENTIAL,
     .engine = "thread",
     .reach = SCALED,
     .or_engine = "kernel",
     .len_bytes = 256 * MIB,
     HALVES(ours_thread, ORDER_SEQUENTIAL)},
    {.work = SEQUENTIAL,
     .reach = SCALED,
     .or_engine = "kernel",
     .len_bytes = 256 * MIB,
     IN_PARTS(ORDER_SEQUENTIAL)},
    {.work = RANDOM,
     .engine = "kernel",
     .len_bytes = 64 * MIB,
     HALVES(kernel_4k, ORDER_RANDOM)},
    {.work = RANDOM,
     .engine = "signal",
     .reach = SCALED,
     .or_engine = "kernel",
     .len_bytes = 64 * MIB,
     .window = 1,
     HALVES(ours_signal, ORDER_RANDOM)},
    {.work = RANDOM,
     .engine = "thread",
     .reach = SCALED,
     .or_engine = "kernel",
     .len_bytes = 32 * MIB,
     .window = 1,
     HALVES(ours_thread, ORDER_RANDOM)},
    {.work = RANDOM,
     .reach = SCALED,
     .or_engine = "kernel",
     .len_bytes = 32 * MIB,
     .window = 1,
     IN_PARTS(ORDER_RANDOM)},
    {.work = "2 threads, the same pages, sequential",
     .engine = "thread",
     .len_bytes = 128 * MIB,
     SAME_PAGES(ours_thread)},
    {.work = "2 threads, the same pages, sequential",
     .engine = "signal",
     .len_bytes = 128 * MIB,
     SAME_PAGES(ours_signal)},
};
const size_t thread_nrows = sizeof(thread_rows) / sizeof(thread_rows[0]);
