/* SPDX-License-Identifier: MIT */
/* file: the pager of a store (uf_pager_store). */
#ifndef UF_PAGER_FILE_H
#define UF_PAGER_FILE_H

#include <stdatomic.h>
#include <stdint.h>

#include "pager/read_ahead.h"

struct pager_cache;
struct uf_pager;
struct uf_store;

#define FILE_NO_TAIL UINT64_MAX

struct file_pager {
    struct uf_store *store;
    uint64_t offset; /* of the pager's offset 0 in the store */
    struct pager_cache *_Atomic cache; /* cache.h; NULL: never mapped shared */
    _Atomic uint32_t age_ms;           /* see cache_set_age */
    /* Where the store ended inside a page when that was filled, as an offset of
     * the pager: what follows in the page is zeros, and not the store's. */
    _Atomic uint64_t tail;
    struct read_ahead ahead;
};

/* See uf_pager_store. Takes a reference to the store. */
int pager_file_create(struct uf_store *store, uint64_t offset,
                      struct uf_pager **ret_pager);

/* NULL if it is another kind of pager. */
struct file_pager *pager_file_of(const struct uf_pager *pager);

#endif
