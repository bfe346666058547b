/* SPDX-License-Identifier: MIT */
/*
 * uffd_signal: a userfaultfd whose faults arrive as SIGBUS on the thread that
 * touched (UFFD_FEATURE_SIGBUS): the kernel queues no message and nobody sleeps
 * in it. Most such faults are answered in the signal handler. Those that may
 * not be (a pager that blocks) are handed to a thread through this:
 *
 *     signal handler                     handler thread
 *     uffd_signal_hand_over ── pipe ──►  ops->read, as if from the kernel
 *        sleeps            ◄──────────   ops->wake of its range
 *
 * So a handler thread cannot tell the difference, and everything that ends a
 * fault by waking its range ends these, too.
 */
#ifndef UF_HOST_UFFD_SIGNAL_H
#define UF_HOST_UFFD_SIGNAL_H

#include "host/uffd.h"

/* Makes a real descriptor with UFFD_FEATURE_SIGBUS into one of these. 0 or
 * -errno; *u is as it was then. */
int uffd_signal_init(struct uffd *u);

/* True if it is one. */
bool uffd_signal_is(const struct uffd *u);

/*
 * Hands the calling thread's fault over and returns when its range has been
 * woken. For a signal handler: the interrupted code holds no lock of ours.
 */
void uffd_signal_hand_over(struct uffd *u, const struct uffd_fault *fault);

#endif
