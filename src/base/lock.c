/* SPDX-License-Identifier: MIT */
/* See lock.h. The held ranks of a thread are one bit each; two locks of equal
 * rank are never held at once, except by fork handlers. */
#include "base/lock.h"

#include "base/check.h"

#if CHECK_LEVEL >= 2
static _Thread_local unsigned held_ranks;

static void rank_enter(enum lock_rank rank)
{
    CHECK(held_ranks >> rank == 0);
    held_ranks |= 1u << rank;
}

static void rank_leave(enum lock_rank rank)
{
    CHECK(held_ranks & (1u << rank));
    held_ranks &= ~(1u << rank);
}

int lock_none_held(void)
{
    return held_ranks == 0;
}

int lock_none_held_after(enum lock_rank rank)
{
    return held_ranks >> rank <= 1;
}
#else
static void rank_enter(enum lock_rank rank)
{
    (void)rank;
}

static void rank_leave(enum lock_rank rank)
{
    (void)rank;
}

int lock_none_held(void)
{
    return 1;
}

int lock_none_held_after(enum lock_rank rank)
{
    (void)rank;
    return 1;
}
#endif

void lock_init(struct lock *lock, enum lock_rank rank)
{
    pthread_mutex_init(&lock->mutex, NULL);
    lock->rank = rank;
}

void lock_destroy(struct lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
    int err;

    rank_enter(lock->rank);
    err = pthread_mutex_lock(&lock->mutex);
    CHECK(err == 0);
    (void)err;
}

void lock_release(struct lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
    rank_leave(lock->rank);
}

void rwlock_init(struct rwlock *lock, enum lock_rank rank)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&lock->rwlock, &attr);
    pthread_rwlockattr_destroy(&attr);
    lock->rank = rank;
}

void rwlock_destroy(struct rwlock *lock)
{
    pthread_rwlock_destroy(&lock->rwlock);
}

void rwlock_take_read(struct rwlock *lock)
{
    int err;

    rank_enter(lock->rank);
    err = pthread_rwlock_rdlock(&lock->rwlock);
    CHECK(err == 0);
    (void)err;
}

bool rwlock_try_read(struct rwlock *lock)
{
    if (pthread_rwlock_tryrdlock(&lock->rwlock) != 0)
        return false;
    rank_enter(lock->rank);
    return true;
}

void rwlock_take_write(struct rwlock *lock)
{
    int err;

    rank_enter(lock->rank);
    err = pthread_rwlock_wrlock(&lock->rwlock);
    CHECK(err == 0);
    (void)err;
}

void rwlock_release(struct rwlock *lock)
{
    pthread_rwlock_unlock(&lock->rwlock);
    rank_leave(lock->rank);
}

void lock_fork_take(struct lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
}

void lock_fork_release(struct lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}

void rwlock_fork_take(struct rwlock *lock)
{
    pthread_rwlock_wrlock(&lock->rwlock);
}

void rwlock_fork_release(struct rwlock *lock)
{
    pthread_rwlock_unlock(&lock->rwlock);
}

void lock_fork_child(struct lock *lock)
{
    lock_init(lock, lock->rank);
}

void rwlock_fork_child(struct rwlock *lock)
{
    rwlock_init(lock, lock->rank);
}
