/* SPDX-License-Identifier: MIT */
/*
 * default_space: the space that a process has without asking for one.
 *
 *     none ──first use──► making (by one thread) ──┬──► there, for good
 *       │                      │                   │
 *       │                      └── failed: none    │
 *       └──────────── uf_posix_set_space ──────────┘
 *
 * There is no lock in it. Making a space takes locks that fork handlers take as
 * well, and a lock held around them would have to be known there; a word that
 * names the making process is stale by itself in a child that was forked half-
 * way, and the child makes its own.
 *
 * A default space that a forked child did not inherit counts as none there.
 */
#ifndef UF_POSIX_DEFAULT_SPACE_H
#define UF_POSIX_DEFAULT_SPACE_H

#include <stdbool.h>

struct uf_space;

/* The default space, or NULL: never makes one. */
struct uf_space *default_space_now(void);

/* The default space, made if need be. 0 or -errno. */
int default_space_get(struct uf_space **ret_space);

/* 0, -EINVAL, -EBUSY: see uf_posix_set_space. */
int default_space_set(struct uf_space *space);

/* `space` is about to be destroyed: there is none then. */
void default_space_forget(struct uf_space *space);

/* True on threads whose new memory may not be the space's: a thread that is
 * making it, and handler threads. */
bool default_space_is_not_for_me(void);

#endif
