/* SPDX-License-Identifier: MIT */
/*
 * background: what an engine does when nobody waits for it.
 *
 * One thread takes turns:
 *
 *     prefetch   the next few pages of a range that a program will need
 *     ahead      the next few pages of a working set (ahead.h)
 *     pool       one more huge page zeroed (pool.h)
 *     promote    one block of small pages made huge
 *     write back what shared mappings of stores have changed (writeback.h)
 *
 * Each turn is short, and none begins while faults of the engine's spaces come
 * or one of the space is pending (give_way), so no fault waits longer than for a
 * fault of another thread. The
 * thread holds the shared map lock for one turn at most, and no lock while a
 * pager's fill runs. It runs foreign code as a handler thread does: a touch of
 * a space from there is refused. It reads no faults, so it does not count among
 * those of which one must stay outside foreign code.
 *
 * What is to be done is kept in rings of fixed size. A space that goes
 * takes its entries out (background_forget) and then waits for the pin of the
 * turn that is under way.
 */
#ifndef UF_FAULT_BACKGROUND_H
#define UF_FAULT_BACKGROUND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/range.h"

struct background;
struct fault;
struct fault_result;
struct fault_server;
struct handler;
struct huge_pool;
struct vma;
struct uf_engine;
struct uf_space;

/* How many can wait: ranges to be prefetched, blocks to be made huge. */
#define BACKGROUND_RANGES 64
#define BACKGROUND_BLOCKS 2048
#define BACKGROUND_AHEADS 4096 /* spaces that a working set comes to */

/* How often it naps, at most, before a turn, to let faults by. */
#define BACKGROUND_GIVE_WAY 40

/* Starts the engine's thread, unless it runs. 0 or -errno. pthread_create calls
 * malloc, so this is for where that is safe: not for what an allocator calls.
 * Requires: no lock held; the engine has not been told to stop. */
int background_start(struct uf_engine *engine);

/* The engine's, if its thread runs; else NULL. */
struct background *background_running(struct uf_engine *engine);

/* Some memory of the space has the huge policy: it gets a pool. Without a
 * thread who touches zeroes its huge page itself. Starts no thread and calls no
 * malloc. Requires: no lock held. */
void background_ready_for_huge(struct uf_space *space);

/* Stops the thread and joins it. */
void background_stop(struct uf_engine *engine);

/* Forked child: the thread and the pool are not there. */
void background_fork_child(struct uf_engine *engine);

/* The child has an engine of its own: starts the thread if the parent had one. */
void background_fork_restart(struct uf_engine *engine);

/* Before a detached space is freed. */
void background_forget(struct uf_engine *engine, const struct uf_space *space);

/* NULL if there is none. */
struct huge_pool *background_pool(const struct background *background);

/* NULL: no thread. */
struct handler *background_handler(const struct background *background);

/* False: it has one. Requires: the engine's `starting` is held. */
bool background_give_handler(struct background *background,
                             struct handler *handler);

/* Something has been taken from the pool. Costs nothing while the thread is
 * awake; any thread, any lock, also in a signal handler. */
void background_kick(struct background *background);

/* Queues a range. 0, or -EAGAIN: no room. */
int background_prefetch(struct background *background, struct uf_space *space,
                        struct range range);

/* The space has a working set to come. 0, or -EAGAIN: no room. */
int background_ahead(struct background *background, struct uf_space *space);

/* Queues a block, or counts it as huge_unpromoted if there is no room. Any lock up to the map lock may be held. */
void background_promote(struct background *background, struct uf_space *space,
                        struct range block);

/* How often it has napped to let faults by. */
size_t background_naps(const struct background *background);

/* The life of its thread. */
void background_run(struct handler *handler);

/* --------------------------------------------------- prefetch.c -- */

/* uf_prefetch, and MADV_WILLNEED where pagers supply pages (pagers_only). 0 or
 * -errno as there. */
int prefetch_request(struct uf_space *space, struct range range,
                     bool pagers_only);

/* True if a page of that mapping can be brought in, and is absent. Requires: map
 * lock. */
bool prefetch_is_wanted(const struct uf_space *space, const struct vma *v,
                        uintptr_t page);

/* Resolves a hint (fault->piece) to its end and counts what went in; wakes
 * nobody. May run foreign code. */
struct fault_result prefetch_piece(struct uf_space *space,
                                   struct fault_server *server,
                                   struct fault *fault);

/* Brings in the next few pages of *range that are wanted; what is left to do is
 * in *range, empty at the end. */
void prefetch_some(struct uf_space *space, struct handler *handler,
                   struct range *range);

#endif
