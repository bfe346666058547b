/* SPDX-License-Identifier: MIT */
/* See vma.h. */
#include "mm/vma.h"

#include "base/check.h"
#include "pager/pager.h"

static bool offsets_fit(const struct vma *left, const struct vma *right)
{
    return !pager_uses_offsets(left->pager) ||
           left->offset + (left->end - left->start) == right->offset;
}

bool vma_can_merge(const struct vma *left, const struct vma *right)
{
    CHECK(left->end == right->start);
    return left->flags == right->flags && left->pager == right->pager &&
           offsets_fit(left, right);
}

bool vma_are_alike(const struct vma *left, const struct vma *right)
{
    CHECK(left->end == right->start);
    return ((left->flags ^ right->flags) & ~VMA_MOVED) == 0 &&
           left->pager == right->pager && offsets_fit(left, right);
}
