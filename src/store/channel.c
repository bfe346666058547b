/* SPDX-License-Identifier: MIT */
/* See channel.h. */
#include "store/channel.h"

#include <errno.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "store/store.h"
#include "store/uring.h"

struct store_channel {
    struct uf_store *store;
    pid_t pid;           /* that made it */
    unsigned under_way;  /* submitted, and not in `done` */
    struct uring *ring;  /* NULL: requests are done at once */
    struct io_list done; /* finished, not reaped */
    void *buffer;        /* its own, or NULL */
    size_t buffer_bytes;
};

static struct slab_cache channels =
    SLAB_CACHE("channel", sizeof(struct store_channel));

/* 0, -ENOMEM, or why io_uring is refused, with *ret set all the same. */
static int make(struct uf_store *store, bool with_ring,
                struct store_channel **ret)
{
    struct store_channel *channel = slab_alloc(&channels);

    if (!channel)
        return -ENOMEM;
    channel->store = store;
    channel->pid = getpid();
    *ret = channel;
    return with_ring ? uring_create(store, &channel->ring) : 0;
}

int store_channel_open(struct uf_store *store, struct store_channel **ret)
{
    struct store_channel *channel = NULL;

    make(store, store->kind == UF_STORE_KIND_URING, &channel);
    if (!channel)
        return -ENOMEM;
    *ret = channel;
    return 0;
}

static void drop(struct store_channel *channel)
{
    uring_destroy(channel->ring);
    slab_pages_free(channel->buffer, channel->buffer_bytes);
    slab_free(&channels, channel);
}

void store_channel_close(struct store_channel *channel)
{
    if (!channel)
        return;
    while (channel->under_way > 0)
        channel->under_way -=
            uring_wait(channel->ring, &channel->done, channel->under_way);
    drop(channel);
}

bool store_channel_is_uring(const struct store_channel *channel)
{
    return channel->ring && !uring_is_broken(channel->ring);
}

bool store_channel_pin(struct store_channel *channel, void *base,
                       size_t len_bytes)
{
    return channel->ring && uring_pin(channel->ring, base, len_bytes);
}

void store_submit(struct store_channel *channel, struct store_io *ios,
                  unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct store_io *io = &ios[i];

        io->done_bytes = 0;
        io->err = 0;
        io->way = WAY_DIRECT;
        io->direct = false;
        if (!channel->ring || io->len_bytes == 0 ||
            (io->write && !channel->store->writable)) {
            store_run(channel->store, io);
            io_list_append(&channel->done, io);
            continue;
        }
        uring_add(channel->ring, io);
        channel->under_way++;
    }
    if (channel->under_way > 0)
        channel->under_way -= uring_wait(channel->ring, &channel->done, 0);
}

unsigned store_reap(struct store_channel *channel, struct store_io **ret,
                    unsigned max, unsigned min)
{
    unsigned n = 0;
    struct store_io *io;

    if (min > max)
        min = max;
    if (channel->under_way > 0) {
        unsigned here = channel->done.n;

        channel->under_way -= uring_wait(channel->ring, &channel->done,
                                         min > here ? min - here : 0);
    }
    while (n < max && (io = io_list_take(&channel->done))) {
        if (io->write)
            atomic_fetch_add(&channel->store->writes, 1);
        ret[n++] = io;
    }
    return n;
}

void *store_channel_buffer(struct store_channel *channel, size_t len_bytes)
{
    struct uf_store *store = channel->store;

    if (!store_channel_is_uring(channel) || store->file.fds[FILE_DIRECT] < 0)
        return NULL;
    if (!channel->buffer) {
        channel->buffer = slab_pages(len_bytes);
        channel->buffer_bytes = len_bytes;
        if (channel->buffer)
            store_channel_pin(channel, channel->buffer, len_bytes);
    }
    return len_bytes <= channel->buffer_bytes ? channel->buffer : NULL;
}

/* --------------------------------------------------------------- the idle -- */

bool store_channel_is_ours(const struct store_channel *channel)
{
    return channel->pid == getpid();
}

/* What is closed is our share in it. */
void store_channel_disown(struct store_channel *channel)
{
    struct uf_store *store = channel->store;

    drop(channel);
    atomic_fetch_sub(&store->nchannels, 1);
}

static struct store_channel *take_idle(struct uf_store *store)
{
    for (size_t i = 0; i < STORE_CHANNELS; i++) {
        struct store_channel *channel = atomic_exchange(&store->idle[i], NULL);

        if (!channel)
            continue;
        if (store_channel_is_ours(channel))
            return channel;
        store_channel_disown(channel);
    }
    return NULL;
}

struct store_channel *store_channel_take(struct uf_store *store)
{
    struct store_channel *channel;

    if (store->kind != UF_STORE_KIND_URING)
        return NULL;
    channel = take_idle(store);
    if (channel)
        return channel;
    if (atomic_fetch_add(&store->nchannels, 1) < STORE_CHANNELS &&
        store_channel_open(store, &channel) == 0)
        return channel;
    atomic_fetch_sub(&store->nchannels, 1);
    return NULL;
}

bool store_spares_channels(const struct uf_store *store)
{
    unsigned taken = atomic_load(&store->nchannels);

    for (size_t i = 0; i < STORE_CHANNELS; i++)
        taken -= atomic_load(&store->idle[i]) != NULL;
    return (int)taken < STORE_CHANNELS / 2;
}

void store_channel_give_back(struct store_channel *channel)
{
    struct uf_store *store = channel->store;

    CHECK(channel->under_way == 0 && channel->done.n == 0);
    for (size_t i = 0; i < STORE_CHANNELS; i++) {
        struct store_channel *none = NULL;

        if (atomic_compare_exchange_strong(&store->idle[i], &none, channel))
            return;
    }
    CHECK(false); /* there are no more channels than places */
}

void channels_begin(struct uf_store *store)
{
    struct store_channel *channel = NULL;
    int err = make(store, true, &channel);

    if (err) {
        store->uring_err = err;
        store_channel_close(channel);
        return;
    }
    store->kind = UF_STORE_KIND_URING;
    atomic_store(&store->nchannels, 1);
    atomic_store(&store->idle[0], channel);
}

void channels_close(struct uf_store *store)
{
    for (size_t i = 0; i < STORE_CHANNELS; i++)
        store_channel_close(atomic_exchange(&store->idle[i], NULL));
}
