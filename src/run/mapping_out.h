/* SPDX-License-Identifier: MIT */
/*
 * mapping_out: memory that leaves the region, because the program names another
 * place for it, or because there is no room for what it is to become.
 */
#ifndef UF_RUN_MAPPING_OUT_H
#define UF_RUN_MAPPING_OUT_H

#include <stddef.h>
#include <stdint.h>

/* mremap(2) with MREMAP_FIXED and `to` outside: moved by the kernel, then
 * forgotten here. Only what keeps its length (-ENOMEM). The address or -errno.
 * Requires: signals blocked. */
intptr_t mapping_move_out(uintptr_t old, size_t old_len, size_t new_len,
                          int flags, uintptr_t to);

/* mremap(2) of one readable mapping to a place of the kernel's choice. Copied,
 * since what the kernel moves and what it adds would stay two mappings for
 * ever. The address or -ENOMEM. Requires: signals blocked. */
intptr_t mapping_copy_out(uintptr_t old, size_t old_len, size_t new_len);

#endif
