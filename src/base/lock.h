/* SPDX-License-Identifier: MIT */
/*
 * lock: mutexes and read-write locks that know their place in the order.
 *
 * A thread may take a lock only if its rank is higher than that of every lock
 * it holds; checking builds (CHECK_LEVEL 2) keep the set of held ranks per
 * thread and stop at the first violation, so an order that could deadlock is
 * found by any test that walks it, not by the rare run in which it does.
 *
 * The order, from first taken to last (invariant 10):
 *
 *     starting   which threads an engine has; not held while one is started,
 *                since pthread_create calls the program's malloc
 *     reader     the token of the handler thread that reads
 *     registry   the list of engines, taken by fork handlers
 *     trap       which spaces and hooks the signal handler knows
 *     engine     which spaces an engine serves, its threads
 *     queue      an engine's deferred faults
 *     map        a space's VMAs, break and limits; shared by faults
 *     pager      which pagers have caches
 *     store      a cache: what is dirty
 *     background an engine's background work: what is queued
 *     threads    the per-thread statistics of a space
 *     slab       metadata allocation
 */
#ifndef UF_BASE_LOCK_H
#define UF_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

enum lock_rank {
    LOCK_RANK_POOL,
    LOCK_RANK_STARTING,
    LOCK_RANK_READER,
    LOCK_RANK_REGISTRY,
    LOCK_RANK_TRAP,
    LOCK_RANK_ENGINE,
    LOCK_RANK_QUEUE,
    LOCK_RANK_MAP,
    LOCK_RANK_PAGER,
    LOCK_RANK_STORE,
    LOCK_RANK_BACKGROUND,
    LOCK_RANK_THREADS,
    LOCK_RANK_SLAB,
    LOCK_RANKS
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

/* Writers are preferred: a stream of faults must not starve an munmap. */
struct rwlock {
    pthread_rwlock_t rwlock;
    enum lock_rank rank;
};

#define LOCK_INIT(the_rank)                                                    \
    {                                                                          \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (the_rank)                 \
    }

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_destroy(struct lock *lock);
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);

void rwlock_init(struct rwlock *lock, enum lock_rank rank);
void rwlock_destroy(struct rwlock *lock);
void rwlock_take_read(struct rwlock *lock);
/* As rwlock_take_read if that needs no waiting; else false. For the signal
 * handler, which must never wait. */
bool rwlock_try_read(struct rwlock *lock);
void rwlock_take_write(struct rwlock *lock);
void rwlock_release(struct rwlock *lock);

/* Around fork: takes and releases without regard to rank, since a fork handler
 * holds every lock of a rank at once. */
void lock_fork_take(struct lock *lock);
void lock_fork_release(struct lock *lock);
void rwlock_fork_take(struct rwlock *lock);
void rwlock_fork_release(struct rwlock *lock);

/* Re-makes a lock in a forked child, where its holder may not exist. */
void lock_fork_child(struct lock *lock);
void rwlock_fork_child(struct rwlock *lock);

/* True if this thread holds no lock, or none after `rank`; always true below
 * CHECK_LEVEL 2. */
int lock_none_held(void);
int lock_none_held_after(enum lock_rank rank);

#endif
