/* SPDX-License-Identifier: MIT */
/*
 * First touches against what else pages in user space, and those against the
 * kernel, so that the three can be compared. Nothing is bound to a CPU.
 */
#include "touch.h"

#define RANDOM(server, against)                                                \
    .unit = "page", .len_bytes = 32 * MIB, .window = 1,                        \
    TOUCH(server, against, .order = ORDER_RANDOM)

#define SEQUENTIAL(server, against)                                            \
    .unit = "page", .len_bytes = 32 * MIB,                                     \
    TOUCH(server, against, .order = ORDER_SEQUENTIAL)

const struct row peer_rows[] = {
    {.work = "random write, 1 page per fault",
     .engine = "thread",
     .baseline = "textbook",
     .reach = 0.25,
     RANDOM(ours_thread, textbook)},
    {.work = "random write, 1 page per fault",
     .engine = "thread",
     .baseline = "sigsegv",
     .reach = 1.0,
     RANDOM(ours_thread, sigsegv)},
    {.work = "random write, 1 page per fault",
     .engine = "signal",
     .baseline = "sigsegv",
     .reach = 1.0,
     RANDOM(ours_signal, sigsegv)},
    {.work = "random write, 1 page per fault",
     .engine = "textbook",
     .baseline = "kernel4k",
     RANDOM(textbook, kernel_4k)},
    {.work = "random write, 1 page per fault",
     .engine = "spinning",
     .baseline = "kernel4k",
     RANDOM(textbook_spinning, kernel_4k)},
    {.work = "random write, 1 page per fault",
     .engine = "bare signal",
     .baseline = "kernel4k",
     RANDOM(bare_signal, kernel_4k)},
    {.work = "random write, 1 page per fault",
     .engine = "sigsegv",
     .baseline = "kernel4k",
     RANDOM(sigsegv, kernel_4k)},
    {.work = "sequential write",
     .engine = "thread",
     .baseline = "textbook",
     SEQUENTIAL(ours_thread, textbook)},
    {.work = "sequential write",
     .engine = "thread",
     .baseline = "sigsegv",
     SEQUENTIAL(ours_thread, sigsegv)},
};
const size_t peer_nrows = sizeof(peer_rows) / sizeof(peer_rows[0]);
