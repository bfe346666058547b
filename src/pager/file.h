/* SPDX-License-Identifier: MIT */
/* file: the pager of a store (uf_pager_store). */
#ifndef UF_PAGER_FILE_H
#define UF_PAGER_FILE_H

#include <stdint.h>

struct uf_pager;
struct uf_store;

/* See uf_pager_store. Takes a reference to the store. */
int pager_file_create(struct uf_store *store, uint64_t offset,
                      struct uf_pager **ret_pager);

#endif
