/* SPDX-License-Identifier: MIT */
/*
 * run_clients: the processes that the session server knows, and which of them a
 * notified break belongs to.
 *
 *     GREETING ── hello, welcome ──► WELCOMED ── ready ──► SERVED ──► gone
 *                                        └───── failed ──► UNSERVED ──┘
 *
 * A break belongs to the client whose agent is alive and whose memory the
 * calling thread shares: the same process, or a vfork child of it. Asked of the
 * kernel at each call (tgkill(2) with signal 0, kcmp(2)), since exec replaces a
 * process's memory without a word to us, and since the agent dies before the
 * new program makes its first call. What belongs to nobody is the kernel's.
 *
 * Calls are remembered until their agent must have answered, so that when it
 * dies under one (a vfork child outlives its parent) the caller is not left
 * waiting: the kernel then does it.
 */
#ifndef UF_TOOLS_RUN_CLIENTS_H
#define UF_TOOLS_RUN_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "run/protocol.h"
#include "run_ledger.h"

enum client_state {
    CLIENT_GREETING,
    CLIENT_WELCOMED,
    CLIENT_SERVED,
    CLIENT_UNSERVED
};

struct client {
    int socket;
    enum client_state state;
    pid_t tgid; /* as the kernel says, not the client */
    pid_t agent;
    uint32_t slot;
    uint32_t forked;
    uint32_t stage; /* of its status */
    int32_t err;
    uint32_t mapped; /* enum run_mapping */
    int32_t mapped_err;
    char program[RUN_NAME_BYTES];
    struct run_call *calls; /* sent, perhaps not answered */
    size_t ncalls;
    size_t nsent; /* of these, the first nsent are with the agent */
    size_t capacity;
};

struct clients {
    struct client **list;
    size_t count;
    size_t capacity;
    size_t last; /* index of the last one found */
    /* What to welcome with. */
    struct run_welcome welcome;
    int statistics;
    int listener;
    char *slots; /* the whole statistics memory */
    uint32_t nslots;
    uint32_t *free_slots;
    uint32_t nfree;
    struct ledger ledger;
};

/* 0 or -errno. `statistics` is a memfd of nslots slots. */
int clients_init(struct clients *clients, const struct run_welcome *welcome,
                 int statistics, uint32_t nslots);

/* A new connection. Takes the socket over, or closes it. */
void clients_add(struct clients *clients, int socket);

/* Something came from the client at `index`, or room in its queue. False: it is
 * gone, and so is its index (the last client has it now). */
bool clients_serve(struct clients *clients, size_t index);

/* The client that thread `tid` shares its memory with, or NULL. */
struct client *clients_find(struct clients *clients, pid_t tid);

/* Hands a call to the agent. False: it is gone; the caller is not served. */
bool clients_call(struct clients *clients, struct client *client,
                  const struct run_call *call);

/* Lets the kernel do the break that `id` waits for. */
void clients_pass(struct clients *clients, uint64_t id);

/* Enters all that are left into the ledger as alive. */
void clients_enter_living(struct clients *clients);

#endif
