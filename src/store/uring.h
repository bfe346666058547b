/* SPDX-License-Identifier: MIT */
/*
 * uring: a ring of io_uring for requests to one file, inside a channel.
 *
 *     waiting ──► in the ring, unseen ──► in the kernel ──► done
 *        ▲          (struct io_list each)       │
 *        └──────── short, interrupted ──────────┘
 *
 * uring.c is this on liburing; uring_none.c refuses, for builds without it and
 * for what `ufault run` preloads.
 */
#ifndef UF_STORE_URING_H
#define UF_STORE_URING_H

#include <stdbool.h>
#include <stddef.h>

#include "store/io_list.h"

struct uring;

/* 0, -ENOMEM, or the -errno that the kernel refuses it with. */
int uring_create(struct uf_store *store, struct uring **ret);
/* Requires: nothing is under way. NULL is allowed. */
void uring_destroy(struct uring *ring);

/* See store_channel_pin. */
bool uring_pin(struct uring *ring, void *base, size_t len_bytes);

/* Appends a request; uring_wait sets it off. */
void uring_add(struct uring *ring, struct store_io *io);

/*
 * Sets off what can be, appends what has finished to `done`, and waits until
 * that are `min` or all. Returns how many. Never fails: what the kernel does not
 * take is done here by pread(2).
 */
unsigned uring_wait(struct uring *ring, struct io_list *done, unsigned min);

/* The kernel refused it while in use; all requests are done by pread(2). */
bool uring_is_broken(const struct uring *ring);

#endif
