/* SPDX-License-Identifier: MIT */
/*
 * shared: mappings of a pager's cache (VMA_CACHE).
 *
 *     the host maps the cache's memfd over the reservation, and it is
 *     registered: what the memfd has is mapped by the kernel, what it has not
 *     is a fault of ours, which puts the page into the memfd
 *
 * Pages of it are protected before they are there, so that one that was written
 * is one that is not protected: in the page table, dropped from it (MADV_DONTNEED)
 * or swapped out. To collect is to find these, protect them again, in one step,
 * and note them in the cache. Where the kernel cannot do that (before 6.7), or
 * will not say, all pages that are there count as written in a mapping that may
 * be written.
 *
 * A page must never be touched there without registration: the kernel would put
 * zeros into the memfd. So a mapping is closed until it is registered.
 */
#ifndef UF_MM_SHARED_H
#define UF_MM_SHARED_H

#include "mm/space.h"

/* Maps the cache of v->pager at [v->start, v->end), with the state and the
 * protection that v->flags say. 0 or -errno: the range is as reserved.
 * Requires: it is closed, and not in the set. */
int shared_open_locked(struct uf_space *space, const struct vma *v);

/* Registers it again, in a child, where nothing is. 0 or -errno. */
int shared_register(struct uf_space *space, const struct vma *v);

/* All such mappings of a child's: what is there is not written yet. */
void shared_protect_all(struct uf_space *space);

/* True if the kernel knows what was written in mappings of this cache. */
bool shared_is_exact(const struct uf_space *space,
                     const struct uf_pager *pager);

/*
 * Cuts *window, a part of the mapping, to pages around `page`, none of which its
 * cache has; other mappings may have brought some in. False: it has `page`.
 */
bool shared_clip(const struct vma *v, struct range page, struct range *window);

/* What was written through [part) of the mapping *v so far is noted in its
 * cache. Requires: map lock, shared will do. */
void shared_collect_locked(const struct uf_space *space, const struct vma *v,
                           struct range part);

/* The same of all mappings of `pager`, as far as its [offsets) go. */
void shared_collect_pager_locked(const struct uf_space *space,
                                 const struct uf_pager *pager,
                                 struct range offsets);

/*
 * The same for a part that is about to go, and is closed: has what is dirty in it
 * written back by shared_write_closed, without the lock. That is for map_unlock,
 * and for who ends a space.
 */
void shared_close_locked(struct uf_space *space, const struct vma *v,
                         struct range part);
struct shared_note *shared_take_closed(struct uf_space *space);
void shared_write_closed(struct shared_note *notes);

/* Closes all of a space's, which ends. */
void shared_close_all_locked(struct uf_space *space);

#endif
