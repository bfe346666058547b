/* SPDX-License-Identifier: MIT */
/* cache_inside: the record of a cache, for the two files that work on it. */
#ifndef UF_PAGER_CACHE_INSIDE_H
#define UF_PAGER_CACHE_INSIDE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/resident.h"
#include "pager/cache.h"
#include "pager/file.h"

struct pager_cache {
    struct uf_pager *pager; /* which has us, and is not counted */
    struct uf_store *store;
    uint64_t offset; /* of the pager's offset 0 in the store */
    int fd;
    _Atomic uint32_t writer; /* the thread that writes back; 0: none */
    uint64_t end_seen;       /* the store's end, as it was; the writer's */
    _Atomic uint64_t pages_written;
    _Atomic uint64_t write_errors;
    struct pager_cache
        *next; /* all caches; their lock guards this and due_ns */
    uint64_t due_ns;

    struct lock lock; /* guards what follows, and pages going in */
    _Atomic uint64_t
        cuts; /* times that the store's end moved; written under it */
    struct resident dirty;
    struct resident unsafe; /* written, and not flushed since */
    int err;                /* nobody was told yet */
};

#endif
