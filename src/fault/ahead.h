/* SPDX-License-Identifier: MIT */
/*
 * ahead: a working set on its way in, while the guest runs.
 *
 *     set     7 3 9 4 1 8 2 5 6 ...         in order of first touch
 *             # # # # . . . . .
 *                     ^ next
 *     a fault on 2, which is in the set: answered by who answers faults, who then
 *     brings in what follows, too, the more the further the guest runs ahead
 *             # # # # . . # # # . . .
 *                               ^ next    and the background goes on behind
 *     at the end of the set, what was passed over
 *
 * Each page is taken, by rank, by who brings it in, and goes through the same steps
 * as a fault (fault.piece), so that whatever is mapped there by then supplies
 * it. Who installs a page is who counts it: the kernel lets one be first. A fault
 * does not wait for who has taken its page, but is served. Behind its own page a
 * fault on the set waits for those that follow, its window (ahead_follow).
 *
 * As long as pages are to come, a window does not reach over them (ahead_clip):
 * they lie elsewhere in the file than their neighbours, and would be read twice.
 *
 * The record of a space is set under the exclusive map lock and looked at under
 * the shared one; the background thread has a reference for a turn.
 */
#ifndef UF_FAULT_AHEAD_H
#define UF_FAULT_AHEAD_H

#include <stdbool.h>

#include "mm/space.h"
#include "ufault/working_set.h"

struct fault_server;
struct handler;

/* Bodies of the public functions. `pages`: numbers from the base of the space, each once; copied.
 * 0 or -errno. Requires: no lock held. */
int ahead_start(struct uf_space *space, const uint64_t *pages, size_t npages,
                uint32_t leave);
int ahead_report(struct uf_space *space, struct uf_working_set_report *report);

/* A turn of the background thread: a few pages. False: nothing is left to do.
 * Requires: the space is pinned. */
bool ahead_some(struct uf_space *space, struct handler *handler);

/* After a fault that was resolved, before its thread goes on: brings in what
 * follows its page in the set, as a window does what lies beside it; as long as
 * no other fault of the space waits for this thread. In a signal handler, too.
 * Requires: the space is pinned; no lock held. */
void ahead_follow(struct uf_space *space, struct fault_server *server);

/* The page of addr was touched, and came. Requires: map lock; space->ahead. */
void ahead_note(struct ahead *ahead, uintptr_t addr);

/* The page of addr was touched, and found there: it may just have come ahead, and
 * then the guest has caught up. Requires: as before. */
void ahead_note_there(struct ahead *ahead, uintptr_t addr);

/* True if each fault is to bring in one page, to see all of them. Requires: map
 * lock. */
bool ahead_measures(const struct ahead *ahead);

/* What of [window) a fault at addr may bring in. Requires: map lock. */
struct range ahead_clip(const struct ahead *ahead, uintptr_t addr,
                        struct range window);

/* The space goes. Requires: nobody else about. */
void ahead_free(struct uf_space *space);

/* Forked child: nothing comes any more. */
void ahead_fork_child(struct uf_space *space);

#endif
