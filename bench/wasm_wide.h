/* SPDX-License-Identifier: MIT */
/*
 * wasm_wide: the guest wasm_wide.c, in a pool, and in plain memory as a runtime
 * without one has it.
 */
#ifndef BENCH_WASM_WIDE_H
#define BENCH_WASM_WIDE_H

#include <stdbool.h>

#include "runtime.h"

/* Warms it up; false: it cannot be had here. */
bool wide_program(struct program *program);

/* Serves request n; the guest has memory. */
uint32_t wide_answer(struct guest *guest, uint32_t n);

/* A warmed guest in plain memory: `image` is what that holds. */
struct plain {
    struct guest guest;
    char *image;
    size_t len_bytes;
};

bool plain_open(struct plain *plain);
/* 8 GiB reserved, the memory at its begin open; NULL if that cannot be. */
char *plain_reserve(const struct plain *plain);
void plain_release(char *memory);
/* From now on the guest runs on this memory. */
void plain_point(struct plain *plain, char *memory);

#endif
