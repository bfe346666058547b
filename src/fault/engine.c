/* SPDX-License-Identifier: MIT */
/* See engine.h: making engines, and which spaces they serve. */
#include "fault/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "fault/background.h"
#include "fault/install.h"
#include "fault/trap.h"
#include "host/uffd_signal.h"
#include "mm/shared.h"
#include "pager/pager.h"

static struct slab_cache engines =
    SLAB_CACHE("engine", sizeof(struct uf_engine));
static struct slab_cache channels =
    SLAB_CACHE("channel", sizeof(struct channel));

#define DEFER_LIMIT_MS 10000

static int opts_check(const struct uf_engine_opts *opts)
{
    if (opts->size != sizeof(*opts) || opts->nhandlers > ENGINE_HANDLERS_MAX ||
        opts->tier_plus_one > UF_TIER_USER_MODE + 1 ||
        opts->tier_plus_one == UF_TIER_NONE + 1 ||
        opts->kind > UF_ENGINE_AUTO || opts->ndescriptors > UFFD_PARTS_MAX ||
        (opts->kind == UF_ENGINE_SIGNAL && opts->ndescriptors > 1))
        return -EINVAL;
    /* Asking how many there are opens a file: only when it matters. */
    if (opts->cpu_plus_one > 1 &&
        opts->cpu_plus_one > (uint32_t)sysconf(_SC_NPROCESSORS_CONF))
        return -EINVAL;
    return 0;
}

static struct uf_engine_opts with_defaults(const struct uf_engine_opts *opts)
{
    struct uf_engine_opts o = {.size = sizeof(o)};

    if (opts)
        o = *opts;
    if (o.nhandlers == 0)
        o.nhandlers = 1;
    if (o.defer_limit_ms == 0)
        o.defer_limit_ms = DEFER_LIMIT_MS;
    if (o.ndescriptors == 0)
        o.ndescriptors = 1;
    return o;
}

static void channel_free(struct channel *channel)
{
    if (channel->stop_fd >= 0 && !channel->engine->private_fds)
        close(channel->stop_fd);
    if (channel->uffd.ops)
        uffd_close(&channel->uffd);
    deferred_destroy(&channel->deferred);
    lock_destroy(&channel->reader);
    lock_destroy(&channel->flights.lock);
    slab_free(&channels, channel);
}

/* One more, without its descriptor and threads. 0 or -ENOMEM. */
static int add_channel(struct uf_engine *engine)
{
    struct channel *channel = slab_alloc(&channels);

    if (!channel)
        return -ENOMEM;
    if (deferred_init(&channel->deferred) < 0) {
        slab_free(&channels, channel);
        return -ENOMEM;
    }
    channel->engine = engine;
    channel->stop_fd = -1;
    lock_init(&channel->reader, LOCK_RANK_READER);
    lock_init(&channel->flights.lock, LOCK_RANK_QUEUE);
    engine->channels[engine->nchannels++] = channel;
    return 0;
}

/* The index of spaces, unless it is the small one inside the engine. */
static void free_index(struct uf_engine *engine)
{
    if (engine->spaces != engine->few_spaces)
        slab_pages_free(engine->spaces,
                        engine->capacity * sizeof(engine->spaces[0]));
}

static void engine_free(struct uf_engine *engine)
{
    while (engine->nchannels > 0)
        channel_free(engine->channels[--engine->nchannels]);
    if (engine->signals) {
        engine_note_signals(false);
        trap_remove();
    }
    engine_free_spare_buffers(engine);
    free_index(engine);
    lock_destroy(&engine->starting);
    lock_destroy(&engine->lock);
    slab_free(&engines, engine);
}

/* Without its descriptor and threads. */
static int engine_alloc(const struct uf_engine_opts *opts,
                        struct uf_engine **ret_engine)
{
    struct uf_engine *engine = slab_alloc(&engines);
    int err;

    if (!engine)
        return -ENOMEM;
    engine->opts = *opts;
    lock_init(&engine->lock, LOCK_RANK_ENGINE);
    lock_init(&engine->starting, LOCK_RANK_STARTING);
    engine->spaces = engine->few_spaces;
    engine->capacity = ENGINE_FEW_SPACES;
    err = install_zeros_init();
    for (unsigned i = 0; !err && i < opts->ndescriptors; i++)
        err = add_channel(engine);
    if (err)
        engine_free(engine);
    else
        *ret_engine = engine;
    return err;
}

int engine_open_channels(struct uf_engine *engine, const struct uffd *uffds)
{
    int err = 0;

    for (unsigned i = 0; i < engine->nchannels; i++) {
        struct channel *channel = engine->channels[i];

        channel->uffd = uffds[i];
        channel->uffd.hold_wakes = true;
        channel->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (channel->stop_fd < 0)
            err = -errno;
    }
    return err;
}

