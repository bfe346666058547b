/* SPDX-License-Identifier: MIT */
/*
 * native.c: requests, and what libxxhash, liblzo2 and Lua 5.4 answer to them.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <lzo/lzo1x.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "native.h"
#include "runtime.h"

#define KEY_BYTES 65536

/* As guests/hash.c makes it. */
static void make_key(unsigned char *key)
{
    for (uint32_t i = 0; i < KEY_BYTES; i += sizeof(XXH64_hash_t)) {
        XXH64_hash_t h = XXH64(&i, sizeof(i), 7);

        memcpy(key + i, &h, sizeof(h));
    }
}

static bool hash_agrees(const char *request, size_t request_bytes,
                        const char *answer, size_t answer_bytes)
{
    static _Thread_local unsigned char key[KEY_BYTES];
    char text[17];

    if (key[0] == 0)
        make_key(key);
    snprintf(text, sizeof(text), "%016llx",
             (unsigned long long)XXH3_64bits_withSecret(request, request_bytes,
                                                        key, KEY_BYTES));
    return answer_bytes == 16 && memcmp(text, answer, 16) == 0;
}

static bool compress_agrees(const char *request, size_t request_bytes,
                            const char *answer, size_t answer_bytes)
{
    unsigned char *plain = malloc(REQUEST_MAX);
    lzo_uint n = REQUEST_MAX;
    bool same;

    same = plain &&
           lzo1x_decompress_safe((const unsigned char *)answer, answer_bytes,
                                 plain, &n, NULL) == LZO_E_OK &&
           n == request_bytes - 1 && memcmp(plain, request + 1, n) == 0;
    free(plain);
    return same && answer_bytes < request_bytes;
}

/* As guests/script.c has it. */
static const char library[] =
    "squares = {} for i = 1, 20000 do squares[i] = i * i end\n"
    "function visit() visits = visits + 1 return visits end\n";

static bool script_agrees(const char *request, size_t request_bytes,
                          const char *answer, size_t answer_bytes)
{
    lua_State *lua = luaL_newstate();
    const char *text;
    size_t len;
    bool same;

    if (!lua)
        return false;
    luaL_openlibs(lua);
    if (luaL_dostring(lua, library) != LUA_OK)
        return false;
    lua_pushinteger(lua, 0);
    lua_setglobal(lua, "visits");
    if (luaL_loadbuffer(lua, request, request_bytes, "=request") == LUA_OK)
        lua_pcall(lua, 0, 1, 0);
    text = luaL_tolstring(lua, -1, &len);
    same = len == answer_bytes && memcmp(text, answer, len) == 0;
    lua_close(lua);
    return same;
}

/* Words, so that there is something to compress. */
static size_t words(unsigned n, char *ret, size_t len_bytes)
{
    static const char *const list[] = {"page ",  "fault ", "guest ", "space ",
                                       "break ", "image ", "clone ", "trap\n"};
    size_t at = 0;

    while (at < len_bytes) {
        n = n * 1664525u + 1013904223u;
        at += (size_t)snprintf(ret + at, REQUEST_MAX - at, "%s", list[n >> 29]);
    }
    return at;
}

size_t native_request(int module, unsigned n, char *ret_request)
{
    switch (module) {
    case MODULE_HASH:
        return words(n, ret_request, 20000 + n % 100 * 1000);
    case MODULE_COMPRESS:
        ret_request[0] = '+';
        return 1 + words(n, ret_request + 1, 10000 + n % 100 * 500);
    default:
        return (size_t)snprintf(
            ret_request, REQUEST_MAX,
            n % 10 == 9
                ? "visit() error('no ' .. %u, 0)"
                : "local s, t = 0, {} for i = 1, 500 do s = s + squares[%u + i]"
                  " t[i] = 'n' .. s end return visit() .. ' ' .. t[500]",
            n % 19000);
    }
}

bool native_agrees(int module, const char *request, size_t request_bytes,
                   const char *answer, size_t answer_bytes)
{
    switch (module) {
    case MODULE_HASH:
        return hash_agrees(request, request_bytes, answer, answer_bytes);
    case MODULE_COMPRESS:
        return compress_agrees(request, request_bytes, answer, answer_bytes);
    default:
        return script_agrees(request, request_bytes, answer, answer_bytes);
    }
}
