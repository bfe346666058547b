/* SPDX-License-Identifier: MIT */
/*
 * deferred: the faults that an engine has read and cannot answer yet.
 *
 * Two reasons to wait: a time (the kernel or a pager said "not now"), or a
 * handler thread that may run code that is not ours. Entries lie in a fixed
 * array, so putting a fault off needs no memory. When it is full the fault's
 * thread is woken instead: it faults again and comes back through the
 * descriptor, which costs more and loses nothing.
 *
 * The queue also keeps the count of threads inside foreign code, since letting
 * one in and putting a fault off for want of one must be one step.
 */
#ifndef UF_FAULT_DEFERRED_H
#define UF_FAULT_DEFERRED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "fault/fault.h"

#define DEFERRED_MAX 1024

struct deferred_entry {
    struct fault fault;
    uint64_t due_ns; /* CLOCK_MONOTONIC */
};

struct deferred_slots {
    struct deferred_entry timed[DEFERRED_MAX]; /* in no order */
    struct fault waiting[DEFERRED_MAX];        /* for a thread; a ring */
};

struct deferred_queue {
    struct lock lock;
    struct deferred_slots *slots; /* pages of their own, untouched when idle */
    atomic_uint ntimed;           /* changed under the lock */
    unsigned first_waiting;
    unsigned nwaiting;
    unsigned inside; /* threads inside foreign code */
};

/* 0 or -ENOMEM. */
int deferred_init(struct deferred_queue *q);
void deferred_destroy(struct deferred_queue *q);

/* Forked child: an empty queue, whatever was in it. */
void deferred_fork_child(struct deferred_queue *q);

/* Puts a fault off until due_ns. False if there is no room. */
bool deferred_put(struct deferred_queue *q, const struct fault *fault,
                  uint64_t due_ns);

/* Takes a fault that is due. False if none is. */
bool deferred_take_due(struct deferred_queue *q, uint64_t now_ns,
                       struct fault *ret);

/* Nanoseconds from now to the earliest due time (0 if past); -1: none. In the
 * common case, none, it takes neither the lock nor the time. */
int64_t deferred_wait_ns(struct deferred_queue *q);

enum deferred_enter {
    ENTER_YES,   /* counted as inside; deferred_leave must follow */
    ENTER_LATER, /* the fault waits for a thread to leave */
    ENTER_FULL   /* neither: no room */
};

/* May this thread run foreign code for `fault`? Only if another of the
 * `nthreads` stays outside. */
enum deferred_enter deferred_enter(struct deferred_queue *q, unsigned nthreads,
                                   const struct fault *fault);

/* True if of those that are inside (the caller is one) one more may be. */
bool deferred_has_room(struct deferred_queue *q, unsigned nthreads);

/* Foreign code is over. True: a fault was waiting, it is in *ret, and the
 * thread counts as inside for it already. */
bool deferred_leave(struct deferred_queue *q, struct fault *ret);

#endif
