/* SPDX-License-Identifier: MIT */
/*
 * First touches in order, with the touching thread and whoever answers bound
 * to one CPU: what the fault path costs without waking another CPU.
 */
#include "touch.h"

#define BOUND(server, against)                                                 \
    .unit = "page", TOUCH(server, against, .bound = true)

const struct row pinned_rows[] = {
    {.work = "write first touch, 1 page per fault, same CPU",
     .engine = "thread",
     .baseline = "kernel4k",
     .reach = 3.3,
     .len_bytes = 256 * MIB,
     .window = 1,
     BOUND(ours_thread, kernel_4k)},
    {.work = "the same against a textbook handler",
     .engine = "thread",
     .baseline = "textbook",
     .len_bytes = 64 * MIB,
     .window = 1,
     BOUND(ours_thread, textbook)},
    {.work = "textbook handler, 1 page per fault, same CPU",
     .engine = "textbook",
     .baseline = "kernel4k",
     .len_bytes = 64 * MIB,
     .window = 1,
     BOUND(textbook, kernel_4k)},
    {.work = "write first touch, 64 pages per fault, same CPU",
     .engine = "thread",
     .baseline = "kernel4k",
     .reach = 1.0,
     .len_bytes = 256 * MIB,
     .window = 64,
     BOUND(ours_thread, kernel_4k)},
};
const size_t pinned_nrows = sizeof(pinned_rows) / sizeof(pinned_rows[0]);
