/* SPDX-License-Identifier: MIT */
/*
 * evil: a guest that tries what a guest must not; the request's first letter
 * says what.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define WASM_PAGE 65536

static char kept[256];
static char *heap;
static volatile unsigned zero;

void warm(void)
{
    heap = malloc(300000);
    memset(heap, 1, 300000);
}

/* Leaves what it was told in every kind of memory that it has. */
static void keep(const char *secret)
{
    char stack[4096];

    strcpy(stack + 1000, secret);
    strcpy(kept, stack + 1000);
    strcpy(heap + 100000, secret);
    strcpy(malloc(500000), secret);
    strcpy((char *)(__builtin_wasm_memory_grow(0, 1) * WASM_PAGE), secret);
}

/* Asks for memory until it gets none; how many pages it has then. */
static void grow(void)
{
    char text[32];

    while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1)
        ;
    snprintf(text, sizeof(text), "%zu pages", __builtin_wasm_memory_size(0));
    answer(text, strlen(text));
}

/* Has the host read, and write, where nothing is. */
static void deceive(void)
{
    ssize_t n = write(1, (void *)0xfffff000, 4096);
    ssize_t m = read(0, (void *)0xfffff000, 1);

    answer(n < 0 && m < 0 ? "refused" : "served", n < 0 && m < 0 ? 7 : 6);
}

/* Takes of the stack that the host runs it on. */
static unsigned descend(unsigned depth)
{
    unsigned below = descend(depth + 1);

    return below + zero;
}

/* Takes of the stack in its own memory, whose end is address 0. */
static unsigned descend_with(volatile unsigned *above)
{
    volatile unsigned here[100] = {*above};

    return descend_with(here) + here[0];
}

void serve(void)
{
    char text[256] = "";

    request(text, sizeof(text) - 1);
    switch (text[0]) {
    case 'k':
        keep(text + 1);
        break;
    case 'r': /* beyond what it has */
        answer((char *)(__builtin_wasm_memory_size(0) * WASM_PAGE) - 1, 1);
        kept[0] =
            ((volatile char *)(__builtin_wasm_memory_size(0) * WASM_PAGE))[0];
        break;
    case 'w': /* far away */
        *(volatile char *)0xfffffff0 = 1;
        break;
    case 'g':
        grow();
        break;
    case 'd':
        kept[0] = (char)descend(0);
        break;
    case 's':
        kept[0] = (char)descend_with(&zero);
        break;
    case 'h':
        deceive();
        break;
    case 'z':
        kept[0] = (char)((unsigned)kept[1] / zero);
        break;
    case 'c': /* a function that there is not */
        ((void (*)(void))(size_t)(100000 + zero))();
        break;
    case 'x':
        _Exit(3);
    }
}
