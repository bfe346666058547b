/* SPDX-License-Identifier: MIT */
/* See freeze.h. */
#include "fault/freeze.h"

#include <errno.h>
#include <sys/mman.h>

/* What the guest's advice keeps out of children, or is kept out no more. */
static int keep_out(struct uf_space *space, bool out)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);
    int err = 0;

    for (; v; v = vma_set_next(&space->vmas, v)) {
        struct range part = vma_range(v);

        if ((v->flags & VMA_DONTCOPY) && !space->region.dontfork &&
            region_advise(&space->region, part,
                          out ? MADV_DONTFORK : MADV_DOFORK) != 0)
            err = -ENOMEM;
        if ((v->flags & VMA_WIPEONFORK) &&
            region_advise(&space->region, part,
                          out ? MADV_WIPEONFORK : MADV_KEEPONFORK) != 0)
            err = -ENOMEM;
    }
    if (space->region.dontfork &&
        region_advise(&space->region, space->region.range,
                      out ? MADV_DONTFORK : MADV_DOFORK) != 0)
        err = -ENOMEM;
    return err;
}

int freeze_locked(struct uf_space *space, struct frozen *ret)
{
    int err = keep_out(space, false), undone;

    if (!err)
        err = frozen_take(ret);
    undone = keep_out(space, true);
    if (!err && undone) {
        frozen_end(ret);
        err = undone;
    }
    return err;
}
