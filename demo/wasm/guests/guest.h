/* SPDX-License-Identifier: MIT */
/*
 * guest.h: what a guest of demo/wasm is. It is compiled for wasm32 and sees its
 * host through WASI alone: a request is its standard input, the answer its
 * standard output.
 *
 *     warm()    once: everything that all requests need; then an image is taken
 *     serve()   once for each request, in memory that is as warm() left it
 */
#ifndef DEMO_WASM_GUEST_H
#define DEMO_WASM_GUEST_H

#include <stddef.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

void warm(void);
void serve(void);

/* Reads all of the request, at most max_bytes; how much it was. */
size_t request(void *buffer, size_t max_bytes);
void answer(const void *bytes, size_t len_bytes);

/*
 * wasm has no longjmp. Two calls of the host do its work: attempt runs f(a, b),
 * and returns when that does or when it gives up.
 */
typedef void (*attempted)(void *a, void *b);
void attempt(attempted f, void *a, void *b);
_Noreturn void give_up(void);

#endif
