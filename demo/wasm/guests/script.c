/* SPDX-License-Identifier: MIT */
/*
 * script: Lua. The request is a program, what it returns is the answer. When
 * warm the interpreter has loaded a library of its own: a table of squares.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "guest.h"

static lua_State *lua;

static const char library[] =
    "squares = {} for i = 1, 20000 do squares[i] = i * i end\n"
    "visits = 0\n"
    "function visit() visits = visits + 1 return visits end\n";

void warm(void)
{
    lua = luaL_newstate();
    if (!lua)
        abort();
    luaL_requiref(lua, "_G", luaopen_base, 1);
    luaL_requiref(lua, "string", luaopen_string, 1);
    luaL_requiref(lua, "table", luaopen_table, 1);
    luaL_requiref(lua, "math", luaopen_math, 1);
    lua_settop(lua, 0);
    if (luaL_dostring(lua, library) != LUA_OK)
        abort();
    lua_gc(lua, LUA_GCCOLLECT, 0);
}

void serve(void)
{
    static char program[65536];
    size_t len = request(program, sizeof(program));
    const char *text;

    if (luaL_loadbuffer(lua, program, len, "=request") == LUA_OK)
        lua_pcall(lua, 0, 1, 0);
    text = luaL_tolstring(lua, -1, &len);
    answer(text, len);
}