/* Takes over the descriptors, also when it fails. */
static int engine_start(struct uf_engine *engine, const struct uffd *uffds)
{
    int err = engine_open_channels(engine, uffds);

    if (!err && uffd_signal_is(&uffds[0])) {
        err = trap_install();
        if (!err) {
            engine->signals = true;
            engine_note_signals(true);
        }
    }
    if (err)
        return err;
    engine_register(engine);
    atomic_store(&engine->magic, ENGINE_MAGIC);
    /* The touching threads serve themselves until there is a pager. */
    if (!engine->signals)
        err = engine_start_handlers(engine, engine->opts.nhandlers);
    if (err) {
        atomic_store(&engine->magic, 0);
        engine_stop_handlers(engine);
        engine_unregister(engine);
    }
    return err;
}

static void close_all(const struct uffd *uffds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct uffd taken = uffds[i];

        uffd_close(&taken);
    }
}

int engine_create_on(const struct uf_engine_opts *opts,
                     const struct uffd *uffds, struct uf_engine **ret_engine)
{
    struct uf_engine_opts o = with_defaults(opts);
    struct uf_engine *engine;
    int err = opts_check(&o);

    if (!err)
        err = engine_alloc(&o, &engine);
    if (err) {
        close_all(uffds, o.ndescriptors);
        return err;
    }
    err = engine_start(engine, uffds);
    if (err) {
        engine_free(engine);
        return err;
    }
    *ret_engine = engine;
    return 0;
}

int engine_open_uffds(const struct uf_engine_opts *opts,
                      enum uf_engine_kind kind, struct uffd *ret)
{
    unsigned n;
    int err = 0;

    for (n = 0; !err && n < opts->ndescriptors; n++)
        err = engine_open_uffd(opts->tier_plus_one, kind, &ret[n]);
    if (err)
        close_all(ret, n - 1);
    return err;
}

/* The descriptors; of the kind that AUTO comes to. */
static int open_uffds(struct uf_engine_opts *o, struct uffd *ret)
{
    enum uf_engine_kind kind = (enum uf_engine_kind)o->kind;
    int err = engine_open_uffds(o, kind, ret);

    if (err || kind != UF_ENGINE_AUTO || ret->tier != UF_TIER_USER_MODE)
        return err;
    close_all(ret, o->ndescriptors);
    o->ndescriptors = 1;
    return engine_open_uffds(o, UF_ENGINE_SIGNAL, ret);
}

int engine_create(const struct uf_engine_opts *opts,
                  struct uf_engine **ret_engine)
{
    struct uf_engine_opts o = with_defaults(opts);
    struct uffd uffds[UFFD_PARTS_MAX];
    int err = opts_check(&o);

    if (err)
        return err;
    err = open_uffds(&o, uffds);
    if (err)
        return err;
    return engine_create_on(&o, uffds, ret_engine);
}

enum uf_engine_kind engine_kind(const struct uf_engine *engine)
{
    return engine->signals ? UF_ENGINE_SIGNAL : UF_ENGINE_THREAD;
}

bool engine_is_live(const struct uf_engine *engine)
{
    return engine && atomic_load(&engine->magic) == ENGINE_MAGIC;
}

int engine_destroy(struct uf_engine *engine)
{
    if (!engine)
        return 0;
    if (!engine_is_live(engine))
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    lock_take(&engine->lock);
    if (engine->nspaces > 0) {
        lock_release(&engine->lock);
        return -EBUSY;
    }
    atomic_store(&engine->magic, 0);
    lock_release(&engine->lock);
    engine_stop_handlers(engine);
    engine_unregister(engine);
    engine_free(engine);
    return 0;
}

/* How many spaces end above addr. The last of these is the lowest, and is where
 * addr lies if it lies in any. */
