/* SPDX-License-Identifier: MIT */
/*
 * writeback: dirty pages of stores that are mapped shared go back, from all
 * mappings of all spaces: when they are asked for, and in the background.
 *
 *     collect   each mapping's page table, under its space's map lock
 *     write     what was found, no lock held (pager/writeback.c)
 */
#ifndef UF_FAULT_WRITEBACK_H
#define UF_FAULT_WRITEBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct handler;
struct uf_pager;
struct uf_space;

/*
 * Writes back and flushes [offsets) of a pager that may be mapped shared. 0,
 * -EIO, -ENOSPC: what failed, now or before, and nobody was told; -EDEADLK: a
 * handler thread, or from a function of that store's.
 * Requires: no lock held.
 */
int writeback_sync(struct uf_pager *pager, struct range offsets);

/* One turn of the background thread: a pager whose time has come. False: there
 * is none. */
bool writeback_turn(struct handler *handler);

/* Nanoseconds until there is one; 0: never. */
uint64_t writeback_wait_ns(void);

/* Some pages are to be written back earlier than was said. Requires: no lock
 * held. */
void writeback_hurry(void);

/* A mapping of a cache was made in the space: it will be looked after. Requires:
 * no lock held; malloc may be called. */
void writeback_begin(struct uf_space *space);

#endif
