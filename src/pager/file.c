/* SPDX-License-Identifier: MIT */
/*
 * The pager of a store: a private mapping of a file, and of what else keeps
 * bytes by offset.
 *
 *     window   |---- 128 KiB ----|---- 128 KiB ----|-- ... --|   (parts.h)
 *              all in flight at once, where the store has a channel for it
 *
 * What comes back is the window up to the first byte that could not be had:
 *
 *     the end is inside a page     zeros to the end of that page
 *     the end is at its start      -ENXIO: SIGBUS for who touched it
 *     a read error                 whole pages before it; none: the error
 *
 * The store is asked where its end is by reading, and not before: a file that
 * shrinks meanwhile is short, and nothing else.
 *
 * Runs in signal handlers, so: no malloc, no lock.
 */
#include "pager/file.h"

#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"
#include "pager/cache.h"
#include "pager/pager.h"
#include "pager/parts.h"
#include "store/store.h"

static struct slab_cache file_pagers =
    SLAB_CACHE("file pager", sizeof(struct file_pager));

/* Bytes from the start of the buffer that are there; *ret_err as store_io's. */
static size_t read_in_one(struct uf_store *store, const struct uf_fill *want,
                          uint64_t offset, int *ret_err)
{
    struct store_io io = {
        .offset = offset, .buffer = want->buffer, .len_bytes = want->len_bytes};

    store_run(store, &io);
    *ret_err = io.err;
    return io.done_bytes;
}

static size_t read_window(struct uf_store *store, const struct uf_fill *want,
                          uint64_t offset, int *ret_err)
{
    struct fill_parts *parts = parts_begin(store, offset, want, 0, false);
    size_t good;

    if (!parts)
        return read_in_one(store, want, offset, ret_err);
    good = parts_all(parts, ret_err);
    parts_end(parts);
    return good;
}

/* Where it lies in the store; false: where no store has bytes. */
static bool locate(const struct file_pager *file, const struct uf_fill *want,
                   uint64_t *ret_offset)
{
    uint64_t end;

    return !__builtin_add_overflow(file->offset, want->offset, ret_offset) &&
           !__builtin_add_overflow(*ret_offset, want->len_bytes, &end) &&
           end <= INT64_MAX;
}

/* The answer of a fill whose first `good` bytes are there. */
static ssize_t answer(const struct uf_fill *want, size_t good, int err)
{
    size_t whole;

    if (err || good == want->len_bytes) {
        whole = align_down(good, want->page_bytes);
    } else {
        whole = align_up(good, want->page_bytes);
        memset((char *)want->buffer + good, 0, whole - good);
        err = -ENXIO;
    }
    return whole > 0 ? (ssize_t)whole : err;
}

static ssize_t fill(void *context, const struct uf_fill *want)
{
    struct file_pager *file = context;
    uint64_t offset;
    size_t good;
    int err;

    if (!locate(file, want, &offset))
        return -ENXIO;
    good = read_window(file->store, want, offset, &err);
    if (!err && good < want->len_bytes && good % want->page_bytes != 0 &&
        (want->flags & FILL_FOR_CACHE))
        atomic_store(&file->tail, want->offset + good);
    return answer(want, good, err);
}

static const void *view(void *context, const struct uf_fill *want)
{
    const struct file_pager *file = context;
    uint64_t offset;

    return locate(file, want, &offset)
               ? store_view(file->store, offset, want->len_bytes)
               : NULL;
}

static struct fill_parts *begin_parts(void *context, const struct uf_fill *want,
                                      size_t wanted)
{
    struct file_pager *file = context;
    struct fill_parts *parts;
    uint64_t offset;

    if (!locate(file, want, &offset))
        return NULL;
    parts = read_ahead_take(&file->ahead, file->store, offset, want);
    return parts ? parts : parts_begin(file->store, offset, want, wanted, true);
}

static struct fill_parts *read_on(void *context, const struct fill_parts *now)
{
    struct file_pager *file = context;

    return read_ahead_begin(&file->ahead, file->store, parts_offset(now),
                            now->want.len_bytes);
}

static void park(void *context, struct fill_parts *next)
{
    struct file_pager *file = context;

    read_ahead_park(&file->ahead, next);
}

static ssize_t fill_at_once(void *context, const struct uf_fill *want)
{
    const struct file_pager *file = context;
    struct store_io io = {
        .buffer = want->buffer, .len_bytes = want->len_bytes, .at_once = true};

    if (!locate(file, want, &io.offset))
        return -ENXIO;
    store_run(file->store, &io);
    /* Half a window is worse than to wait for all of it: the stream that asked
     * for it goes on behind it. */
    if (io.err == -EAGAIN)
        return io.err;
    return answer(want, io.done_bytes, io.err);
}

static void release(void *context)
{
    struct file_pager *file = context;

    cache_destroy(atomic_load(&file->cache));
    read_ahead_destroy(&file->ahead);
    store_unref(file->store);
    slab_free(&file_pagers, file);
}

int pager_file_create(struct uf_store *store, uint64_t offset,
                      struct uf_pager **ret_pager)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops),
        .name = "store",
        .flags = store_runs_in_signals(store) ? UF_PAGER_SIGNAL_SAFE : 0,
        .fill = fill,
        .release = release,
    };
    struct file_pager *file = slab_alloc(&file_pagers);
    int err = -ENOMEM;

    if (file) {
        file->store = store_ref(store);
        file->offset = offset;
        atomic_init(&file->age_ms, CACHE_AGE_MS);
        file->ahead.age_ms = READ_AHEAD_MS;
        file->ahead.calm_ms = READ_AHEAD_CALM_MS;
        atomic_init(&file->tail, FILE_NO_TAIL);
        err = pager_create(&ops, file, ret_pager);
        if (err)
            release(file);
        else if (store_reads_at_once(store))
            (*ret_pager)->fill_at_once = fill_at_once;
        if (!err) {
            (*ret_pager)->begin_parts = begin_parts;
            (*ret_pager)->view = view;
            if (store_has_no_read_ahead(store)) {
                (*ret_pager)->read_on = read_on;
                (*ret_pager)->park = park;
            }
            store_view_open(store);
        }
    }
    return err;
}

struct file_pager *pager_file_of(const struct uf_pager *pager)
{
    return pager->ops.fill == fill ? pager->context : NULL;
}
