/* SPDX-License-Identifier: MIT */
/* See vma.h. */
#include "mm/vma.h"

#include "base/check.h"
#include "pager/mapped.h"
#include "pager/pager.h"

/* Two mappings of one file have pagers of their own if they were made apart. */
static bool pagers_fit(const struct vma *left, const struct vma *right)
{
    return left->pager == right->pager ||
           ((left->flags & right->flags & VMA_HOST) &&
            pager_mapped_are_alike(left->pager, right->pager));
}

static bool offsets_fit(const struct vma *left, const struct vma *right)
{
    return !pager_uses_offsets(left->pager) ||
           left->offset + (left->end - left->start) == right->offset;
}

bool vma_can_merge(const struct vma *left, const struct vma *right)
{
    CHECK(left->end == right->start);
    return left->flags == right->flags && pagers_fit(left, right) &&
           offsets_fit(left, right);
}

bool vma_are_alike(const struct vma *left, const struct vma *right)
{
    CHECK(left->end == right->start);
    return ((left->flags ^ right->flags) & ~VMA_MOVED) == 0 &&
           pagers_fit(left, right) && offsets_fit(left, right);
}
