/* SPDX-License-Identifier: MIT */
/*
 * trap: the signal handler that tells of accesses a guest was not allowed; see
 * ufault/trap.h.
 *
 * No lock that anybody waits for is taken in the handler. Which space:
 * trap_table.h. Which of "nothing mapped" and "not allowed": the VMA set, under
 * a shared map lock that is only tried for. That is sound although pthread
 * locks are not for signal handlers: looked up are only accesses that failed,
 * so the thread stands at a load or a store that was not allowed, and not
 * inside an operation on that lock; and no code of ours touches managed memory
 * under a lock (invariant 3), so it does not hold it.
 */
#ifndef UF_FAULT_TRAP_H
#define UF_FAULT_TRAP_H

#include <stdbool.h>

/* See uf_trap_install and uf_trap_remove. */
int trap_install(void);
int trap_remove(void);

/*
 * True if guarded_copy (host/context.h) may be used: the handler is in place
 * and stays there until trap_leave_guarded, which must follow.
 */
bool trap_enter_guarded(void);
void trap_leave_guarded(void);

/* Around fork; trap_table's included. */
void trap_fork_prepare(void);
void trap_fork_parent(void);
void trap_fork_child(void);

#endif
