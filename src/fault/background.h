/* SPDX-License-Identifier: MIT */
/*
 * background: what an engine does when nobody waits for it.
 *
 * One thread, started with the first thing to do, takes turns:
 *
 *     prefetch   the next few pages of a range that a program will need
 *     pool       one more huge page zeroed (pool.h)
 *     promote    one block of small pages made huge
 *
 * Each turn is short, and none begins while a fault of the space is pending
 * (give_way), so no fault waits longer than for a fault of another thread. The
 * thread holds the shared map lock for one turn at most, and no lock while a
 * pager's fill runs. It runs foreign code as a handler thread does: a touch of
 * a space from there is refused. It reads no faults, so it does not count among
 * those of which one must stay outside foreign code.
 *
 * What is to be done is kept in two rings of fixed size. A space that goes
 * takes its entries out (background_forget) and then waits for the pin of the
 * turn that is under way.
 */
#ifndef UF_FAULT_BACKGROUND_H
#define UF_FAULT_BACKGROUND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/range.h"

struct background;
struct handler;
struct huge_pool;
struct uf_engine;
struct uf_space;

/* Ranges that can wait to be prefetched, blocks to be made huge. */
#define BACKGROUND_RANGES 64
#define BACKGROUND_BLOCKS 2048

/* The engine's, started if there is none yet. 0 or -errno. Requires: no lock
 * held; the engine has not been told to stop. */
int background_start(struct uf_engine *engine, struct background **ret);

/* Some memory of the space has the huge policy: it gets the engine's thread and
 * pool. Without them it does with small pages. Requires: no lock held. */
void background_ready_for_huge(struct uf_space *space);

/* Stops the thread and joins it. */
void background_stop(struct uf_engine *engine);

/* Forked child: the thread and the pool are not there. */
void background_fork_child(struct uf_engine *engine);

/* Before a detached space is freed. */
void background_forget(struct uf_engine *engine, const struct uf_space *space);

/* NULL if there is none. */
struct huge_pool *background_pool(const struct background *background);

/* Requires: the engine's `starting` is held. */
struct handler *background_handler(const struct background *background);

/* Something has been taken from the pool. Costs nothing while the thread is
 * awake; any thread, any lock, also in a signal handler. */
void background_kick(struct background *background);

/* Queues a range. 0, or -EAGAIN: no room. */
int background_prefetch(struct background *background, struct uf_space *space,
                        struct range range);

/* Queues a block, if there is room. Any lock up to the map lock may be held. */
void background_promote(struct background *background, struct uf_space *space,
                        struct range block);

/* The life of its thread. */
void background_run(struct handler *handler);

/* --------------------------------------------------- prefetch.c -- */

/* uf_prefetch, and MADV_WILLNEED where pagers supply pages (pagers_only). 0 or
 * -errno as there. */
int prefetch_request(struct uf_space *space, struct range range,
                     bool pagers_only);

/* Brings in the next few pages of *range that are wanted; what is left to do is
 * in *range, empty at the end. */
void prefetch_some(struct uf_space *space, struct handler *handler,
                   struct range *range);

#endif
