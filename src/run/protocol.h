/* SPDX-License-Identifier: MIT */
/*
 * protocol: what `ufault run` and the programs under it say to each other.
 *
 *     program's process                          session server
 *     ─────────────────                          ──────────────
 *     agent ── hello ────────────────────────►   knows the process
 *           ◄─ welcome, with two descriptors ──   (statistics, listener)
 *           ── status: ready / failed ───────►   routes its breaks from now on
 *           ◄─ call ──────────────────────────   a break that a thread of it
 * made answers the kernel itself, on the listener
 *
 * Messages are whole packets of an abstract unix SOCK_SEQPACKET socket whose
 * name is in the environment. Both sides are of one build: a magic number and
 * a version refuse all others.
 *
 * What is counted lies in memory that both have mapped, one slot a process, so
 * that it is still there when the process was killed.
 */
#ifndef UF_RUN_PROTOCOL_H
#define UF_RUN_PROTOCOL_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "trace/counters.h"
#include "trace/threads.h"

/* "follow:NAME" or "leave:NAME": children too or not; the socket's name. */
#define RUN_ENV        "UFAULT_RUN"
#define RUN_ENV_FOLLOW "follow:"
#define RUN_ENV_LEAVE  "leave:"

#define RUN_MAGIC   0x756672756eu /* "ufrun" */
#define RUN_VERSION 1

#define RUN_NAME_BYTES    64
#define RUN_THREAD_CHUNKS 4

/* What one process counts; zeroed when it is handed out. Without pointers into
 * it but those of the process that it belongs to. */
struct run_slot {
    _Atomic uint64_t minflt_at_exit; /* 0: it did not get to say */
    struct counters counters;
    struct thread_chunk threads[RUN_THREAD_CHUNKS];
};

/* Slots lie this far apart in the statistics memory: whole pages. */
#define RUN_SLOT_BYTES ((size_t)8192)
_Static_assert(sizeof(struct run_slot) <= RUN_SLOT_BYTES,
               "a slot is too small");

struct run_hello {
    uint64_t magic;
    uint32_t version;
    pid_t tgid;
    pid_t agent;     /* thread id */
    uint32_t forked; /* 1: a forked child, 0: a program just started */
    char program[RUN_NAME_BYTES];
};

struct run_welcome {
    uint32_t slot;
    uint32_t window_pages;
    uint32_t tier; /* enum uf_tier */
    uint32_t cpu_plus_one;
};

/* The descriptors that come with a welcome, in this order. */
enum run_welcome_fd { RUN_FD_STATISTICS, RUN_FD_LISTENER, RUN_WELCOME_FDS };

/* The steps of taking over a heap, for the message when one fails. */
enum run_stage {
    RUN_STAGE_READY, /* all of them worked */
    RUN_STAGE_STATISTICS,
    RUN_STAGE_ENGINE,
    RUN_STAGE_HEAP,
    RUN_STAGES
};

struct run_status {
    uint32_t stage;
    int32_t err; /* -errno of the stage that failed */
};

struct run_call {
    uint64_t id; /* the kernel's, to answer with */
    uint64_t brk;
};

#endif
