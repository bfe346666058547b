/* SPDX-License-Identifier: MIT */
/*
 * lua-sandbox: an interpreter that is warmed up once, and as new for each
 * request.
 *
 *     lua_newstate, libraries, a table ─► image ─► request 1: pages it touches
 *       (all of it in one space)                ├► request 2: ...
 *                                               └► at one address, one at a time
 *
 * Lua asks one function for all its memory, so all its memory can be a space:
 * even what the allocator knows lies there, and comes and goes with it. A state
 * is full of pointers: its clones must lie where it lay, so a process has one of
 * them at a time (wasm guests have offsets, and no such limit: demo/wasm).
 * Pointers to C functions are in it too, which only this process can follow.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ufault/image.h"
#include "ufault/template.h"
#include "ufault/ufault.h"

#define CHECK(cond)                                                            \
    ((cond) ? (void)0 : (fprintf(stderr, "not true: %s\n", #cond), exit(1)))

/* A place that the kernel would choose for nothing else: nobody takes it
 * between two clones. */
#define ADDRESS       ((uintptr_t)0x7e9000000000)
#define LIMIT         ((uint64_t)8 << 20)
#define REQUESTS      3000
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char library[] =
    "words = {} for i = 1, 20000 do words[i] = 'word ' .. i end "
    "function word(i) return words[i] end";

/* At the base of the space: free blocks of 16 << i bytes. */
struct heap {
    struct uf_space *space;
    struct block {
        struct block *next;
    } * free[48];
};

/* lua_Alloc. Lua tells how large a block was, so none has a header. */
static void *lua_memory(void *data, void *block, size_t had, size_t want)
{
    struct heap *heap = data;
    size_t class = 0, old = 0;
    struct block *b;

    while (((size_t)16 << old) < had)
        old++;
    while (((size_t)16 << class) < want)
        class ++;
    if (block && want && class == old)
        return block;
    b = want ? heap->free[class] : NULL;
    if (b)
        heap->free[class] = b->next;
    else if (want)
        b = (struct block *)uf_sbrk(heap->space, (intptr_t)16 << class);
    if ((intptr_t)b < 0)
        return NULL; /* over the limit: Lua collects, then raises an error */
    if (block && want)
        memcpy(b, block, had < want ? had : want);
    if (block) {
        ((struct block *)block)->next = heap->free[old];
        heap->free[old] = block;
    }
    return b;
}

static lua_State *warm_up(struct uf_space *space)
{
    struct heap *heap = (struct heap *)uf_sbrk(space, sizeof(*heap) + 112);
    lua_State *lua;

    heap->space = space;
    lua = lua_newstate(lua_memory, heap);
    CHECK(lua);
    luaL_openlibs(lua);
    CHECK(luaL_dostring(lua, library) == LUA_OK);
    lua_gc(lua, LUA_GCCOLLECT);
    return lua;
}

/* The state has just come back, in another space, as its allocator is told. */
static void serve(struct uf_space *space, lua_State *lua,
                  const char *const request[2])
{
    ((struct heap *)uf_space_base(space))->space = space;
    (void)luaL_dostring(lua, request[0]);
    CHECK(lua_isstring(lua, -1));
    CHECK(strcmp(lua_tostring(lua, -1), request[1]) == 0);
}

int main(void)
{
    static const char *const requests[][2] = {
        {"return word(20000)", "word 20000"},
        {"secret = 'x' return secret", "x"},
        {"return tostring(secret)", "nil"},
        {"while true do words[#words + 1] = {} end", "not enough memory"},
        {"return #words", "20000"},
    };
    char path[] = "/tmp/ufault-lua.XXXXXX";
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .address = ADDRESS,
                                 .len_bytes = (size_t)64 << 20,
                                 .limit_data = LIMIT};
    struct uf_stats s = {.size = sizeof(s)};
    struct uf_template *template;
    struct uf_image *image;
    struct uf_space *space;
    lua_State *lua;
    clock_t begun;

    if (uf_engine_create(NULL, &opts.engine) != 0)
        return 77; /* `ufault probe` says why */
    CHECK(uf_space_create(&opts, &space) == 0);
    lua = warm_up(space);
    CHECK(close(mkstemp(path)) == 0 && uf_image_save(space, path, NULL) == 0);
    CHECK(uf_space_destroy(space) == 0);

    puts("each in a new space, brought back from the image as it is touched:");
    CHECK(uf_image_open(path, &image) == 0 && unlink(path) == 0);
    for (size_t i = 0; i < LENGTH(requests); i++) {
        CHECK(uf_space_from_image(image, &opts, &space) == 0);
        serve(space, lua, requests[i]);
        CHECK(uf_space_stats(space, &s) == 0);
        printf("%-43s %-18s %4zu of %zu pages\n", requests[i][0],
               requests[i][1], (size_t)s.pages_installed, (size_t)s.total_vm);
        CHECK(uf_space_destroy(space) == 0);
    }

    /* The same without a file: one clone of a template, put back each time. */
    CHECK(uf_space_from_image(image, &opts, &space) == 0);
    CHECK(uf_template_create(space, &template) == 0);
    CHECK(uf_space_destroy(space) == 0);
    CHECK(uf_space_from_template(template, &opts, &space) == 0);
    begun = clock();
    for (int i = 0; i < REQUESTS; i++) {
        serve(space, lua, requests[i % 3]);
        CHECK(uf_space_reset(space) == 0);
    }
    printf("\n%d requests in one clone, put back after each: %.0f us each\n",
           REQUESTS, (double)(clock() - begun) / REQUESTS);
    uf_space_destroy(space);
    uf_template_unref(template);
    uf_image_close(image);
    return uf_engine_destroy(opts.engine) == 0 ? 0 : 1;
}
