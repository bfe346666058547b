/* SPDX-License-Identifier: MIT */
/*
 * region: the stretch of host address space behind a space, and the only
 * callers of mmap, mprotect and madvise on managed memory.
 *
 * Two kinds, one interface:
 *
 *   RESERVED  [base ......................... end)   one mmap, PROT_NONE,
 * NORESERVE [open RW][closed PROT_NONE ........)   registered once, as a whole
 *     open = mprotect(RW); close = mprotect(NONE) + MADV_DONTNEED. What is not
 *     open is a SIGSEGV from the kernel, needing no code of ours.
 *
 *   NATIVE    [start_brk ... mapped ...)  nothing   the process's own heap,
 * where the kernel would have it: open = mmap(NOREPLACE) + register; close =
 *     munmap. Nothing is reserved, so address-space limits, msync and mincore
 *     above the break, and other mappings in the way mean what they natively
 *     do. For `ufault run`. Never MAP_FIXED, which would replace silently.
 */
#ifndef UF_HOST_REGION_H
#define UF_HOST_REGION_H

#include "base/range.h"
#include "host/uffd.h"

enum region_kind { REGION_RESERVED, REGION_NATIVE };

struct region {
    enum region_kind kind;
    struct range range;
    struct uffd *uffd; /* NULL while served by nobody (new, or forked) */
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

/* Forgets the contents of [part) (MADV_DONTNEED). 0 or -errno. */
int region_drop(struct region *region, struct range part);

/* Makes touches of [part) a SIGSEGV: the last resort where the kernel has no
 * UFFDIO_POISON. 0 or -errno. */
int region_forbid(struct region *region, struct range part);

/* Keeps the region out of forked children (MADV_DONTFORK). 0 or -errno. */
int region_dontfork(struct region *region);

/* One byte per page of [part): bit 0 set if resident (mincore(2)). 0 or
 * -errno. */
int region_residency(struct range part, unsigned char *ret_vec);

#endif
