/* SPDX-License-Identifier: MIT */
/*
 * map: the mmap family of a space; what its calls share.
 *
 *     call            file        kernel counterpart
 *     mmap, munmap    map.c       mm/mmap.c do_mmap, mm/vma.c do_vmi_munmap
 *     where           place.c     get_unmapped_area
 *     mprotect        protect.c   mm/mprotect.c
 *     mlock...        mlock.c     mm/mlock.c
 *     mremap          remap.c     mm/mremap.c
 *     madvise         advise.c    mm/madvise.c
 *     mincore, msync  query.c     mm/mincore.c, mm/msync.c
 *     stacks          stack.c     mm/vma.c expand_downwards
 *
 * Each takes the map lock exclusively, checks in the kernel's order, and makes
 * its changes of the three moves below: close, insert, change flags. Every move
 * is host call first, then commit; records are reserved before (vma_set).
 *
 * What a call leaves to do without the lock (pages to populate) it returns.
 */
#ifndef UF_MM_MAP_H
#define UF_MM_MAP_H

#include "mm/space.h"

/* stack_guard_gap: bytes kept free below a stack. */
static inline size_t stack_guard_bytes(void)
{
    return 256 * page_size();
}

/* What mmap was asked for. */
struct map_request {
    uintptr_t addr;
    size_t len_bytes;
    int prot;
    int flags;
    int fd;
    off_t offset;
    struct uf_pager *pager; /* NULL: zeros, or the kernel */
    uint64_t pager_offset;
};

/* Locked parts that became writable, to be populated. */
#define MAP_MADE_MAX 16u

struct map_made {
    unsigned n;
    struct range parts[MAP_MADE_MAX];
};

/* ------------------------------------------------------- the calls -- */
/* Each returns 0 (an address) or the -errno that ufault/mman.h documents.
 * *ret_populate: to be made resident now; empty if nothing. */
intptr_t space_mmap(struct uf_space *space, const struct map_request *request,
                    struct range *ret_populate);
int space_munmap(struct uf_space *space, uintptr_t addr, size_t len_bytes);
int space_mprotect(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                   int prot, struct map_made *ret_made);
intptr_t space_mremap(struct uf_space *space, uintptr_t addr, size_t old_len,
                      size_t new_len, int flags, uintptr_t new_addr,
                      struct range *ret_populate);
int space_mlock(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                uint32_t lock_flags, struct range *ret_populate);
int space_munlock(struct uf_space *space, uintptr_t addr, size_t len_bytes);
int space_mlockall(struct uf_space *space, int flags,
                   struct range *ret_populate);
int space_mincore(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                  unsigned char *ret_vec);
/* `sync` writes back [offsets) of a pager whose cache is mapped; without a lock. */
typedef int (*sync_pager)(struct uf_pager *pager, struct range offsets);
int space_msync(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                int flags, sync_pager sync);
/* But for MADV_POPULATE_*, which is fault_populate's. */
int space_madvise(struct uf_space *space, uintptr_t addr, size_t len_bytes,
                  int advice);

/* The range of a call that rounds as madvise does. -EINVAL, or 0 and
 * *ret_range, which may be empty. */
int map_range_check(uintptr_t addr, size_t len_bytes, struct range *ret_range);

/* ------------------------------------------------------ the moves -- */

/* The map lock for a change; unlocking updates gauges, checks the invariants
 * and, unlocked, lets go of pagers. */
void map_lock(struct uf_space *space);
void map_unlock(struct uf_space *space);

/* Pages in [range) that are mapped. */
size_t map_count_pages(const struct uf_space *space, struct range range);

/* The end of the mapping that *v is part of, as a program would tell: with its
 * neighbours that are alike (vma_are_alike). */
uintptr_t map_run_end(const struct uf_space *space, const struct vma *v);
/* The first of them. */
const struct vma *map_run_start(const struct uf_space *space,
                                const struct vma *v);

/* True if cutting `part` out of vma (or giving it other flags) stays within the
 * limit of mappings. */
bool map_may_split(const struct uf_space *space, const struct vma *vma,
                   struct range part);

/*
 * Unmaps [range): closes it in the host and takes it out of the set. 0 or
 * -errno, nothing changed. Requires: one change reserved in the set.
 */
int map_close_locked(struct uf_space *space, struct range range);

/* The set and the accounting get *what, whose memory the host has open.
 * Requires: one change reserved. */
void map_insert_locked(struct uf_space *space, const struct vma *what);

/*
 * [part), inside *vma, has the flags `flags` from now on; the host knows.
 * Requires: two changes reserved. The record of *vma may be gone after.
 */
void map_reflag_locked(struct uf_space *space, const struct vma *vma,
                       struct range part, uint32_t flags);

/* The contents of [part) are not what they were. */
static inline void map_note_changed(struct uf_space *space, struct range part)
{
    for (int who = 0; space->watched && who < SPACE_WATCHERS; who++)
        if (space->changed[who].words)
            resident_set(&space->changed[who], part);
}

/* The pages of [part) have gone: its bits, and what counts them. */
void map_forget_residency(struct uf_space *space, struct range part);

/* Makes the host's [part) of a VMA with these flags, which leaves it, as the
 * reservation is, but for its protection: empty, and without state of its own.
 * Forgets residency. False: that took a new mapping, which is closed. */
bool map_forget_pages_locked(struct uf_space *space, struct range part,
                             uint32_t flags);

/* Gives new memory of a VMA with these flags the state that the host keeps for
 * it beside its protection: locks and advice. 0 or -errno: in part. */
int map_give_state(struct uf_space *space, struct range part, uint32_t flags);

/* Takes it back. False: it cannot be, or only in part. */
bool map_take_state(struct uf_space *space, struct range part, uint32_t flags);

/* Makes [part) as reserved, whatever the host has there. */
void map_give_back(struct uf_space *space, struct range part);

/* True if [part) of it has such a state, or guards. */
bool map_has_state(const struct uf_space *space, const struct vma *vma,
                   struct range part);

/* Gives each VMA in [range) its own protection in the host again, after a
 * change of protection that failed half-way. */
void map_restore_protection(struct uf_space *space, struct range range);

/* ---------------------------------------------------------- place.c -- */

/* get_unmapped_area for MAP_* flags: the address, or -errno. `plain`: memory
 * without a file, which is aligned to huge pages where it fits. */
intptr_t map_place_locked(const struct uf_space *space, uintptr_t addr,
                          size_t len_bytes, int flags, bool plain);

/* ---------------------------------------------------------- stack.c -- */

/* The part of the map in which a change of [range) may move the limit that a
 * stack can grow to; called before the change */
struct range stack_hull_locked(const struct uf_space *space,
                               struct range range);
/* (empty without stacks); and this after it: opens what a touch may make a
 * stack grow to, closes what it may not. */
void stack_open_reach_locked(struct uf_space *space, struct range hull,
                             struct range changed);

/* Opens again what was closed when a limit kept a stack from growing: less is
 * mapped or locked now, or a limit is another. */
void stack_reconsider_locked(struct uf_space *space);

/*
 * A touch at addr, where nothing is mapped, in memory that the host has open:
 * grows the stack above down to it (expand_downwards). False: it may not, and
 * the page is closed, so that the touch is a SIGSEGV.
 */
bool stack_grow(struct uf_space *space, uintptr_t addr);

#endif
