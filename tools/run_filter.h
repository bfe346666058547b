/* SPDX-License-Identifier: MIT */
/*
 * run_filter: every brk of the calling thread and of all that come of it, by
 * fork or by exec, is asked of whoever holds the listener.
 *
 * All else is allowed. There is one filter for the whole tree: the kernel
 * refuses a second listener while the first lives, so programs cannot have
 * filters of their own each, and the one filter is loaded before the first.
 */
#ifndef UF_TOOLS_RUN_FILTER_H
#define UF_TOOLS_RUN_FILTER_H

#include <stdbool.h>

/*
 * Loads the filter. `mappings`: not brk alone, but also what changes memory in
 * the region for mappings, unless it carries the cookie of our own calls. The
 * listener, close-on-exec, or -errno: -EBUSY if there is a listener already,
 * -EINVAL or -ENOSYS if the kernel has no notifications.
 */
int run_filter_load(bool mappings);

/* Asks for the waiter to be woken on the caller's CPU, where the kernel can. */
void run_filter_wake_here(int listener);

#endif
