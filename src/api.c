/* SPDX-License-Identifier: MIT */
/*
 * The public functions: validate, call down, let only documented errors out.
 * Here: engines, spaces, what can be seen of them, pagers, the probe. In
 * api_mman.c: a space's memory. In api_guest.c: copies and traps. Only these
 * three and posix/posix.c have functions that leave the shared library.
 */
#include "ufault/ufault.h"

#include <errno.h>

#include "api.h"
#include "base/check.h"
#include "fault/ahead.h"
#include "fault/dirty.h"
#include "fault/background.h"
#include "fault/engine.h"
#include "fault/huge.h"
#include "fault/recording.h"
#include "fault/streams.h"
#include "fault/trap_table.h"
#include "host/caps.h"
#include "mm/advice.h"
#include "mm/map.h"
#include "pager/pager.h"
#include "posix/default_space.h"
#include "snapshot/template.h"
#include "trace/export.h"

#define TEXT(x)  #x
#define VALUE(x) TEXT(x)

const char *uf_version(void)
{
    return VALUE(UF_VERSION_MAJOR) "." VALUE(UF_VERSION_MINOR) "." VALUE(
        UF_VERSION_PATCH);
}

/* What uf_engine_create documents; anything else is something that the kernel
 * lacks or a filter withholds. */
static int documented_for_engine(int err)
{
    switch (err) {
    case 0:
    case -EINVAL:
    case -EPERM:
    case -ENOSYS:
    case -ENOTSUP:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN:
        return err;
    default:
        return -ENOTSUP;
    }
}

int uf_engine_create(const struct uf_engine_opts *opts,
                     struct uf_engine **ret_engine)
{
    int err;

    if (!ret_engine || (opts && opts->size != sizeof(*opts)))
        return -EINVAL;
    err = documented_for_engine(engine_create(opts, ret_engine));
    /* Now, not when faults come: to start a thread needs malloc, which may live
     * on a space of ours. */
    if (!err && near_is_worth_it(*ret_engine))
        near_start(*ret_engine); /* slower without, not less right */
    if (!err)
        background_start(*ret_engine); /* so is this */
    return err;
}

int uf_engine_destroy(struct uf_engine *engine)
{
    return engine_destroy(engine);
}

enum uf_tier uf_engine_tier(const struct uf_engine *engine)
{
    return engine_is_live(engine) ? engine->channels[0]->uffd.tier
                                  : UF_TIER_NONE;
}

enum uf_engine_kind uf_engine_kind_of(const struct uf_engine *engine)
{
    return engine_is_live(engine) ? engine_kind(engine) : UF_ENGINE_THREAD;
}

const char *uf_tier_name(enum uf_tier tier)
{
    switch (tier) {
    case UF_TIER_SYSCALL:
        return "system call";
    case UF_TIER_DEVICE:
        return "/dev/userfaultfd";
    case UF_TIER_USER_MODE:
        return "user mode only";
    case UF_TIER_NONE:
        break;
    }
    return "none";
}

/* What uf_space_create documents beside the engine's; anything else is a range
 * that cannot be had (mmap(2) answers -EPERM below vm.mmap_min_addr). */
static int documented_for_space(int err)
{
    switch (err) {
    case 0:
    case -EINVAL:
    case -EEXIST:
    case -EBUSY:
    case -EAGAIN:
        return err;
    default:
        return -ENOMEM;
    }
}

/* Creates the space and has `engine`, its own or another, serve it. */
static int create_on(const struct uf_space_opts *opts, struct uf_engine *engine,
                     struct uf_space **ret_space)
{
    struct space_params params = {.opts = opts};
    struct uf_space *space;
    int err = space_create(&params, &space);

    if (err)
        return documented_for_space(err);
    err = trap_table_add(space);
    if (!err)
        err = engine_attach(engine, space);
    if (err) {
        trap_table_remove(space);
        space_destroy(space);
        return documented_for_space(err);
    }
    space->own_engine = opts->engine ? NULL : engine;
    if (opts->flags & (UF_SPACE_HUGE | UF_SPACE_PROMOTE))
        background_start(engine); /* now, as in uf_engine_create */
    if (opts->flags & UF_SPACE_HUGE)
        background_ready_for_huge(space);
    *ret_space = space;
    return 0;
}

int uf_space_create(const struct uf_space_opts *opts,
                    struct uf_space **ret_space)
{
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts)};
    struct uf_engine *own = NULL;
    int err = space_opts_check(opts);

    if (err || !ret_space)
        return -EINVAL;
    if (opts->engine) {
        if (!engine_is_live(opts->engine))
            return -EINVAL;
        api_prepare_stack(opts->engine);
        return create_on(opts, opts->engine, ret_space);
    }
    engine_opts.kind = opts->engine_kind;
    err = documented_for_engine(engine_create(&engine_opts, &own));
    if (err)
        return err;
    err = create_on(opts, own, ret_space);
    if (err)
        engine_destroy(own);
    return err;
}

