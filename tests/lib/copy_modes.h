/* SPDX-License-Identifier: MIT */
/*
 * copy_modes: tests of user copies run in five modes: as nobody, with the best
 * tier and with USER_MODE_ONLY, and these two again guarded by uf_trap_install.
 */
#ifndef TESTS_LIB_COPY_MODES_H
#define TESTS_LIB_COPY_MODES_H

#include "lib/live.h"

#define MODE_PAGES 32

struct CMUnitTest;

/* Runs the tests in each mode that this machine has. 77, or how many failed. */
int modes_run(const struct CMUnitTest *tests, size_t ntests);

/* The name of the mode that is being run. */
const char *mode_name(void);

/* A space of the mode's tier with MODE_PAGES pages of heap, and its end. */
struct uf_space *mode_space(const struct uf_space_opts *opts);
void mode_destroy(struct uf_space *space);

/* One whose heap is paged by `p` (behave and arg are set), in windows of 4. */
struct uf_space *mode_pattern_space(struct live_pager *p);

/* The bytes are what the pattern has at `offset`. */
void mode_assert_pattern(const unsigned char *bytes, uint64_t offset,
                         size_t len_bytes);

/* All copies and populating of [addr, addr + len_bytes) are -EFAULT, behind the
 * first `good` bytes. */
void mode_assert_refused(struct uf_space *space, uintptr_t addr,
                         size_t len_bytes, size_t good);

#endif
