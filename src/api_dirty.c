/* SPDX-License-Identifier: MIT */
/* The functions of ufault/dirty.h. */
#include "ufault/dirty.h"

#include "api.h"
#include "fault/dirty.h"

int uf_dirty_start(struct uf_space *space)
{
    int err = api_may_call(space);

    return err ? err : dirty_start(space, WATCH_USER);
}

ssize_t uf_dirty_collect(struct uf_space *space, struct uf_range *ranges,
                         size_t max)
{
    int err = api_may_call(space);

    if (!err && (!ranges || max == 0))
        err = -EINVAL;
    return err ? err : dirty_collect(space, ranges, max);
}

int uf_dirty_stop(struct uf_space *space)
{
    int err = api_may_call(space);

    return err ? err : dirty_stop(space, WATCH_USER);
}

enum uf_dirty_kind uf_dirty_kind(struct uf_space *space)
{
    return api_is_live(space) ? dirty_kind(space) : UF_DIRTY_OFF;
}
