/* SPDX-License-Identifier: MIT */
/*
 * huge_space: spaces with the huge policy, seen in blocks of 2 MiB.
 */
#ifndef TESTS_LIVE_HUGE_SPACE_H
#define TESTS_LIVE_HUGE_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ufault/ufault.h"

#define HUGE  ((size_t)2 << 20)
#define BLOCK 512 /* pages */

/* First in main: 0, or 77 and the reason on stdout. */
int huge_begin(void);

/* A space of 64 MiB at a multiple of 2 MiB, its heap of npages. Asserts. */
struct uf_space *huge_space_with(uint32_t flags, enum uf_fork fork,
                                 struct uf_engine *engine, size_t npages);

/* With UF_SPACE_HUGE, and an engine of its own. */
struct uf_space *huge_space(size_t nblocks);

/* Waits until the pool has n ready. */
void huge_await_ready(struct uf_space *space, size_t n);

/* Where the space's block n begins. */
uintptr_t huge_block(struct uf_space *space, size_t n);

unsigned char huge_get(uintptr_t addr);
void huge_set(uintptr_t addr, unsigned char byte);
bool huge_is_zero(uintptr_t start, size_t len_bytes);

/* Huge pages of the space's first nblocks, as the kernel says. */
size_t huge_count_kernels(struct uf_space *space, size_t nblocks);

/* When nothing is pending; checks the law of ufault/stats.h. Asserts. */
void huge_destroy(struct uf_space *space);

/* What is counted, and that mincore(2) agrees. Asserts. */
void huge_assert_counts(struct uf_space *space, size_t installed,
                        size_t fallback, size_t resident);

#endif
