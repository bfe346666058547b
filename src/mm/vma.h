/* SPDX-License-Identifier: MIT */
/*
 * vma: one mapping of a space, as struct vm_area_struct is one of a process.
 *
 * Plain data: no system call, thread or lock is behind it. A VMA holds one
 * reference on its pager. Two neighbours are one VMA in all but name when
 * vma_can_merge says so; the set (vma_set.h) keeps them joined.
 */
#ifndef UF_MM_VMA_H
#define UF_MM_VMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct uf_pager;

/* vma.flags, as VM_* are in the kernel. */
#define VMA_HEAP   0x1u /* made by uf_brk; shown as [heap] */
#define VMA_LOCKED 0x2u /* populated when made, as under mlock */

struct vma {
    uintptr_t start; /* [start, end), whole pages */
    uintptr_t end;
    uint32_t prot;          /* PROT_READ | PROT_WRITE | PROT_EXEC, or 0 */
    uint32_t flags;         /* VMA_* */
    struct uf_pager *pager; /* never NULL in a set; one reference held */
    uint64_t offset;        /* pager's offset of `start`, in bytes */
    /* Changes whenever a page of this VMA may have been taken away, so that a
     * fill begun before can be known as stale. Not part of the identity. */
    uint64_t generation;
};

static inline struct range vma_range(const struct vma *vma)
{
    return (struct range){vma->start, vma->end};
}

/* The pager's offset of the byte at `addr`. Requires: addr in the VMA. */
static inline uint64_t vma_offset_at(const struct vma *vma, uintptr_t addr)
{
    return vma->offset + (addr - vma->start);
}

/* True if `right`, which begins where `left` ends, may become part of it:
 * equal protection, flags and pager, and contiguous offsets if the pager's
 * bytes depend on the offset (pager_uses_offsets). */
bool vma_can_merge(const struct vma *left, const struct vma *right);

#endif
