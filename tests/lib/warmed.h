/* SPDX-License-Identifier: MIT */
/*
 * warmed: a space with a heap and some mappings, half of whose pages hold
 * something, to be made a template or an image of; and things that a guest may
 * do to what comes of it. All assert.
 */
#ifndef TESTS_LIB_WARMED_H
#define TESTS_LIB_WARMED_H

#include <stddef.h>
#include <stdint.h>

#include "base/range.h"

struct uf_space;

#define WARMED_PAGES 512
#define WARMED_LEN   (WARMED_PAGES * page_size())
#define WARMED_HEAP  32 /* pages; behind them there is a gap, to page 64 */

/* One of WARMED_LEN bytes; what each page holds is put into `bytes`. */
struct uf_space *warmed_space(char *bytes);

/* Break and every byte are as they were, but those of PROT_NONE that are absent. */
void warmed_expect(struct uf_space *space, const char *bytes);
/* Those: made readable for a moment. */
void warmed_expect_closed(struct uf_space *space, const char *bytes);

/* Operations at random and a reset, after which everything is as it was, again
 * and again: UF_BUDGET of them, by the lot of UF_SEED. Some rounds only write,
 * as guests do: then nothing may be laid out anew. */
void warmed_try_resets(struct uf_space *space, const char *bytes);

/* The mappings as a text, without their addresses. */
struct warmed_maps {
    uintptr_t base;
    char text[4096];
    size_t len;
};

struct warmed_maps warmed_maps(struct uf_space *space);

/* Something that a guest may do. What it answers is nobody's business. */
void warmed_do(struct uf_space *space, uint64_t *seed);

uint64_t warmed_draw(uint64_t *state, uint64_t below);

#endif
