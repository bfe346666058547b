/* SPDX-License-Identifier: MIT */
/* api: what the files of public functions share. */
#ifndef UF_API_H
#define UF_API_H

#include <errno.h>

#include "fault/engine.h"

/* A handle that can be used; and the calling thread's stack can be, under the
 * locks of a call. Every call on a space begins with this. */
bool api_is_live(const struct uf_space *space);

/* The stack again, before locks of the engine are taken: it may lie in any of
 * the engine's spaces. */
void api_prepare_stack(struct uf_engine *engine);

/* 0, or why a call that may wait for faults is refused: -EINVAL no live space,
 * -EDEADLK a handler thread. */
static inline int api_may_call(const struct uf_space *space)
{
    if (!api_is_live(space))
        return -EINVAL;
    return engine_is_handler_thread() ? -EDEADLK : 0;
}

#endif
