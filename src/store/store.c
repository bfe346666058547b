/* SPDX-License-Identifier: MIT */
/* See store.h. */
#include "store/store.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/slab.h"
#include "store/channel.h"

static struct slab_cache stores = SLAB_CACHE("store", sizeof(struct uf_store));

struct uf_store *store_alloc(const struct store_ops *ops,
                             enum uf_store_kind kind)
{
    struct uf_store *store = slab_alloc(&stores);

    if (store) {
        store->ops = ops;
        store->kind = kind;
        atomic_init(&store->refs, 1);
    }
    return store;
}

struct uf_store *store_ref(struct uf_store *store)
{
    if (store)
        atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    return store;
}

void store_unref(struct uf_store *store)
{
    unsigned long before;

    if (!store)
        return;
    before = atomic_fetch_sub_explicit(&store->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;
    channels_close(store);
    store_view_close(store);
    store->ops->close(store);
    slab_free(&stores, store);
}

/* A direct read that can be had in another way. */
static bool was_refused(struct uf_store *store, struct store_io *io,
                        ssize_t answer)
{
    bool unknown = answer == -EOPNOTSUPP || answer == -ENOSYS;

    if (!io->direct)
        return false;
    if (unknown)
        atomic_store(&store->file.only_waits, true);
    if (answer == -EAGAIN)
        io->way++;
    else if (answer == -EINVAL || unknown)
        io->way = WAY_CACHED;
    else
        return false;
    return true;
}

bool store_io_account(struct uf_store *store, struct store_io *io,
                      ssize_t answer)
{
    if (answer == -EINTR || was_refused(store, io, answer))
        return false;
    if (answer < 0) {
        io->err = (int)answer;
        return true;
    }
    if (answer == 0) {
        io->err = io->write ? -EIO : 0;
        return true;
    }
    io->done_bytes += (size_t)answer;
    return io->done_bytes == io->len_bytes;
}

void store_run(struct uf_store *store, struct store_io *io)
{
    if (io->write && !store->writable) {
        io->err = -EBADF;
        return;
    }
    while (io->done_bytes < io->len_bytes)
        if (store_io_account(store, io, store->ops->step(store, io)))
            break;
    if (io->write)
        atomic_fetch_add(&store->writes, 1);
}

static int64_t ns_of(struct timespec at)
{
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

struct store_stamp store_stamp(const struct uf_store *store)
{
    struct store_stamp stamp = {.writes = atomic_load(&store->writes)};
    bool is_file = store->kind == UF_STORE_KIND_URING ||
                   store->kind == UF_STORE_KIND_PREAD;
    struct stat st;

    if (is_file && fstat(store->file.fds[FILE_CACHED], &st) == 0) {
        stamp.size = (uint64_t)st.st_size;
        stamp.modified_ns = ns_of(st.st_mtim);
        stamp.changed_ns = ns_of(st.st_ctim);
    }
    return stamp;
}

uint64_t store_stamp_age_ms(const struct store_stamp *stamp)
{
    int64_t last = stamp->modified_ns > stamp->changed_ns ? stamp->modified_ns
                                                          : stamp->changed_ns;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return ns_of(now) > last ? (uint64_t)(ns_of(now) - last) / 1000000 : 0;
}

bool store_runs_in_signals(const struct uf_store *store)
{
    return store->kind != UF_STORE_KIND_CALLER;
}

bool store_has_no_read_ahead(const struct uf_store *store)
{
    return store->kind == UF_STORE_KIND_URING &&
           store->file.fds[FILE_DIRECT] >= 0 && store->file.on_disk &&
           !atomic_load(&store->file.only_waits);
}

/* The caller's memory may itself be paged, by whoever it is. */
bool store_reads_at_once(const struct uf_store *store)
{
    if (store->kind == UF_STORE_KIND_MEMORY)
        return store->memory.owned;
    return store->kind != UF_STORE_KIND_CALLER;
}