static size_t count_above_locked(const struct uf_engine *engine, uintptr_t addr)
{
    size_t low = 0, high = engine->nspaces;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (engine->spaces[mid]->resident.range.end > addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct uf_space *engine_pin_next_space(struct uf_engine *engine, uintptr_t addr)
{
    struct uf_space *space = NULL;
    size_t above;

    lock_take(&engine->lock);
    above = count_above_locked(engine, addr);
    if (above > 0) {
        space = engine->spaces[above - 1];
        space_pin(space);
    }
    lock_release(&engine->lock);
    return space;
}

struct uf_space *engine_pin_space(struct uf_engine *engine, uintptr_t addr)
{
    struct uf_space *space = engine_pin_next_space(engine, addr);

    if (space && !range_contains(space->resident.range, addr)) {
        space_unpin(space);
        space = NULL;
    }
    return space;
}

/* Makes room for one more. 0 or -ENOMEM. */
static int reserve_locked(struct uf_engine *engine)
{
    size_t entry = sizeof(engine->spaces[0]);
    size_t capacity =
        align_up(engine->capacity * 2 * entry, page_size()) / entry;
    struct uf_space **bigger;

    if (engine->nspaces < engine->capacity)
        return 0;
    bigger = slab_pages(capacity * entry);
    if (!bigger)
        return -ENOMEM;
    memcpy(bigger, engine->spaces, engine->nspaces * entry);
    free_index(engine);
    engine->spaces = bigger;
    engine->capacity = capacity;
    return 0;
}

static void insert_locked(struct uf_engine *engine, struct uf_space *space)
{
    size_t i = count_above_locked(engine, space->resident.range.start);

    memmove(&engine->spaces[i + 1], &engine->spaces[i],
            (engine->nspaces - i) * sizeof(engine->spaces[0]));
    engine->spaces[i] = space;
    engine->nspaces++;
}

static void remove_locked(struct uf_engine *engine, struct uf_space *space)
{
    size_t above = count_above_locked(engine, space->resident.range.start);
    size_t i = above - 1;

    CHECK(above > 0 && engine->spaces[i] == space);
    engine->nspaces--;
    memmove(&engine->spaces[i], &engine->spaces[i + 1],
            (engine->nspaces - i) * sizeof(engine->spaces[0]));
}

/* Ever made; a space's number tells it from a later one at its address. */
static _Atomic uint64_t attachments;

/* Buffers, and handlers that are not inside the pager. */
static int ready_for_pagers(struct uf_engine *engine)
{
    int err = engine_give_buffers(engine);

    if (!err)
        err = engine_make_spare_buffers(engine);
    if (!err)
        err = engine_start_handlers(engine, ENGINE_HANDLERS_PAGED);
    return err;
}

int engine_ready_for_pager(struct uf_space *space, struct uf_pager *pager)
{
    int err = 0;

    if (pager == pager_zero())
        return 0;
    if (space->engine && !atomic_load(&space->has_pagers))
        err = ready_for_pagers(space->engine);
    if (!err && space->engine && !pager->fill_at_once)
        near_retire(space->engine);
    if (!err)
        atomic_store(&space->has_pagers, true);
    return err;
}

int engine_lend_descriptor(struct uf_engine *engine, struct uf_space *space)
{
    struct uffd *each[UFFD_PARTS_MAX] = {NULL}, *uffd;
    int err = 0;

    for (unsigned i = 0; i < engine->nchannels; i++)
        each[i] = &engine->channels[i]->uffd;
    uffd = each[0];
    if (engine->nchannels > 1)
        err = uffd_parts_create(each, engine->nchannels, space->region.range,
                                &uffd);
    if (!err)
        space->region.uffd = uffd;
    return err;
}

void engine_return_descriptor(struct uf_space *space)
{
    struct uf_engine *engine = space->engine;

    if (engine && engine->nchannels > 1 && space->region.uffd)
        uffd_close(space->region.uffd);
    space->region.uffd = NULL;
}

int engine_attach(struct uf_engine *engine, struct uf_space *space)
{
    const struct uf_pager *pager = space->heap_pager;
    bool pages = pager != pager_zero();
    int err = 0;

    if (pages)
        err = ready_for_pagers(engine);
    else if (fault_calls_hooks(space))
        err = engine_start_handlers(engine, 2);
    if (err)
        return err;
    /* It would hand every fault on. */
    if (fault_calls_hooks(space) || (pages && !pager->fill_at_once))
        near_retire(engine);
    if (engine->signals && !space->refused.words)
        err = resident_init(&space->refused, space->resident.range);
    if (err)
        return err;
    lock_take(&engine->lock);
    err = atomic_load(&engine->broken) ? -EINVAL : reserve_locked(engine);
    if (!err) {
        space->engine = engine;
        err = engine_lend_descriptor(engine, space);
    }
    if (!err)
        err = space_register(space);
    if (err) {
        engine_return_descriptor(space);
        space->engine = NULL;
    } else {
        space->serial = atomic_fetch_add(&attachments, 1) + 1;
        insert_locked(engine, space);
    }
    lock_release(&engine->lock);
    return err;
}

void engine_detach(struct uf_space *space)
{
    struct uf_engine *engine = space->engine;
    struct uffd *uffd = space->region.uffd;
    struct range range = space->region.range;
    struct shared_note *closed;

    lock_take(&engine->lock);
    remove_locked(engine, space);
    lock_release(&engine->lock);

    /* From here on no install can happen: each looks at `dying` first. */
    rwlock_take_write(&space->map_lock);
    atomic_store(&space->dying, true);
    shared_close_all_locked(space);
    closed = shared_take_closed(space);
    if (space->region.kind == REGION_NATIVE) {
        range = space_registrable(space);
        if (!range_is_empty(range))
            uffd->ops->unregister(uffd, range);
    } else {
        region_release(&space->region);
    }
    rwlock_release(&space->map_lock);

    if (!range_is_empty(range))
        install_wake(uffd, range);
    background_forget(engine, space);
    space_await_unpinned(space);
    engine_return_descriptor(space);
    space->engine = NULL;
    shared_write_closed(closed);
}
