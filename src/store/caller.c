/* SPDX-License-Identifier: MIT */
/*
 * A store of the user's functions. What they promise is checked here
 * (invariant 11): a read that claims more than it was asked for would make
 * bytes of a buffer that nobody wrote a page's.
 */
#include <errno.h>

#include "store/store.h"

static bool is_nonsense(ssize_t answer, size_t asked)
{
    return answer < -4095 || (answer > 0 && (size_t)answer > asked);
}

static ssize_t call(struct uf_store *store, struct store_io *io)
{
    const struct uf_store_ops *ops = &store->caller.ops;
    char *buffer = (char *)io->buffer + io->done_bytes;
    size_t len = io->len_bytes - io->done_bytes;
    uint64_t at = io->offset + io->done_bytes;
    ssize_t n = io->write ? ops->write(store->caller.context, buffer, len, at)
                          : ops->read(store->caller.context, buffer, len, at);

    return is_nonsense(n, len) ? -EIO : n;
}

static int get_size(struct uf_store *store, uint64_t *ret_bytes)
{
    return store->caller.ops.get_size(store->caller.context, ret_bytes);
}

static int flush(struct uf_store *store)
{
    const struct uf_store_ops *ops = &store->caller.ops;

    return ops->flush ? ops->flush(store->caller.context) : 0;
}

static void release(struct uf_store *store)
{
    if (store->caller.ops.release)
        store->caller.ops.release(store->caller.context);
}

static const struct store_ops caller_ops = {
    .step = call, .size = get_size, .flush = flush, .close = release};

int store_create(const struct uf_store_ops *ops, void *context,
                 struct uf_store **ret_store)
{
    struct uf_store *store;

    if (!ops || !ret_store || ops->size != sizeof(*ops) || !ops->read ||
        !ops->get_size)
        return -EINVAL;
    store = store_alloc(&caller_ops, UF_STORE_KIND_CALLER);
    if (!store)
        return -ENOMEM;
    store->caller.ops = *ops;
    store->caller.context = context;
    store->writable = ops->write != NULL;
    *ret_store = store;
    return 0;
}
