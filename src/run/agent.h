/* SPDX-License-Identifier: MIT */
/*
 * agent: the thread in a served program that speaks with the session.
 *
 * It has a descriptor table of its own (unshare(2), CLONE_FILES) and so have
 * the engine's threads, which it starts: the program's numbers are as they
 * were, closefrom(3) in the program does not reach ours, forked children do
 * not inherit them, and we keep no pipe of the program's open. The table dies
 * with the threads, at exit and at exec: that is how the session learns of it.
 *
 * It never calls malloc once the heap is served: malloc would call brk, and
 * the agent would wait for itself.
 */
#ifndef UF_RUN_AGENT_H
#define UF_RUN_AGENT_H

#include <stdbool.h>

/*
 * Starts the thread and waits until the heap is served or is known not to be.
 * `session` is the socket's name; it and `program` are not kept. True: served.
 * Requires: wiped_init; unserved.
 */
bool agent_start(const char *session, const char *program, bool forked);

/* True in the agent thread. */
bool agent_is_self(void);

#endif
