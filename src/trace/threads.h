/* SPDX-License-Identifier: MIT */
/*
 * threads: who touched. One record per thread id, in order of first touch.
 *
 * Records lie in chunks that are only ever appended, so looking one up takes
 * no lock; only a new thread's first fault takes it. If no memory can be had
 * for a new chunk, further threads share the last record of tid 0 ("not
 * known"): statistics never cost a fault its answer.
 */
#ifndef UF_TRACE_THREADS_H
#define UF_TRACE_THREADS_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/lock.h"
#include "ufault/stats.h"

struct thread_record {
    _Atomic pid_t tid;
    _Atomic uint64_t faults_read;
    _Atomic uint64_t faults_write;
    _Atomic uint64_t pages_installed;
    _Atomic uint64_t fault_ns;
};

#define THREAD_CHUNK_RECORDS 16

/* Records are taken front to back; one with tid 0 is not taken. */
struct thread_chunk {
    struct thread_chunk *_Atomic next;
    struct thread_record records[THREAD_CHUNK_RECORDS];
};

struct thread_table {
    struct lock lock; /* taken to append */
    struct thread_chunk *_Atomic first;
    atomic_size_t count;
    size_t nlent;                 /* of the first chunks, not ours to free */
    struct thread_record unknown; /* tid 0, and those there is no room for */
    atomic_bool unknown_used;
};

void thread_table_init(struct thread_table *table);
void thread_table_destroy(struct thread_table *table);

/* The first records will lie in these chunks, zeroed memory of the caller's
 * that outlives the table: another process may read them there. Requires: no
 * record was made yet. */
void thread_table_lend(struct thread_table *table, struct thread_chunk *chunks,
                       size_t nchunks);

/* Empties the table; lent chunks are not touched. Requires: nobody else about;
 * the lock is a new one or free. */
void thread_table_forget(struct thread_table *table);

/* The record of `tid`, made if it is new. Never NULL. */
struct thread_record *thread_table_get(struct thread_table *table, pid_t tid);

/* Up to max records into `ret`; returns how many there are. */
size_t thread_table_copy(struct thread_table *table,
                         struct uf_thread_stats *ret, size_t max);

#endif
