/* SPDX-License-Identifier: MIT */
/*
 * A store of memory: the caller's, or the slab's. The simplest one; read it
 * first.
 */
#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"
#include "store/store.h"

static ssize_t copy(struct uf_store *store, struct store_io *io)
{
    uint64_t at = io->offset + io->done_bytes;
    size_t len = io->len_bytes - io->done_bytes;
    char *there = store->memory.bytes + at;
    char *here = (char *)io->buffer + io->done_bytes;

    if (at >= store->memory.len_bytes)
        return io->write ? -ENOSPC : 0;
    if (len > store->memory.len_bytes - at)
        len = store->memory.len_bytes - at;
    if (io->write)
        memcpy(there, here, len);
    else
        memcpy(here, there, len);
    return (ssize_t)len;
}

static int get_size(struct uf_store *store, uint64_t *ret_bytes)
{
    *ret_bytes = store->memory.len_bytes;
    return 0;
}

static int flush(struct uf_store *store)
{
    (void)store;
    return 0;
}

static size_t whole_pages(size_t len_bytes)
{
    return align_up(len_bytes, page_size());
}

static void drop(struct uf_store *store)
{
    if (store->memory.owned)
        slab_pages_free(store->memory.bytes,
                        whole_pages(store->memory.len_bytes));
}

static const struct store_ops memory_ops = {
    .step = copy, .size = get_size, .flush = flush, .close = drop};

int store_memory(void *bytes, size_t len_bytes, uint32_t flags,
                 struct uf_store **ret_store)
{
    struct uf_store *store = store_alloc(&memory_ops, UF_STORE_KIND_MEMORY);

    if (!store)
        return -ENOMEM;
    store->writable = (flags & UF_STORE_WRITE) != 0;
    store->memory.bytes = bytes ? bytes : slab_pages(whole_pages(len_bytes));
    store->memory.len_bytes = len_bytes;
    store->memory.owned = !bytes;
    if (store->memory.bytes) {
        *ret_store = store;
        return 0;
    }
    store->memory.owned = false;
    store_unref(store);
    return -ENOMEM;
}
