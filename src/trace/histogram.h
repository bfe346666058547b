/* SPDX-License-Identifier: MIT */
/*
 * histogram: how often each size of a value was seen, within 25 %.
 *
 *     value   0 1 2 3 | 4 5 6 7 | 8-9 10-11 12-13 14-15 | 16-19 ...
 *     bucket  0 1 2 3 | 4 5 6 7 | 8   9     10    11    | 12    ...
 *
 * Four buckets per power of two: one shift finds the bucket, an error of a
 * quarter is far below the noise of what is measured, and the whole range of
 * 64 bits takes 2 KiB. Adding is one atomic increment; no lock.
 */
#ifndef UF_TRACE_HISTOGRAM_H
#define UF_TRACE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 252

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
    _Atomic uint64_t max;
};

void histogram_add(struct histogram *h, uint64_t value);

/* The upper end of the bucket that holds the value of rank `percent` of 100
 * (0 < percent <= 100), not above the largest value seen; 0 if empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* Pure, for tests: the bucket of a value; the largest value of a bucket. */
unsigned histogram_bucket(uint64_t value);
uint64_t histogram_bucket_max(unsigned bucket);

#endif
