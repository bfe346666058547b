/* SPDX-License-Identifier: MIT */
/*
 * counters: the live side of ufault/stats.h.
 *
 * Relaxed atomics, no lock. The block has no pointers in it and may lie in
 * memory shared with another process, which can then read what a killed
 * program did (`ufault run`).
 */
#ifndef UF_TRACE_COUNTERS_H
#define UF_TRACE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "trace/histogram.h"
#include "ufault/stats.h"

struct counters {
#define COUNTER_FIELD(name, sentence) _Atomic uint64_t name;
    UF_COUNTERS(COUNTER_FIELD)
    UF_GAUGES(COUNTER_FIELD)
#undef COUNTER_FIELD
    struct histogram fault_time;
};

#define COUNT_ADD(c, name, n)                                                  \
    atomic_fetch_add_explicit(&(c)->name, (uint64_t)(n), memory_order_relaxed)
#define COUNT(c, name) COUNT_ADD(c, name, 1)
#define GAUGE_SUB(c, name, n)                                                  \
    atomic_fetch_sub_explicit(&(c)->name, (uint64_t)(n), memory_order_relaxed)
#define GAUGE_SET(c, name, value)                                              \
    atomic_store_explicit(&(c)->name, (uint64_t)(value), memory_order_relaxed)
#define COUNTER_GET(c, name)                                                   \
    atomic_load_explicit(&(c)->name, memory_order_relaxed)

/* Raises *peak to value if it is below. */
void gauge_peak(_Atomic uint64_t *peak, uint64_t value);

/* Fills all but `size` of *stats. */
void counters_snapshot(const struct counters *counters, struct uf_stats *stats);

#endif
