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
 * For that the near handler may wait long for a CPU that others use. So it
 * never holds the reader token, and every fault wakes the ordinary reader too:
 * whichever comes first serves it. What the near handler has taken it may still
 * be kept from serving; so it says so to the reader before it takes anything
 * (near_begin), and a reader that finds it at the same faults a millisecond
 * later gives it an ordinary policy and every CPU (near_rescue). Then the CPUs
 * are busy, and it is no help: it rests for a while, longer each time
 * (near_rest), and the reader serves alone.
 *
 * Where the toucher is is known at the break: who raises it is about to touch
 * what it got.
 */
#ifndef UF_FAULT_NEAR_H
#define UF_FAULT_NEAR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct handler;
struct uf_engine;

struct near {
    struct handler *handler;
    int stop_fd;             /* eventfd of its own: nudges are not for it */
    _Atomic int at_cpu;      /* CPU it is bound to; -1: none yet */
    _Atomic uint64_t serial; /* odd: it is taking or serving faults */
    atomic_bool rescued;
    /* The near handler's own: */
    int64_t pause_ns; /* the next rest */
    unsigned served;  /* since the last rescue */
    bool tired;
};

/* How long it may be at the same faults before it is rescued. */
#define NEAR_PATIENCE_NS 1000000

/* Starts the near handler. 0 or -errno: the engine works without, too; -EPERM:
 * this process could not rescue it (CAP_SYS_NICE, or RLIMIT_NICE of 20).
 * Requires: no lock held, one caller. */
int near_start(struct uf_engine *engine);

/* Stops and joins it; nothing if there is none. */
void near_stop(struct uf_engine *engine);

/* By the near handler itself: around taking and serving faults. */
void near_begin(struct near *near);
void near_end(struct near *near);

/* Rests, if it was rescued; until the engine stops at the latest. */
void near_rest(struct near *near);

/* By the reader: what the near handler is at now; 0: nothing, or there is none.
 * And if it is at the same still: */
uint64_t near_held(struct uf_engine *engine);
void near_rescue(struct uf_engine *engine, uint64_t held);

/* Has it come to the calling thread's CPU. Costs nothing when it is there. */
void near_come(struct uf_engine *engine);

#endif
