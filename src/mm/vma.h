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

/*
 * vma.flags, as VM_* are in the kernel; the low three are PROT_*. Two VMAs with
 * different flags never merge.
 */
#define VMA_READ  0x1u
#define VMA_WRITE 0x2u
#define VMA_EXEC  0x4u
#define VMA_PROT  0x7u

#define VMA_SHARED      0x10u    /* MAP_SHARED */
#define VMA_GROWSDOWN   0x20u    /* a stack: stack.c */
#define VMA_LOCKED      0x40u    /* mlock */
#define VMA_LOCKONFAULT 0x80u    /* as touched */
#define VMA_NORESERVE   0x100u   /* MAP_NORESERVE */
#define VMA_SEQ_READ    0x200u   /* MADV_SEQUENTIAL */
#define VMA_RAND_READ   0x400u   /* MADV_RANDOM */
#define VMA_DONTCOPY    0x800u   /* MADV_DONTFORK */
#define VMA_WIPEONFORK  0x1000u  /* MADV_WIPEONFORK */
#define VMA_DONTDUMP    0x2000u  /* MADV_DONTDUMP */
#define VMA_HUGEPAGE    0x4000u  /* MADV_HUGEPAGE */
#define VMA_NOHUGEPAGE  0x8000u  /* MADV_NOHUGEPAGE, MAP_STACK */
#define VMA_MERGEABLE   0x10000u /* MADV_MERGEABLE */
/* The kernel serves it: a file, or anonymous shared memory. Its pager names the
 * descriptor and is never asked for a page (pager/mapped.h). */
#define VMA_HOST 0x20000u
/* mremap brought it here: the host's VMA is not the reservation's. */
#define VMA_MOVED 0x40000u
/* With VMA_HOST and VMA_SHARED: the host maps the cache of its pager there
 * (pager/cache.h), and what that has not is a fault of ours: shared.h. */
#define VMA_CACHE 0x80000u

#define VMA_LOCK_MASK (VMA_LOCKED | VMA_LOCKONFAULT)

/* Flags that the host's own VMA carries too, so that a range must be reserved
 * anew before it can be anything else. */
#define VMA_ON_HOST                                                            \
    (VMA_HOST | VMA_MOVED | VMA_LOCK_MASK | VMA_DONTCOPY | VMA_WIPEONFORK |    \
     VMA_DONTDUMP | VMA_HUGEPAGE | VMA_NOHUGEPAGE | VMA_MERGEABLE)
/* Of these, what the host's VMA cannot lose again. */
#define VMA_STATE_FOR_GOOD                                                     \
    (VMA_HOST | VMA_MOVED | VMA_HUGEPAGE | VMA_NOHUGEPAGE)

struct vma {
    uintptr_t start; /* [start, end), whole pages */
    uintptr_t end;
    uint32_t flags;         /* VMA_* */
    struct uf_pager *pager; /* never NULL in a set; one reference held */
    uint64_t offset;        /* pager's offset of `start`, in bytes */
    /* Changes whenever a page of this VMA may have been taken away, so that a
     * fill begun before can be known as stale. Not part of the identity. */
    uint64_t generation;
};

static inline int vma_prot(const struct vma *vma)
{
    return (int)(vma->flags & VMA_PROT);
}

/* True if the kernel alone answers touches of such a VMA. */
static inline bool vma_flags_by_kernel(uint32_t flags)
{
    return (flags & (VMA_HOST | VMA_CACHE)) == VMA_HOST;
}

static inline struct range vma_range(const struct vma *vma)
{
    return (struct range){vma->start, vma->end};
}

/* The pager's offset of the byte at `addr`. Requires: addr in the VMA. */
static inline uint64_t vma_offset_at(const struct vma *vma, uintptr_t addr)
{
    return vma->offset + (addr - vma->start);
}

/* True if `right`, which begins where `left` ends, may become part of it: equal
 * flags and pager, and contiguous offsets if the pager's bytes depend on the
 * offset (pager_uses_offsets). The kernel also keeps apart what was written to
 * before it met (anon_vma); a space does not. */
bool vma_can_merge(const struct vma *left, const struct vma *right);

/* True if both are one mapping but for how the host came by them: what one call
 * of mremap may treat as one. Requires: right begins where left ends. */
bool vma_are_alike(const struct vma *left, const struct vma *right);

#endif
