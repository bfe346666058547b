/* SPDX-License-Identifier: MIT */
/*
 * registrar: a thread that has the engine's descriptor and does for others what
 * needs it: registering memory.
 *
 *     program's thread, in mremap, has no such descriptor
 *        │ asks, sleeps                     (under the space's map lock)
 *        ▼
 *     registrar ── UFFDIO_REGISTER ──► answers
 *
 * The reservation of a process's mappings is registered once, as a whole, so
 * this is for the few that the kernel gives a mapping of their own: moves, and
 * what is reserved again. The registrar takes no lock and touches nothing of
 * the program's, so it may be waited for under any lock, signals blocked.
 */
#ifndef UF_RUN_REGISTRAR_H
#define UF_RUN_REGISTRAR_H

#include <stdbool.h>

#include "host/uffd.h"

/* Starts the thread, which shares the caller's descriptors. 0 or -errno. */
int registrar_start(void);

bool registrar_runs(void);

/* regist(uffd, range), on that thread. Requires: it runs. */
struct uffd_result
registrar_do(struct uffd_result (*regist)(struct uffd *u, struct range range),
             struct uffd *uffd, struct range range);

/* In a forked child: it is not there. */
void registrar_fork_child(void);

#endif
