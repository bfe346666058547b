/* SPDX-License-Identifier: MIT */
/*
 * dirty: which pages of a space were written.
 *
 *     start      every page that is there is write-protected, and so is from
 *                now on every page that comes in
 *     a write    the kernel takes the protection away by itself (WP_ASYNC);
 *                before 6.7 it is a fault, and a handler does (dirty_note)
 *     collect    PAGEMAP_SCAN finds the unprotected pages and protects them
 *                again, each in one step: no write is lost in between
 *
 * What was dropped, unmapped or moved is noted where that is done
 * (map_note_changed). Everything meets in one bit a page, which collect hands
 * out and clears.
 *
 *     changed     # # . . # . . .     dropped, moved
 *     scan      + . # . . . . # #     written, there, not the page of zeros
 *     collect   = [# #). [#). [# #)
 *
 * There is one record in the kernel, and several who want to know: the program,
 * checkpoints, resets. Each has bits of its own, `space->changed[who]`. Whoever
 * asks harvests the kernel's record for all of them, and then clears his own. A
 * page that is clean to one may be dirty to another: it is protected all the
 * same, since its next write is news to the first.
 *
 * Where pages cannot be protected the program's tracking compares (compare.h);
 * the others go without.
 */
#ifndef UF_FAULT_DIRTY_H
#define UF_FAULT_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mm/space.h"
#include "ufault/dirty.h"

/* Bodies of the public functions. Requires: no lock held. */
int dirty_start(struct uf_space *space, enum space_watcher who);
int dirty_stop(struct uf_space *space, enum space_watcher who);
ssize_t dirty_collect(struct uf_space *space, struct uf_range *ranges,
                      size_t max);
enum uf_dirty_kind dirty_kind(struct uf_space *space);

/*
 * All that is mapped and dirty to `who`, and is clean from then on; whoever gets
 * *ret destroys it. 0, -ENOMEM, -EINVAL (he does not watch) or -EIO: nothing was
 * taken. What the kernel serves and may be written is always among it.
 */
int dirty_take(struct uf_space *space, enum space_watcher who,
               struct resident *ret);

/* Adds what is dirty to him now, and stays so, to *pages: of mappings as they
 * were, `n` of them, whatever became of them. 0, -EINVAL or -EIO. */
int dirty_look(struct uf_space *space, enum space_watcher who,
               const struct vma *mappings, size_t n, struct resident *pages);

/* What was taken is dirty again. */
void dirty_put_back(struct uf_space *space, enum space_watcher who,
                    const struct resident *pages);

/* A write to the protected page of addr waits, in a kernel that tells us so:
 * notes it and lets it go on. Any thread. */
void dirty_note(struct uf_space *space, uintptr_t addr);

/* True if dirty_note is for a write to addr that got SIGBUS. */
bool dirty_is_protected(struct uf_space *space, uintptr_t addr);

/* Pages come in protected. Requires: the map lock. */
static inline bool dirty_protects(const struct uf_space *space)
{
    return space->watched && !space->compare;
}

/* In a forked child, where nothing is protected, or when the space goes: tracking
 * is off. */
void dirty_forget(struct uf_space *space);

#endif
