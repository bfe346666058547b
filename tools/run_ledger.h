/* SPDX-License-Identifier: MIT */
/*
 * run_ledger: what the processes of a session did, kept by the session server
 * and handed to the launcher for the report.
 *
 * Slots of the statistics memory are used again when their process is gone, so
 * what it counted is copied here then, and added to the totals.
 */
#ifndef UF_TOOLS_RUN_LEDGER_H
#define UF_TOOLS_RUN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "run/protocol.h"

#define LEDGER_THREADS (RUN_THREAD_CHUNKS * THREAD_CHUNK_RECORDS)

/* One process, from one exec or fork to the next exec or its end. */
struct run_process {
    pid_t pid;
    uint32_t forked; /* began as a forked child, else as a program */
    uint32_t alive;  /* still running when the report was made */
    uint32_t nthreads;
    uint32_t nmapped_threads;
    uint32_t stage; /* enum run_stage; not READY: it ran unserved */
    int32_t err;
    uint32_t mapped; /* enum run_mapping */
    int32_t mapped_err;
    uint64_t minflt;     /* 0: not known */
    uint64_t mmaps_left; /* anonymous ones, left to the kernel */
    char program[RUN_NAME_BYTES];
    struct uf_stats stats;        /* of the heap */
    struct uf_stats mapped_stats; /* of mappings */
    struct uf_thread_stats threads[LEDGER_THREADS];
    struct uf_thread_stats mapped_threads[LEDGER_THREADS];
};

/* All of them together. Gauges are sums, high waters the highest. */
struct run_totals {
    uint64_t nserved;
    uint64_t nunserved; /* wanted to be, but could not */
    uint64_t npassed;   /* break calls that were left to the kernel */
    uint64_t nmapped;   /* whose mappings were served */
    uint64_t mmaps_left;
    struct uf_stats stats;
    struct uf_stats mapped_stats;
};

struct ledger {
    struct run_process **processes;
    size_t count;
    size_t capacity;
    struct counters sum;
    struct counters mapped_sum;
    struct run_totals totals;
};

/* Adds a process; its `program`, `pid`, `forked`, `alive`, `stage`, `mapped`
 * and errors are given, the rest is taken from the slot, which may be NULL. */
void ledger_add(struct ledger *ledger, const struct run_process *given,
                const struct run_slot *slot);

/* The totals over all that were added. */
const struct run_totals *ledger_totals(struct ledger *ledger);

void ledger_free(struct ledger *ledger);

#endif
