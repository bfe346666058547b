/* SPDX-License-Identifier: MIT */
/*
 * native.h: the same work by the native libraries, to compare with.
 */
#ifndef DEMO_WASM_NATIVE_H
#define DEMO_WASM_NATIVE_H

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_MAX ((size_t)256 << 10)

/* Makes request number n for one of the modules (runtime.h); its length. */
size_t native_request(int module, unsigned n, char *ret_request);

/* Is this the right answer to it? Thread-safe. */
bool native_agrees(int module, const char *request, size_t request_bytes,
                   const char *answer, size_t answer_bytes);

#endif
