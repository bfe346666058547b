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
 * whichever comes first serves it.
 *
 * Where the toucher is is known at the break: who raises it is about to touch
 * what it got.
 */
#ifndef UF_FAULT_NEAR_H
#define UF_FAULT_NEAR_H

#include <stdatomic.h>

struct handler;
struct uf_engine;

struct near {
    struct handler *handler;
    int stop_fd;        /* eventfd of its own: nudges are not for it */
    _Atomic int at_cpu; /* CPU it is bound to; -1: none yet */
};

/* Starts the near handler. 0 or -errno: the engine works without, too.
 * Requires: no lock held, one caller. */
int near_start(struct uf_engine *engine);

/* Stops and joins it; nothing if there is none. */
void near_stop(struct uf_engine *engine);

/* Has it come to the calling thread's CPU. Costs nothing when it is there. */
void near_come(struct uf_engine *engine);

#endif
