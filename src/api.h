/* SPDX-License-Identifier: MIT */
/* api: what the files of public functions share. */
#ifndef UF_API_H
#define UF_API_H

#include <errno.h>

#include "fault/engine.h"

/* 0, or why a call that may wait for faults is refused: -EINVAL no live space,
 * -EDEADLK a handler thread. */
static inline int api_may_call(const struct uf_space *space)
{
    if (!space_is_live(space))
        return -EINVAL;
    return engine_is_handler_thread() ? -EDEADLK : 0;
}

#endif
