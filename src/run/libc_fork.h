/* SPDX-License-Identifier: MIT */
/*
 * libc_fork: our part of fork(2), at the one right moment.
 *
 *     fork ─► atfork handlers ─► libc locks malloc ─► OURS ─► _Fork ─► ...
 *
 * While we hold our locks for a fork no fault is answered and no memory mapped.
 * A thread that is inside malloc meanwhile, with a lock of malloc's, would wait
 * for us, and fork for it: so malloc must be locked first. Handlers of
 * pthread_atfork come too early for that. But fork calls _Fork after, and that
 * call is led here.
 */
#ifndef UF_RUN_LIBC_FORK_H
#define UF_RUN_LIBC_FORK_H

#include <stdbool.h>

/* Calls these around the making of the child, with all signals blocked. False:
 * libc's fork is not recognised. Requires: the calling thread is the only one.
 */
bool libc_fork_lead(void (*prepare)(void), void (*parent)(void),
                    void (*child)(void));

#endif