int uf_space_destroy(struct uf_space *space)
{
    const struct space_origin *origin;
    struct uf_engine *own;
    void *made_from;

    if (!space)
        return 0;
    if (!api_is_live(space))
        return -EINVAL;
    if (engine_is_handler_thread())
        return -EDEADLK;
    own = space->own_engine;
    origin = space->origin;
    made_from = space->made_from;
    if (space->engine)
        api_prepare_stack(space->engine);
    default_space_forget(space);
    trap_table_remove(space);
    if (space->engine)
        engine_detach(space);
    else
        space_await_unpinned(space); /* a signal handler may look at it */
    streams_destroy(&space->streams);
    dirty_forget(space);
    recording_free(space);
    ahead_free(space);
    space_destroy(space);
    if (origin)
        origin->release(made_from);
    return own ? engine_destroy(own) : 0;
}

uintptr_t uf_space_base(const struct uf_space *space)
{
    return space_is_live(space) ? space->region.range.start : 0;
}

size_t uf_space_len(const struct uf_space *space)
{
    return space_is_live(space) ? range_len(space->region.range) : 0;
}

struct uf_engine *uf_space_engine(const struct uf_space *space)
{
    return space_is_live(space) ? space->engine : NULL;
}

int uf_space_set_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t bytes)
{
    return api_is_live(space) ? space_set_limit(space, which, bytes) : -EINVAL;
}

int uf_space_get_limit(struct uf_space *space, enum uf_limit which,
                       uint64_t *ret_bytes)
{
    return api_is_live(space) ? space_get_limit(space, which, ret_bytes)
                              : -EINVAL;
}

int uf_space_walk(struct uf_space *space,
                  int (*visit)(void *data, const struct uf_vma_info *vma),
                  void *data)
{
    if (!api_is_live(space) || !visit)
        return -EINVAL;
    return space_walk(space, visit, data);
}

ssize_t uf_space_maps(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!api_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_maps(space, text, len_bytes);
}

ssize_t uf_space_smaps(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!api_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_smaps(space, text, len_bytes);
}

ssize_t uf_space_status(struct uf_space *space, char *text, size_t len_bytes)
{
    if (!api_is_live(space) || (!text && len_bytes > 0))
        return -EINVAL;
    return space_status(space, text, len_bytes);
}

int uf_space_stats(struct uf_space *space, struct uf_stats *stats)
{
    if (!api_is_live(space) || !stats || stats->size != sizeof(*stats))
        return -EINVAL;
    space_stats(space, stats);
    stats->huge_pool_ready = huge_ready(space);
    return 0;
}

ssize_t uf_space_thread_stats(struct uf_space *space,
                              struct uf_thread_stats *threads, size_t max)
{
    if (!api_is_live(space) || (!threads && max > 0))
        return -EINVAL;
    return (ssize_t)space_thread_stats(space, threads, max);
}

ssize_t uf_stats_text(const struct uf_stats *stats, char *text,
                      size_t len_bytes)
{
    if (!stats || stats->size != sizeof(*stats) || (!text && len_bytes > 0))
        return -EINVAL;
    return export_text(stats, text, len_bytes);
}

ssize_t uf_stats_json(const struct uf_stats *stats, char *text,
                      size_t len_bytes)
{
    if (!stats || stats->size != sizeof(*stats) || (!text && len_bytes > 0))
        return -EINVAL;
    return export_json(stats, text, len_bytes);
}

int uf_probe(struct uf_probe *probe)
{
    if (!probe || probe->size != sizeof(*probe))
        return -EINVAL;
    return caps_probe(probe);
}

const char *uf_feature_name(unsigned bit)
{
    return caps_feature_name(bit);
}

const char *uf_feature_since(unsigned bit)
{
    return caps_feature_since(bit);
}

int uf_pager_create(const struct uf_pager_ops *ops, void *context,
                    struct uf_pager **ret_pager)
{
    return pager_create(ops, context, ret_pager);
}

int uf_pager_callback(ssize_t (*fill)(void *context,
                                      const struct uf_fill *request),
                      void *context, struct uf_pager **ret_pager)
{
    struct uf_pager_ops ops = {
        .size = sizeof(ops), .name = "callback", .fill = fill};

    return pager_create(&ops, context, ret_pager);
}

struct uf_pager *uf_pager_zero(void)
{
    return pager_zero();
}

struct uf_pager *uf_pager_ref(struct uf_pager *pager)
{
    return pager_ref(pager);
}

void uf_pager_unref(struct uf_pager *pager)
{
    pager_unref(pager);
}
