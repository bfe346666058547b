/* SPDX-License-Identifier: MIT */
/*
 * heap: this process's own heap, served.
 *
 *     unserved ── heap_adopt ──► served ── fork ──► unserved (child)
 *
 * Unserved, a break goes to the kernel. Adopting takes the heap over as it is:
 * what is resident stays, what is not is registered, and from then on the break
 * is moved here and the kernel is only told of it.
 *
 * Whether the heap is served is a wiped word (wiped.h). So no child ever moves
 * its parent's break, and none believes in threads that it does not have.
 *
 * One lock, taken with all signals blocked: a break is moved and told to the
 * kernel in one step.
 */
#ifndef UF_RUN_HEAP_H
#define UF_RUN_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "run/protocol.h"

/*
 * Takes the heap over with an engine whose threads share the calling thread's
 * descriptors, which stay the only ones that heap_brk uses. *ret_stage is the
 * step that failed. 0 or -errno.
 * Requires: wiped_init; unserved; nobody moves the break meanwhile.
 */
int heap_adopt(const struct run_welcome *welcome, struct run_slot *slot,
               enum run_stage *ret_stage);

/* The engine that serves it. Requires: served. */
struct uf_engine *heap_engine(void);

bool heap_is_served(void);

/* How many threads of ours stand by, the agent aside. Requires: served. */
unsigned heap_handler_count(void);

/* brk(2) as the system call does it; 0 as kernel_brk. Any thread, any signal
 * mask; no malloc. */
uintptr_t heap_brk(uintptr_t brk);

/* The same for the thread that called heap_adopt: it moves what others may
 * not, for want of the descriptor. */
uintptr_t heap_brk_by_agent(uintptr_t brk);

/* Around fork(2). After the last, the child is unserved and may adopt. */
void heap_fork_prepare(void);
void heap_fork_parent(void);
void heap_fork_child(void);

/* Leaves word in the slot, when the process exits of its own will. */
void heap_note_exit(void);

#endif
