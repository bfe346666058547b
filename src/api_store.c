/* SPDX-License-Identifier: MIT */
/*
 * The public functions of ufault/store.h. As api.c: validate, call down; its
 * functions leave the shared library.
 */
#include "ufault/store.h"

#include <errno.h>
#include <limits.h>

#include "base/range.h"
#include "fault/writeback.h"
#include "pager/cache.h"
#include "pager/file.h"
#include "store/store.h"

#define FILE_FLAGS (UF_STORE_WRITE | UF_STORE_DIRECT | UF_STORE_NO_URING)

int uf_store_open(const char *path, uint32_t flags, struct uf_store **ret_store)
{
    if (!path || !ret_store || (flags & ~FILE_FLAGS))
        return -EINVAL;
    return store_open_path(path, flags, ret_store);
}

int uf_store_fd(int fd, uint32_t flags, struct uf_store **ret_store)
{
    if (!ret_store || (flags & ~FILE_FLAGS))
        return -EINVAL;
    return store_open_fd(fd, flags, ret_store);
}

int uf_store_memory(void *bytes, size_t len_bytes, uint32_t flags,
                    struct uf_store **ret_store)
{
    if (!ret_store || len_bytes == 0 || len_bytes > SSIZE_MAX ||
        (flags & ~UF_STORE_WRITE))
        return -EINVAL;
    return store_memory(bytes, len_bytes, flags, ret_store);
}

int uf_store_create(const struct uf_store_ops *ops, void *context,
                    struct uf_store **ret_store)
{
    return store_create(ops, context, ret_store);
}

struct uf_store *uf_store_ref(struct uf_store *store)
{
    return store_ref(store);
}

void uf_store_unref(struct uf_store *store)
{
    store_unref(store);
}

enum uf_store_kind uf_store_kind_of(const struct uf_store *store)
{
    return store->kind;
}

int uf_store_uring_error(const struct uf_store *store)
{
    return store->uring_err;
}

int uf_store_size(struct uf_store *store, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    int err;

    if (!store || !ret_bytes)
        return -EINVAL;
    err = store->ops->size(store, &bytes);
    if (!err)
        *ret_bytes = bytes;
    return err;
}

static ssize_t run(struct uf_store *store, bool write, void *buffer,
                   size_t len_bytes, uint64_t offset)
{
    struct store_io io = {.offset = offset,
                          .buffer = buffer,
                          .len_bytes = len_bytes,
                          .write = write};

    if (!store || !buffer || len_bytes > INT64_MAX ||
        offset > INT64_MAX - len_bytes)
        return -EINVAL;
    store_run(store, &io);
    return io.done_bytes > 0 || !io.err ? (ssize_t)io.done_bytes : io.err;
}

ssize_t uf_store_read(struct uf_store *store, void *buffer, size_t len_bytes,
                      uint64_t offset)
{
    return run(store, false, buffer, len_bytes, offset);
}

ssize_t uf_store_write(struct uf_store *store, const void *buffer,
                       size_t len_bytes, uint64_t offset)
{
    void *bytes = (void *)(uintptr_t)buffer; /* and only read */

    return run(store, true, bytes, len_bytes, offset);
}

int uf_store_flush(struct uf_store *store)
{
    return store ? store->ops->flush(store) : -EINVAL;
}

int uf_pager_store(struct uf_store *store, uint64_t offset,
                   struct uf_pager **ret_pager)
{
    if (!store || !ret_pager || offset % page_size() != 0)
        return -EINVAL;
    return pager_file_create(store, offset, ret_pager);
}

uint64_t uf_store_lost(const struct uf_store *store)
{
    return atomic_load(&store->lost_bytes);
}

static bool is_of_store(const struct uf_pager *pager)
{
    return pager && pager_file_of(pager);
}

int uf_pager_sync(struct uf_pager *pager)
{
    struct range all = {0, align_down(INT64_MAX, page_size())};

    return is_of_store(pager) ? writeback_sync(pager, all) : -EINVAL;
}

int uf_pager_set_writeback(struct uf_pager *pager, uint32_t age_ms)
{
    if (!is_of_store(pager))
        return -EINVAL;
    cache_set_age(pager, age_ms);
    writeback_hurry();
    return 0;
}

int uf_pager_writeback(struct uf_pager *pager, struct uf_writeback *ret)
{
    struct cache_stats stats = {0};
    struct pager_cache *cache;

    if (!is_of_store(pager) || !ret || ret->size != sizeof(*ret))
        return -EINVAL;
    cache = cache_of(pager);
    if (cache)
        cache_get_stats(cache, &stats);
    ret->pages_dirty = stats.pages_dirty;
    ret->pages_written = stats.pages_written;
    ret->write_errors = stats.write_errors;
    return 0;
}
