/* SPDX-License-Identifier: MIT */
/*
 * run_session: the process that answers for a tree of programs.
 *
 *     launcher ── start ──► session server ◄── listener ── first program
 *        │                    ▲   │ calls
 *        │  finish / results  │   ▼
 *        └────────────────────┴─ agents, one in each served process
 *
 * It is a process of its own, in a session of its own, for two reasons: the
 * launcher stops and goes on with the terminal's jobs, and ends with the first
 * program; daemons that the program leaves behind still need their breaks
 * answered. It ends when the last process with the filter has ended.
 */
#ifndef UF_TOOLS_RUN_SESSION_H
#define UF_TOOLS_RUN_SESSION_H

#include "run/protocol.h"
#include "run_ledger.h"

struct session {
    char name[RUN_NAME_BYTES]; /* of the socket, for the environment */
    int control;               /* launcher's side: results */
    int giver;                 /* first program's side: takes the listener */
};

/* Starts the server. 0 or -errno. */
int session_start(const struct run_welcome *welcome, struct session *ret);

/* In the first program, before exec: hands the listener over. 0 or -errno. */
int session_give_listener(const struct session *session, int listener);

/* The first program has ended: what they all did. 0 or -errno; the ledger's
 * `sum` is not filled. */
int session_finish(const struct session *session, struct ledger *ret);

#endif
