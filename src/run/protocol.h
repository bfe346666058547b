/* SPDX-License-Identifier: MIT */
/*
 * protocol: what `ufault run` and the programs under it say to each other.
 *
 *     program's process                          session server
 *     ─────────────────                          ──────────────
 *     agent ── hello ────────────────────────►   knows the process
 *           ◄─ welcome, with two descriptors ──   (statistics, listener)
 *           ── status: ready / failed ───────►   routes its calls from now on
 *           ◄─ call ──────────────────────────   one that a thread of it made
 *     answers the kernel itself, on the listener
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
/* The same, and mappings are served too. */
#define RUN_ENV_FOLLOW_MAPPED "follow-mapped:"
#define RUN_ENV_LEAVE_MAPPED  "leave-mapped:"

#define RUN_MAGIC   0x756672756eu /* "ufrun" */
#define RUN_VERSION 2

/* Where mappings are served, in every process; see mapping.h. Any size up to
 * the largest is aligned here. */
#define RUN_MAPPING_BASE ((uintptr_t)0x510000000000)
#define RUN_MAPPING_MAX  ((uint64_t)1 << 40)

/* In an argument that a call does not use it says that the call is ours: the
 * filter lets it pass. */
#define RUN_COOKIE ((uint64_t)0x7566617572756e21)

#define RUN_NAME_BYTES    64
#define RUN_THREAD_CHUNKS 4

/* What one process counts; zeroed when it is handed out. Without pointers into
 * it but those of the process that it belongs to. */
struct run_slot {
    _Atomic uint64_t minflt_at_exit; /* 0: it did not get to say */
    struct counters counters;
    struct thread_chunk threads[RUN_THREAD_CHUNKS];
    /* Of mappings. */
    struct counters mapped;
    struct thread_chunk mapped_threads[RUN_THREAD_CHUNKS];
    _Atomic uint64_t mmaps_left; /* anonymous ones, left to the kernel */
};

/* Slots lie this far apart in the statistics memory: whole pages. */
#define RUN_SLOT_BYTES ((size_t)16384)
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
    uint32_t stacks;        /* serve thread stacks, too */
    uint64_t mapping_bytes; /* of the region for mappings; 0: not served */
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

/* What came of serving mappings. */
enum run_mapping {
    RUN_MAPPING_NOT_ASKED,
    RUN_MAPPING_SERVED,
    RUN_MAPPING_NO_LIBC, /* libc's functions were not recognised */
    RUN_MAPPING_LIMITED, /* RLIMIT_AS would count the whole region */
    RUN_MAPPING_NO_ROOM, /* the region could not be reserved or registered */
    RUN_MAPPINGS
};

struct run_status {
    uint32_t stage;
    int32_t err;     /* -errno of the stage that failed */
    uint32_t mapped; /* enum run_mapping */
    int32_t mapped_err;
};

/* A system call that a thread of the process has made. */
struct run_call {
    uint64_t id; /* the kernel's, to answer with */
    int64_t number;
    uint64_t args[6];
};

#endif
