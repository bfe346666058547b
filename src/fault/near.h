/* SPDX-License-Identifier: MIT */
/*
 * near: a handler thread on the CPU of the thread that is about to touch.
 *
 *     CPU 0   toucher ─ fault ─┐        ┌─ goes on, its pages in this cache
 *             near handler     └─ COPY ─┘ (SCHED_IDLE)
 *     CPU 1   reader             looks, finds the fault taken, sleeps on
 *
 * A handler elsewhere costs more than the wake across CPUs: it fills the pages
 * into the wrong cache. But binding a handler to the toucher's CPU is not
 * enough. When it wakes the toucher that CPU is busy, with the handler itself,
 * and the scheduler moves the toucher to an idle one, away from both. A thread
 * of policy SCHED_IDLE does not count as busy: the toucher stays, and takes the
 * CPU at once.
 *
 * While it serves nobody else is to be woken, since an interrupt to an idle CPU
 * costs more than a fault. So the near handler is *on duty*: the reader leaves
 * the descriptor to it and looks by a clock, each millisecond.
 *
 *     near, when it wakes        on duty; serves, until the descriptor is empty
 *     reader: it has moved on    sleeps on
 *             holds the same,
 *             and a thread waits gives it an ordinary policy and every CPU
 *             has not come       (its CPU is busy) takes its place at once
 *             nothing to do      both wait at the descriptor again
 *
 * One that was rescued, or did not come, is no help on CPUs this busy: it rests
 * for a while, longer each time (near_rest), and the reader serves alone.
 *
 * Where the toucher is, /proc says: the reader asks at a few faults, the near
 * handler when the next fault was long in coming. Who raises the break is about to touch what it got,
 * and calls it (near_come).
 */
#ifndef UF_FAULT_NEAR_H
#define UF_FAULT_NEAR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct handler;
struct channel;
struct uf_engine;

struct near {
    struct handler *handler;
    int stop_fd;             /* eventfd of its own: nudges are not for it */
    _Atomic int at_cpu;      /* CPU it is bound to; -1: none yet */
    _Atomic uint64_t serial; /* odd: it is taking or serving faults */
    atomic_bool on_duty;
    atomic_bool retired;
    atomic_bool rescued; /* or did not come */
    /* The near handler's own: */
    int64_t pause_ns;  /* the next rest */
    unsigned served;   /* since the last rescue */
    uint64_t ended_ns; /* when it had served its last faults */
    unsigned skip;     /* near_follow */
    unsigned backoff;
    bool tired;
    /* The reader's own: */
    uint64_t seen; /* serial at its last look */
    unsigned idle; /* looks since that changed */
};

/* How long it may be at the same faults, or have them wait. */
#define NEAR_PATIENCE_NS 1000000

/* Every how many of the reader's faults it looks where the toucher is. */
#define NEAR_LOOK 8

/* Starts the near handler of each channel, where there is none yet. 0 or -errno:
 * the engine works without, too; -EPERM: this process could not rescue it
 * (CAP_SYS_NICE, or RLIMIT_NICE of 20). Requires: no lock held, one caller. */
int near_start(struct uf_engine *engine);

/* Stops and joins it; nothing if there is none. */
void near_stop(struct channel *channel);

/* From now on serving may mean to run foreign code, which may block with the
 * near handler on duty: it takes no more faults. */
void near_retire(struct uf_engine *engine);

/* In a forked child, where its thread is not. */
void near_forget(struct channel *channel, bool close_fd);

/* True if this engine's faults would be answered faster with one, as far as can
 * be told without trying. */
bool near_is_worth_it(const struct uf_engine *engine);

/* By the near handler itself: around taking and serving faults. near_begin: true
 * if that puts it on duty, and the reader is to be told. */
bool near_begin(struct near *near);
void near_end(struct near *near);

/* Rests, if it was rescued, or for good; until the engine stops at the latest. */
void near_rest(struct near *near);

/* By the reader: whether the descriptor is the near handler's now. If so, and
 * NEAR_PATIENCE_NS later, near_watch. */
bool near_is_on_duty(struct channel *channel);
void near_watch(struct channel *channel);

/* By the reader, which has served a fault of the thread: sends the near handler
 * to where the thread is. */
void near_look(struct channel *channel, pid_t tid);

/* By the near handler, the same of itself, if the time since its last fault
 * tells that the thread may be elsewhere. */
void near_follow(struct near *near, pid_t tid, uint64_t received_ns);

/* Has it come to the calling thread's CPU. Costs nothing when it is there. */
void near_come(struct channel *channel);

#endif
