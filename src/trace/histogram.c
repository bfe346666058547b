/* SPDX-License-Identifier: MIT */
/* See histogram.h. */
#include "trace/histogram.h"

unsigned histogram_bucket(uint64_t value)
{
    unsigned log2;

    if (value < 4)
        return (unsigned)value;
    log2 = 63u - (unsigned)__builtin_clzll(value);
    return (log2 - 1) * 4 + (unsigned)((value >> (log2 - 2)) & 3);
}

uint64_t histogram_bucket_max(unsigned bucket)
{
    unsigned log2 = bucket / 4 + 1;
    uint64_t step;

    if (bucket < 4)
        return bucket;
    step = (uint64_t)1 << (log2 - 2);
    return ((uint64_t)1 << log2) + (bucket % 4) * step + (step - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

    atomic_fetch_add_explicit(&h->buckets[histogram_bucket(value)], 1,
                              memory_order_relaxed);
    while (value > max && !atomic_compare_exchange_weak_explicit(
                              &h->max, &max, value, memory_order_relaxed,
                              memory_order_relaxed))
        ;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        counts[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        total += counts[i];
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += counts[i];
        if (seen > 0 && (double)seen >= (double)total * percent / 100.0) {
            uint64_t top = histogram_bucket_max(i);

            return top < max ? top : max;
        }
    }
    return 0;
}
