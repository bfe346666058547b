/* SPDX-License-Identifier: MIT */
/*
 * mapping: this process's anonymous mappings, served (`ufault run --mmap`).
 *
 *     libc's mmap, munmap, ... ─► jmp ─► mapping_calls.c ─┬─► the space
 *                                                         └─► the kernel
 *
 * Beside the heap there is a second space, of a RESERVED region, on the same
 * engine. Its addresses are the same in every process: where nothing else is
 * put on its own, by the kernel, by loaders or by sanitizers for their shadow.
 *
 *     0       1 TiB               0x51_0000000000       0x55.. PIE      0x7f..
 *     | low, heaps of runtimes ... | the region | ...   | programs | libraries
 *
 * Which mappings are served: anonymous, private, not a thread's stack unless
 * asked for, at an address that is the kernel's to choose. A hint is honoured
 * by whoever has the address: programs look whether they got it. What the space
 * refuses is asked of the kernel. From then on a range is served exactly if it
 * lies in the region: no list is looked at for what is not ours.
 *
 * The calling thread takes the space's lock with every signal blocked: a
 * handler that touched memory, or mapped some, would wait for the thread that
 * it interrupted. It has not the engine's descriptor: see registrar.h.
 *
 * Bare system calls reach us by the filter, if the memory they name lies in the
 * region and they do not carry the cookie that says that they are ours.
 *
 * Children. One that fork(2) made finds the space as it was, its memory the
 * kernel's copy, and goes on with it: without an engine, or with a new one when
 * it is served too. One that a bare clone made has no sound locks, and the word
 * that says so wiped: all its calls are the kernel's, on its copy.
 */
#ifndef UF_RUN_MAPPING_H
#define UF_RUN_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"
#include "run/libc_patch.h"
#include "run/protocol.h"

struct uf_engine;
struct uf_space;

/* Leads libc's functions here. Before any other thread is started; wiped_init
 * and `sys` are set. False: not all of them were recognised, and none is led;
 * mapping_adopt will say so. */
bool mapping_init(void);

/*
 * Has the engine serve this process's mappings from now on: makes the space, or
 * takes over what a forked child has inherited. *ret is what came of it, and
 * 0 or -errno returned. Requires: this thread has the engine's descriptor.
 */
int mapping_adopt(struct uf_engine *engine, const struct run_welcome *welcome,
                  struct run_slot *slot, enum run_mapping *ret);

/*
 * A call that a thread of this process made past libc, on memory in the region:
 * made here, on the agent's thread. 0 (an address) or -errno; or *ret_pass is
 * set, and the kernel is to make it.
 */
intptr_t mapping_call_by_agent(const struct run_call *call, bool *ret_pass);

/* For a thread of ours: memory outside the region, where libc might give it a
 * stack inside; NULL if that cannot be. */
void *mapping_take_stack(size_t len_bytes);

/* The calling thread is one of ours: its mappings are the kernel's. */
void mapping_pass_this_thread(void);

/* Around fork(2). In the child also: its counters are nobody's again. */
void mapping_fork_prepare(void);
void mapping_fork_parent(void);
void mapping_fork_child(void);

/* ------------------------------------------------- for mapping_calls.c -- */

/* True if calls of this thread may be the space's. */
bool mapping_is_on(void);

/* The calling thread is ours no longer, and again. */
void mapping_pass_set(bool passes);

struct mapping {
    struct range range; /* the region; empty before there is a space */
    struct uf_space *space;
    bool stacks;             /* thread stacks too */
    uint64_t largest;        /* bytes that the kernel commits in one call */
    _Atomic uint64_t *nleft; /* counts mappings that are left to the kernel */
};

extern struct mapping mapping;

/* What libc's functions become. */
extern const struct libc_call mapping_calls[];

#endif
