/* SPDX-License-Identifier: MIT */
/*
 * channel: several requests to one store under way at once.
 *
 *     submit(a, b, c) ──► │ a b c │ ──► reap: b, then a and c, as they finish
 *                          channel
 *
 * A channel is one thread's at a time. That of a file may be a ring of
 * io_uring (uring.h); any other does each request when it is submitted, behind
 * the same calls, and so does one whose ring the kernel refuses later on.
 *
 * A store keeps idle channels, so that the handler threads that read it have
 * one each after a while. A forked child makes its own: a ring is its maker's.
 */
#ifndef UF_STORE_CHANNEL_H
#define UF_STORE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

struct uf_store;
struct store_io;
struct store_channel;

/* A channel of its own for the caller; 0 or -ENOMEM. */
int store_channel_open(struct uf_store *store, struct store_channel **ret);

/* Waits for what is under way; NULL is allowed. Answers are lost. */
void store_channel_close(struct store_channel *channel);

/* True if its requests go through io_uring. */
bool store_channel_is_uring(const struct store_channel *channel);

/*
 * Promises that [base, base + len_bytes) stays the same memory until the channel
 * is closed: the kernel pins it once, and requests inside it are cheaper. Once
 * per channel. False: refused (a limit), and nothing is different.
 */
bool store_channel_pin(struct store_channel *channel, void *base,
                       size_t len_bytes);

/*
 * Memory of the channel's own, pinned if that can be: for reads of a file past
 * the page cache, which else pins and lets go the reader's at each request. The
 * same each time; NULL: not for this store, or no memory.
 */
void *store_channel_buffer(struct store_channel *channel, size_t len_bytes);

/* Sets off n requests. They and their buffers stay until they are reaped. */
void store_submit(struct store_channel *channel, struct store_io *ios,
                  unsigned n);

/*
 * Takes up to `max` finished requests into ret[], and waits until there are at
 * least `min`, or all that are under way. Returns how many.
 */
unsigned store_reap(struct store_channel *channel, struct store_io **ret,
                    unsigned max, unsigned min);

/*
 * An idle channel of the store's, to be given back with nothing under way;
 * NULL: the store has no use for one, or all are taken.
 */
struct store_channel *store_channel_take(struct uf_store *store);
void store_channel_give_back(struct store_channel *channel);

/* Fewer than half of them are taken (about). */
bool store_spares_channels(const struct uf_store *store);

/* False in a forked child, for a channel that its parent had taken: all that may
 * be done with it is to disown it, whatever is under way. */
bool store_channel_is_ours(const struct store_channel *channel);
void store_channel_disown(struct store_channel *channel);

/* Of a new store of a file: asks for io_uring; sets its kind, or its error. */
void channels_begin(struct uf_store *store);
/* Closes the idle ones, which are all. */
void channels_close(struct uf_store *store);

#endif
