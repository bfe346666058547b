/* SPDX-License-Identifier: MIT */
/*
 * A guest of demo/wasm with a table of 63 MiB, filled when it is warm. A request
 * reads 1 MiB of it, a word of each 64 bytes, in blocks far from each other, and
 * writes one page in each block: 64 KiB.
 */
#include <stdint.h>

#include "guest.h"

#define BLOCK_BYTES  65536
#define BLOCKS       1008
#define BLOCKS_READ  16
#define PAGE_BYTES   4096
#define STRIDE_WORDS 8

static uint64_t table[BLOCKS * BLOCK_BYTES / sizeof(uint64_t)];

void warm(void)
{
    for (uint64_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        table[i] = i * 0x9e3779b97f4a7c15u | 1;
}

/* The same without WASI, for a guest in memory that is no space. */
EXPORT(touch) uint32_t touch(uint32_t n)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < BLOCKS_READ; k++) {
        uint32_t block = (n * 37 + k * 61) % BLOCKS;
        uint64_t *words = table + block * (BLOCK_BYTES / sizeof(uint64_t));

        for (uint32_t i = 0; i < BLOCK_BYTES / 8; i += STRIDE_WORDS)
            sum += words[i];
        for (uint32_t i = 0; i < PAGE_BYTES / 8; i += STRIDE_WORDS)
            words[i] = sum;
    }
    return (uint32_t)(sum >> 32);
}

void serve(void)
{
    uint32_t n = 0;

    request(&n, sizeof(n));
    n = touch(n);
    answer(&n, sizeof(n));
}
