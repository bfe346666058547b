/* SPDX-License-Identifier: MIT */
/* See vma.h. */
#include "mm/vma.h"

#include "base/check.h"
#include "pager/pager.h"

bool vma_can_merge(const struct vma *left, const struct vma *right)
{
    CHECK(left->end == right->start);
    if (left->prot != right->prot || left->flags != right->flags ||
        left->pager != right->pager)
        return false;
    return !pager_uses_offsets(left->pager) ||
           left->offset + (left->end - left->start) == right->offset;
}
