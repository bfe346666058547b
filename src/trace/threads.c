/* SPDX-License-Identifier: MIT */
/* See threads.h. */
#include "trace/threads.h"

#include <stdbool.h>

#include "base/slab.h"

#define CHUNK_RECORDS THREAD_CHUNK_RECORDS

static struct slab_cache chunks =
    SLAB_CACHE("threads", sizeof(struct thread_chunk));

void thread_table_init(struct thread_table *table)
{
    lock_init(&table->lock, LOCK_RANK_THREADS);
}

void thread_table_destroy(struct thread_table *table)
{
    struct thread_chunk *chunk = atomic_load(&table->first);

    while (chunk) {
        struct thread_chunk *next = atomic_load(&chunk->next);

        if (table->nlent > 0)
            table->nlent--;
        else
            slab_free(&chunks, chunk);
        chunk = next;
    }
    atomic_store(&table->first, NULL);
    atomic_store(&table->count, 0);
    lock_destroy(&table->lock);
}

void thread_table_lend(struct thread_table *table, struct thread_chunk *lent,
                       size_t nchunks)
{
    for (size_t i = 0; i + 1 < nchunks; i++)
        atomic_store(&lent[i].next, &lent[i + 1]);
    table->nlent = nchunks;
    atomic_store(&table->first, nchunks > 0 ? lent : NULL);
}

void thread_table_forget(struct thread_table *table)
{
    thread_table_destroy(table);
    thread_table_init(table);
}

/* The record of tid among the first `count`, or NULL; *ret_link is where the
 * next record would go: in a chunk's free slot or behind its `next`. */
static struct thread_record *find(struct thread_table *table, pid_t tid,
                                  struct thread_chunk *_Atomic **ret_link)
{
    size_t left = atomic_load_explicit(&table->count, memory_order_acquire);
    struct thread_chunk *_Atomic *link = &table->first;

    while (left > 0) {
        struct thread_chunk *chunk = atomic_load(link);

        for (size_t i = 0; i < CHUNK_RECORDS && left > 0; i++, left--)
            if (atomic_load_explicit(&chunk->records[i].tid,
                                     memory_order_relaxed) == tid)
                return &chunk->records[i];
        if (left > 0)
            link = &chunk->next;
    }
    *ret_link = link;
    return NULL;
}

static struct thread_record *append_locked(struct thread_table *table,
                                           pid_t tid,
                                           struct thread_chunk *_Atomic *link)
{
    size_t count = atomic_load(&table->count);
    size_t slot = count % CHUNK_RECORDS;
    struct thread_chunk *chunk = atomic_load(link);

    if (slot == 0) {
        if (count > 0)
            link = &chunk->next;
        chunk = atomic_load(link); /* lent, or none */
        if (!chunk)
            chunk = slab_alloc(&chunks);
        if (!chunk)
            return NULL;
        atomic_store(link, chunk);
    }
    atomic_store(&chunk->records[slot].tid, tid);
    atomic_store_explicit(&table->count, count + 1, memory_order_release);
    return &chunk->records[slot];
}

struct thread_record *thread_table_get(struct thread_table *table, pid_t tid)
{
    struct thread_chunk *_Atomic *link;
    struct thread_record *record = NULL;

    if (tid != 0)
        record = find(table, tid, &link);
    if (!record && tid != 0) {
        lock_take(&table->lock);
        record = find(table, tid, &link);
        if (!record)
            record = append_locked(table, tid, link);
        lock_release(&table->lock);
    }
    if (!record) {
        atomic_store(&table->unknown_used, true);
        record = &table->unknown;
    }
    return record;
}

static void copy_record(const struct thread_record *from,
                        struct uf_thread_stats *to)
{
    *to = (struct uf_thread_stats){
        .tid = atomic_load(&from->tid),
        .faults_read = atomic_load(&from->faults_read),
        .faults_write = atomic_load(&from->faults_write),
        .pages_installed = atomic_load(&from->pages_installed),
        .fault_ns = atomic_load(&from->fault_ns),
    };
}

size_t thread_table_copy(struct thread_table *table,
                         struct uf_thread_stats *ret, size_t max)
{
    size_t count = atomic_load_explicit(&table->count, memory_order_acquire);
    struct thread_chunk *chunk = atomic_load(&table->first);
    size_t n = 0;

    for (; n < count; n++) {
        if (n < max)
            copy_record(&chunk->records[n % CHUNK_RECORDS], &ret[n]);
        if (n % CHUNK_RECORDS == CHUNK_RECORDS - 1)
            chunk = atomic_load(&chunk->next);
    }
    if (atomic_load(&table->unknown_used)) {
        if (n < max)
            copy_record(&table->unknown, &ret[n]);
        n++;
    }
    return n;
}
