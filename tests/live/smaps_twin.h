/* SPDX-License-Identifier: MIT */
/*
 * smaps_twin: the same random calls of the mmap family and the same touches, on
 * a space (windows of one page) and on plain mappings of this process.
 *
 *     struct twin *t = twin_make(seed);
 *     twin_do_any(t);      one call or touch on both; asserts equal answers
 *     ...                  now /proc and the space must say the same
 */
#ifndef TESTS_LIVE_SMAPS_TWIN_H
#define TESTS_LIVE_SMAPS_TWIN_H

#include <stdbool.h>

#include "lib/sides.h"

#define TWIN_PAGES 256

enum { OURS, THEIRS };

struct twin {
    struct side sides[2];
    int fds[2];           /* a memfd each */
    int prot[TWIN_PAGES]; /* of what is mapped; else -1 */
    bool may_blur; /* MADV_FREE and MADV_COLD, too: then pages are not alike */
    unsigned long random;
};

/* Asserts. */
struct twin *twin_make(unsigned long seed);
void twin_destroy(struct twin *twin);

struct twin_part {
    unsigned first;
    unsigned npages;
};

uintptr_t twin_addr(const struct twin *twin, int side, struct twin_part part);

/* A random mapping, MAP_FIXED; a random touch of what is mapped of the part;
 * any call or touch. */
void twin_mmap(struct twin *twin, struct twin_part part);
void twin_touch(struct twin *twin, struct twin_part part);
void twin_do_any(struct twin *twin);

/* Says that both have mapped the part so. */
void twin_note(struct twin *twin, struct twin_part part, int prot);

#endif
