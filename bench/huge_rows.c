/* SPDX-License-Identifier: MIT */
/*
 * First touches with the huge policy, the pool being ready, against the
 * kernel's small pages and its huge ones. The CPU times include what fills the
 * pool again.
 */
#include "touch.h"

#define HUGE(against, ...)                                                     \
    .engine = "thread", .unit = "page", .len_bytes = 256 * MIB,                \
    TOUCH(ours_huge, against, __VA_ARGS__)

const struct row huge_rows[] = {
    {.work = "sequential write, huge policy, pool ready",
     .baseline = "kernel4k",
     .reach = 0.25,
     HUGE(kernel_4k, .order = ORDER_SEQUENTIAL)},
    {.work = "sequential write, huge policy, pool ready",
     .baseline = "kernelTHP",
     .reach = 0.80,
     HUGE(kernel_thp, .order = ORDER_SEQUENTIAL)},
    {.work = "sequential write, huge policy, all CPU time",
     .baseline = "kernelTHP",
     .judge = BY_CPU,
     .reach = 1.5,
     HUGE(kernel_thp, .order = ORDER_SEQUENTIAL)},
    {.work = "random write, huge policy, pool ready",
     .baseline = "kernelTHP",
     HUGE(kernel_thp, .order = ORDER_RANDOM)},
};
const size_t huge_nrows = sizeof(huge_rows) / sizeof(huge_rows[0]);
