/* SPDX-License-Identifier: MIT */
/* ways: spaces of which the kernel keeps the record of what is written, as it
 * does today, or does not, as an older one. All assert. */
#ifndef TESTS_LIB_WAYS_H
#define TESTS_LIB_WAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ufault/ufault.h"

enum way {
    WAY_ASYNC,
    WAY_SYNC,
    WAYS,               /* in which writes are noticed */
    WAY_COMPARE = WAYS, /* nothing can be protected */
    ALL_WAYS
};

extern bool ways_are_here[ALL_WAYS];

/* In main, after live_begin: 0, or 77 and the reason on stdout. */
int ways_begin(void);

/* An engine of the kind under test, and a space with one of its own; the engine
 * goes with ways_end. */
struct uf_engine *ways_engine(enum way way, uint32_t ndescriptors);
struct uf_space *ways_space(enum way way, struct uf_space_opts *opts,
                            size_t npages);
void ways_end(struct uf_space *space);

#endif
