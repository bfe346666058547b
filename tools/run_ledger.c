/* SPDX-License-Identifier: MIT */
/* See run_ledger.h. */
#include "run_ledger.h"

#include <stdlib.h>

static uint32_t copy_threads(const struct thread_chunk *chunks,
                             struct uf_thread_stats *ret)
{
    uint32_t n = 0;

    for (size_t c = 0; c < RUN_THREAD_CHUNKS; c++) {
        for (size_t i = 0; i < THREAD_CHUNK_RECORDS; i++) {
            const struct thread_record *r = &chunks[c].records[i];
            pid_t tid = atomic_load(&r->tid);

            if (tid != 0)
                ret[n++] = (struct uf_thread_stats){
                    .tid = tid,
                    .faults_read = atomic_load(&r->faults_read),
                    .faults_write = atomic_load(&r->faults_write),
                    .pages_installed = atomic_load(&r->pages_installed),
                    .fault_ns = atomic_load(&r->fault_ns),
                };
        }
    }
    return n;
}

static void raise_to(_Atomic uint64_t *high, uint64_t value)
{
    gauge_peak(high, value);
}

static void add_counters(struct counters *sum, const struct counters *c)
{
#define ADD(name, sentence) COUNT_ADD(sum, name, COUNTER_GET(c, name));
    UF_COUNTERS(ADD)
#undef ADD
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        COUNT_ADD(&sum->fault_time, buckets[i],
                  COUNTER_GET(&c->fault_time, buckets[i]));
    raise_to(&sum->fault_time.max, COUNTER_GET(&c->fault_time, max));
    COUNT_ADD(sum, pending, COUNTER_GET(c, pending));
    COUNT_ADD(sum, resident, COUNTER_GET(c, resident));
    raise_to(&sum->resident_peak, COUNTER_GET(c, resident_peak));
    raise_to(&sum->total_vm_peak, COUNTER_GET(c, total_vm_peak));
}

static bool make_room(struct ledger *ledger)
{
    size_t capacity = ledger->capacity ? 2 * ledger->capacity : 64;
    struct run_process **bigger;

    if (ledger->count < ledger->capacity)
        return true;
    bigger = realloc(ledger->processes, capacity * sizeof(*bigger));
    if (!bigger)
        return false;
    ledger->processes = bigger;
    ledger->capacity = capacity;
    return true;
}

/* Without memory a process is in the totals alone. */
static void keep(struct ledger *ledger, const struct run_process *process)
{
    struct run_process *copy;

    if (!make_room(ledger))
        return;
    copy = malloc(sizeof(*copy));
    if (!copy)
        return;
    *copy = *process;
    ledger->processes[ledger->count++] = copy;
}

/* What a forked child inherits and is not served counts nowhere. */
static void add_mapped(struct ledger *ledger, struct run_process *process,
                       const struct run_slot *slot)
{
    counters_snapshot(&slot->mapped, &process->mapped_stats);
    process->mmaps_left = atomic_load(&slot->mmaps_left);
    process->nmapped_threads =
        copy_threads(slot->mapped_threads, process->mapped_threads);
    add_counters(&ledger->mapped_sum, &slot->mapped);
    ledger->totals.nmapped += process->mapped == RUN_MAPPING_SERVED;
    ledger->totals.mmaps_left += process->mmaps_left;
}

void ledger_add(struct ledger *ledger, const struct run_process *given,
                const struct run_slot *slot)
{
    struct run_process process = *given;

    process.stats = (struct uf_stats){.size = sizeof(process.stats)};
    process.mapped_stats = process.stats;
    process.nthreads = process.nmapped_threads = 0;
    if (process.stage != RUN_STAGE_READY) {
        ledger->totals.nunserved++;
    } else if (slot) {
        ledger->totals.nserved++;
        counters_snapshot(&slot->counters, &process.stats);
        process.minflt = atomic_load(&slot->minflt_at_exit);
        process.nthreads = copy_threads(slot->threads, process.threads);
        add_counters(&ledger->sum, &slot->counters);
        add_mapped(ledger, &process, slot);
    }
    keep(ledger, &process);
}

const struct run_totals *ledger_totals(struct ledger *ledger)
{
    ledger->totals.stats.size = sizeof(ledger->totals.stats);
    counters_snapshot(&ledger->sum, &ledger->totals.stats);
    ledger->totals.mapped_stats.size = sizeof(ledger->totals.mapped_stats);
    counters_snapshot(&ledger->mapped_sum, &ledger->totals.mapped_stats);
    return &ledger->totals;
}

void ledger_free(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->count; i++)
        free(ledger->processes[i]);
    free(ledger->processes);
    *ledger = (struct ledger){0};
}
