/* SPDX-License-Identifier: MIT */
/*
 * batch: the faults of one read, served front to back.
 *
 * What one fault's window has answered need not be answered again: later
 * faults of the batch inside it are folded, counted with the first and woken
 * with it. Foreign code (fills, hooks) runs only where deferred_enter lets it.
 */
#ifndef UF_FAULT_BATCH_H
#define UF_FAULT_BATCH_H

#include "fault/engine.h"

enum fate {
    TO_SERVE,
    FOLDED, /* counted, and not told to the trace hook yet */
    DEALT_WITH
};

/* What one read, or one look at the queue, has brought. */
struct batch {
    struct fault faults[ENGINE_BATCH];
    unsigned char fate[ENGINE_BATCH];          /* enum fate */
    struct fault_result results[ENGINE_BATCH]; /* of folded faults */
    int count;
    bool deferred; /* they come from the queue and are counted already */
};

/* Serves every fault of the batch to its end, or to the queue. Requires: no
 * lock held, the reader token included. */
void batch_serve(struct handler *handler, struct batch *batch);

#endif
