/* SPDX-License-Identifier: MIT */
/*
 * region: the stretch of host address space behind a space, and the only
 * callers of mmap, mprotect and madvise on managed memory.
 *
 * Two kinds, one interface:
 *
 *   RESERVED  [base ......................... end)   one mmap, PROT_NONE and
 *             [open RW][closed PROT_NONE ........)   NORESERVE, registered
 *     open = mprotect(RW); close = mprotect(NONE) + MADV_DONTNEED. What is not
 *     open is a SIGSEGV from the kernel, needing no code of ours. A part that
 *     the host gave a state of its own (a file, a lock, advice, a move) is
 *     reserved and registered anew when it goes (region_renew).
 *
 *   NATIVE    [start_brk ... mapped ...)  nothing
 *     the process's own heap, where the kernel would have it: open =
 *     mmap(NOREPLACE) + register; close = munmap. Nothing is reserved, so address-space limits, msync and mincore
 *     above the break, and other mappings in the way mean what they natively
 *     do. For `ufault run`. Never MAP_FIXED, which would replace silently.
 */
#ifndef UF_HOST_REGION_H
#define UF_HOST_REGION_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/range.h"
#include "host/uffd.h"

enum region_kind { REGION_RESERVED, REGION_NATIVE };

struct region {
    enum region_kind kind;
    bool dontfork; /* region_dontfork was called: holds for new pieces too */
    bool huge;     /* region_prefer_huge was called: the same */
    bool tracked;  /* register so that writes can be noticed: the same */
    struct range range;
    struct uffd *uffd; /* NULL while served by nobody (new, or forked) */
    /* Hull of what could not be reserved or registered again. It is closed, and
     * tried again before it is opened. Nearly always empty. */
    struct range lost;
};

/* Reserves len_bytes at `address` (0: anywhere). 0, -EEXIST (taken), -ENOMEM,
 * or the errno of mmap(2). */
int region_reserve(struct region *region, uintptr_t address, size_t len_bytes);

/* A NATIVE region over [range); maps nothing. */
void region_native(struct region *region, struct range range);

/* Unmaps all of it. */
void region_release(struct region *region);

/* Makes [part) readable and writable / gone. 0 or -errno, nothing changed.
 * Requires: page-aligned, inside; close: all of it is open. */
int region_open(struct region *region, struct range part);
int region_close(struct region *region, struct range part);

/* ---- RESERVED regions only ---- */

/* The protection of [part), PROT_*. 0 or -errno; after an error the protection
 * of each page is the old or the new one. */
int region_protect(struct region *region, struct range part, int prot);

/*
 * Makes [part) as new: reserved, closed, empty, registered, whatever was there.
 * 0 or -errno; after an error it is closed all the same, and will be tried
 * again when it is opened. Requires: closed already by region_protect, since a
 * touch between two steps must find nothing.
 */
int region_renew(struct region *region, struct range part);

/* What of [part), which is to be opened, region_renew could not do is done now.
 * Its contents go. 0 or -errno. */
int region_recover(struct region *region, struct range part);

/* Maps a descriptor over [part): the kernel serves it. 0 or -errno: as before
 * (kernels before 6.12: perhaps empty and closed). */
int region_map_fd(struct region *region, struct range part, int prot, int flags,
                  int fd, off_t offset_bytes);

/*
 * Moves the pages of [from) to [to.start ...), which becomes one with what
 * mremap(2) moves, and is registered: its protection is that of `from`, whose
 * own mapping stays, empty. 0 or -errno, nothing changed but that [to) is to be
 * renewed. Requires: equal lengths, no overlap; both are closed.
 */
int region_move(struct region *region, struct range from, struct range to);

/* The same for what the kernel serves. */
int region_move_served(struct region *region, struct range from,
                       struct range to);

/* And longer at its new place. */
int region_move_longer(struct region *region, struct range from,
                       struct range to);

/* A second mapping of the shared memory at `from`, at [to). */
int region_copy_shared(struct region *region, uintptr_t from, struct range to);

/* Lengthens what the kernel serves from old_len to [whole), over the closed
 * reservation. 0 or -errno; -EEXIST: a mapping of another thread's has got into
 * [whole) beyond old_len. */
int region_lengthen(struct region *region, struct range whole, size_t old_len,
                    bool shared);

/* MADV_DONTFORK on a new piece of a region that has it. */
int region_keep_from_children(const struct region *region, struct range part);

/* Registers [part) with the region's userfaultfd, if it has one. */
int region_register(struct region *region, struct range part);

/* The same for shared memory there; `protectable`: so that its pages can be
 * protected, there or not. */
int region_register_shared(struct region *region, struct range part,
                           bool protectable);

/* madvise(2) with an advice that changes nothing we count. 0 or -errno. */
int region_advise(struct region *region, struct range part, int advice);

/* Pins pages of [part) as they come (mlock2(2), MLOCK_ONFAULT), or no more. */
int region_lock(struct region *region, struct range part, bool locked);

/* msync(2) of a part that maps a file. */
int region_sync(struct region *region, struct range part, int flags);

/* Forgets the contents of [part) (MADV_DONTNEED). 0 or -errno. */
int region_drop(struct region *region, struct range part);

/* Makes touches of [part) a SIGSEGV: the last resort where the kernel has no
 * UFFDIO_POISON. 0 or -errno. */
int region_forbid(struct region *region, struct range part);

/* Keeps the region out of forked children (MADV_DONTFORK). 0 or -errno. */
int region_dontfork(struct region *region);

/*
 * MADV_HUGEPAGE on the whole region, as far as the kernel knows of it. A touch
 * then leaves no table of small pages behind while it waits for its page, in
 * whose place no huge page could be moved. Requires: new, nothing is open.
 */
void region_prefer_huge(struct region *region);

/* One byte per page of [part): bit 0 set if resident (mincore(2)). 0 or
 * -errno. */
int region_residency(struct range part, unsigned char *ret_vec);

#endif
