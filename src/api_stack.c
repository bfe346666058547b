/* SPDX-License-Identifier: MIT */
/*
 * The stack that a call is made on may lie in a space. A new page of it is then
 * a fault, whose answer needs the locks that the call is about to take: so it is
 * touched before.
 */
#include "api.h"

/* How deep our frames go, with room to spare. */
#define STACK_BYTES ((size_t)16 << 10)

/* Touches what our frames will. */
__attribute__((noinline)) static void touch_stack(void)
{
    volatile char room[STACK_BYTES];

    for (size_t i = sizeof(room); i > 0; i -= 4096)
        room[i - 1] = 0;
    (void)room[0];
}

__attribute__((noinline)) static void touch_some(void)
{
    volatile char room[1024];

    room[0] = 0;
    (void)room[0];
}

bool api_is_live(const struct uf_space *space)
{
    if (!space_is_live(space))
        return false;
    if (range_contains(space->region.range,
                       (uintptr_t)__builtin_frame_address(0)))
        touch_stack();
    return true;
}

void api_prepare_stack(struct uf_engine *engine)
{
    struct uf_space *space;

    touch_some(); /* for the look-up itself */
    space = engine_pin_space(engine, (uintptr_t)__builtin_frame_address(0));
    if (space) {
        space_unpin(space);
        touch_stack();
    }
}
