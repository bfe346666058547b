/* SPDX-License-Identifier: MIT */
/*
 * recording: which pages of a space are touched, in the order of their first
 * touch.
 *
 * Noted where a page goes in for somebody (fault.c), under the shared map lock;
 * begun and ended under the exclusive one. So when it has ended nobody notes
 * any more. One bit a page says that it was noted, and a list that can hold
 * every page, touched as it grows, keeps the order: nothing is allocated on the
 * fault path (invariant 4).
 */
#ifndef UF_FAULT_RECORDING_H
#define UF_FAULT_RECORDING_H

#include "mm/space.h"

/* Pages that a recording can hold: 256 GiB of 4 KiB. */
#define RECORDING_PAGES_MAX ((size_t)1 << 26)

struct uf_working_set;

/* Bodies of the public functions. Requires: no lock held. */
int recording_start(struct uf_space *space);
int recording_stop(struct uf_space *space, struct uf_working_set **ret_set);

/* The page of addr was touched, and came. Requires: map lock; recording. */
void recording_note(struct recording *recording, uintptr_t addr);

/* The space goes; or its forked child forgets. */
void recording_free(struct uf_space *space);

#endif
