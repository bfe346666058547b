/* SPDX-License-Identifier: MIT */
/*
 * copy: user copies. Memory of a guest is read and written for the guest, with
 * -EFAULT where the guest would get a signal.
 *
 *      ┌─► look: mapped, allowed, resident? ── no mapping, forbidden ─► -EFAULT
 *      │     │ so many bytes are ready            │ absent
 *      │     ▼                                    ▼
 *      │   copy, without a lock               bring in ─── refused ──► -EFAULT
 *      │     │ all, or some                       │
 *      └─────┴────────────────────────────────────┘
 *
 * The look is only to bring in what is absent, and to refuse what the mapping
 * forbids: what makes the copy safe is the way it is made (host/copy.h), since
 * the mapping may change between the look and the copy. When the copy finds
 * nothing where the look found a page (the program may drop pages behind our
 * back) it is brought in, and tried again a limited number of times.
 */
#ifndef UF_FAULT_COPY_H
#define UF_FAULT_COPY_H

#include "host/copy.h"
#include "mm/space.h"

/*
 * uf_copy_in and uf_copy_out. *ret_copied is set always.
 * Requires: no lock held, not a handler thread.
 */
int copy_user(struct uf_space *space, enum copy_way way, void *own,
              uintptr_t managed, size_t len_bytes, size_t *ret_copied);

/* uf_strnlen. */
ssize_t copy_strnlen(struct uf_space *space, uintptr_t string,
                     size_t max_bytes);

/* uf_populate_read (COPY_IN) and uf_populate_write (COPY_OUT). */
int copy_populate(struct uf_space *space, enum copy_way way, uintptr_t addr,
                  size_t len_bytes);

#endif
