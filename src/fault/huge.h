/* SPDX-License-Identifier: MIT */
/*
 * huge: memory with the huge policy, in blocks of 2 MiB.
 *
 *     VMA      |-----------------------------------------|
 *     blocks      [   all absent   ][ some resident ][ ... cut off
 *     write            ─► one huge page,   ─► an ordinary window
 *                         moved in
 *     read             ─► the kernel's     ─► an ordinary window
 *                         huge zero page
 *
 * The policy is a mapping's (MADV_HUGEPAGE) or a space's (UF_SPACE_HUGE); a
 * mapping's MADV_NOHUGEPAGE is above both. A block is taken only as a whole:
 * inside the mapping, nothing of it resident, guarded or refused. What a huge
 * page is split for later (munmap, mprotect or MADV_DONTNEED of a part) is the
 * kernel's work, and shows in nothing but its speed.
 */
#ifndef UF_FAULT_HUGE_H
#define UF_FAULT_HUGE_H

#include <stdbool.h>

#include "fault/fault.h"
#include "fault/install.h"
#include "mm/space.h"
#include "mm/vma.h"

/* True if memory of the VMA comes in blocks: the policy says so, and the kernel
 * has huge pages. */
bool huge_has_policy(const struct uf_space *space, const struct vma *vma);

/* The block to bring in for a touch of addr, if it can be taken as a whole.
 * Requires: map lock; the VMA has the policy and holds addr. */
bool huge_block_locked(const struct uf_space *space, const struct vma *vma,
                       uintptr_t addr, struct range *ret_block);

/* Fills the block that what->window is with a huge page of the pool, or with
 * small ones, and counts which. Where only zeros are read (what->write is not
 * set) it takes no memory, and is not counted. Requires: map lock, shared; huge_block_locked
 * has said so. */
struct install_result huge_install_locked(struct uf_space *space,
                                          struct install *what, bool *ret_huge);

/* Small pages went into [done): has the blocks that are complete with them made
 * huge, if the space asks for it. Requires: map lock; the VMA has the policy.
 */
void huge_note_locked(struct uf_space *space, struct range vma,
                      struct range done);

/* Makes a block of small pages huge, if it is still complete. 0 when it is done
 * with, counted if the kernel refused; -EAGAIN: later, perhaps. */
int huge_promote(struct uf_space *space, struct range block);

/* How many huge pages the pool that serves the space has ready. */
size_t huge_ready(const struct uf_space *space);

#endif
