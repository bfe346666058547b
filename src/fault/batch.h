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
    TO_WAIT, /* to be served, and not at once */
    FOLDED,  /* counted, and not told to the trace hook yet */
    DEALT_WITH
};

/* What one read, or one look at the queue, has brought. */
struct batch {
    struct fault faults[ENGINE_BATCH];
    unsigned char fate[ENGINE_BATCH];          /* enum fate */
    struct fault_result results[ENGINE_BATCH]; /* of folded faults */
    int count;
    bool deferred; /* they come from the queue */
};

/* Serves what needs no foreign code and no sleep. False if something is left.
 * The reader token may be held. */
bool batch_serve_at_once(struct handler *handler, struct batch *batch);

/* Serves every fault of the batch to its end, or to the queue. Requires: no
 * lock held, the reader token included. */
void batch_serve(struct handler *handler, struct batch *batch);

/* After batch_serve_at_once, without the token: releases what that could not. */
void batch_part(struct handler *handler);

/* Puts the rest of the batch into the queue, for any handler to take at once. */
void batch_hand_on(struct handler *handler, struct batch *batch);

#endif
