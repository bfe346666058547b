/* SPDX-License-Identifier: MIT */
/*
 * ending: how a fault ends, from what was tried to what its thread is told.
 *
 *     not now            ──► put off, if it was not put off for too long
 *     may have to sleep  ──► waiting, for a server that may
 *     no page to be had  ──► refused: SIGBUS
 *     nothing to do      ──► the thread looks again
 *
 * Any outcome but `deferred` leaves the space unsettled by one (fault.h).
 */
#ifndef UF_FAULT_ENDING_H
#define UF_FAULT_ENDING_H

#include "fault/fault.h"

/* Nothing was installed: its thread is to look again, or to find the refusal.
 * Requires: unsettled by the caller. */
struct fault_result end_without(const struct fault *fault,
                                enum uf_outcome outcome, int err);

/* SIGBUS for the touched page. Requires: no map lock held. */
struct fault_result end_refused(struct uf_space *space,
                                const struct fault *fault, int err);

/* Not now: `err` and `why` are told if that was so for too long. */
struct fault_result end_put_off(struct uf_space *space,
                                struct fault_server *server,
                                const struct fault *fault, int err,
                                const char *why);

/* As what the install of `window` came to. Requires: unsettled. */
struct fault_result end_installed(struct uf_space *space,
                                  struct fault_server *server,
                                  const struct fault *fault,
                                  struct range window,
                                  const struct install_result *r);

/* Not at once. */
struct fault_result end_waiting(const struct found *found);

#endif
