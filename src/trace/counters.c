/* SPDX-License-Identifier: MIT */
/* See counters.h. */
#include "trace/counters.h"

#include "base/range.h"

void gauge_peak(_Atomic uint64_t *peak, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);

    while (value > seen &&
           !atomic_compare_exchange_weak_explicit(
               peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

void counters_snapshot(const struct counters *counters, struct uf_stats *stats)
{
    stats->version = UF_STATS_VERSION;
    stats->page_bytes = (uint32_t)page_size();
#define COUNTER_COPY(name, sentence) stats->name = COUNTER_GET(counters, name);
    UF_COUNTERS(COUNTER_COPY)
    UF_GAUGES(COUNTER_COPY)
#undef COUNTER_COPY
    stats->fault_p50_ns = histogram_percentile(&counters->fault_time, 50);
    stats->fault_p99_ns = histogram_percentile(&counters->fault_time, 99);
    stats->fault_max_ns = COUNTER_GET(&counters->fault_time, max);
}
