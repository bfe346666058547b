/* SPDX-License-Identifier: MIT */
/*
 * lua_jumps.h: how Lua's errors travel in a guest, by the hooks that ldo.c has
 * for it. Included before every file of Lua.
 */
#ifndef DEMO_WASM_LUA_JUMPS_H
#define DEMO_WASM_LUA_JUMPS_H

#include "guest.h"

#define luai_jmpbuf      int
#define LUAI_THROW(L, c) give_up()
/* In luaD_rawrunprotected, whose f and ud these are. */
#define LUAI_TRY(L, c, a) attempt((attempted)f, L, ud)

#endif
