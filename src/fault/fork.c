/* SPDX-License-Identifier: MIT */
/*
 * fork: what becomes of engines and spaces in a forked child.
 *
 * The kernel drops the userfaultfd registration in the child (EVENT_FORK would
 * keep it, for privileged processes, and make every fork wait for a handler).
 * So the child's copy of a space is plain memory: resident pages are copies,
 * all others would read as zeros, silently. The policies:
 *
 *     ZERO     zeros are what belongs there: left to the kernel
 *     NONE     not inherited (MADV_DONTFORK): SIGSEGV, and the handle is dead
 *     ENGINE   a new descriptor and new handler threads, before fork returns
 *
 * If a child with ENGINE cannot have one, its spaces are closed where zeros
 * would be wrong: never silent wrong data.
 *
 * prepare takes every lock in order, so the child's copies are consistent; the
 * child re-makes them, as their holders do not exist there.
 */
#include "fault/engine.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "base/thread_id.h"
#include "fault/ahead.h"
#include "fault/background.h"
#include "fault/dirty.h"
#include "fault/trap.h"
#include "mm/shared.h"
#include "pager/cache.h"

static struct lock registry = LOCK_INIT(LOCK_RANK_REGISTRY);
static struct uf_engine *all_engines;
static bool handlers_installed; /* registry */

void engine_fork_is_mine(void)
{
    lock_take(&registry);
    handlers_installed = true;
    lock_release(&registry);
}

/*
 * When we are loaded, not with the first engine. prepare runs last what was
 * installed first: an allocator that lives on a space takes its locks in its
 * own prepare, and must have them before we take ours, as in its calls to us.
 * And our locks are in use before there is an engine.
 */
__attribute__((constructor(102))) static void install_handlers(void)
{
    bool install;

    lock_take(&registry);
    install = !handlers_installed;
    handlers_installed = true;
    lock_release(&registry);
    if (install)
        pthread_atfork(engine_fork_prepare, engine_fork_parent,
                       engine_fork_child);
}

void engine_register(struct uf_engine *engine)
{
    install_handlers(); /* for who called before our constructor */
    lock_take(&registry);
    engine->next = all_engines;
    all_engines = engine;
    lock_release(&registry);
}

void engine_unregister(struct uf_engine *engine)
{
    struct uf_engine **link = &all_engines;

    lock_take(&registry);
    while (*link && *link != engine)
        link = &(*link)->next;
    if (*link)
        *link = engine->next;
    lock_release(&registry);
}

void engine_visit_spaces(void (*visit)(void *arg, struct uf_space *space),
                         void *arg)
{
    lock_take(&registry);
    for (struct uf_engine *e = all_engines; e; e = e->next) {
        struct uf_space *space;
        uintptr_t addr = 0;

        while ((space = engine_pin_next_space(e, addr))) {
            addr = space->resident.range.end;
            visit(arg, space);
            space_unpin(space);
        }
    }
    lock_release(&registry);
}

static void take_engine(struct uf_engine *engine)
{
    lock_fork_take(&engine->lock);
    for (unsigned i = 0; i < engine->nchannels; i++)
        lock_fork_take(&engine->channels[i]->deferred.lock);
    for (size_t i = 0; i < engine->nspaces; i++) {
        rwlock_fork_take(&engine->spaces[i]->map_lock);
        lock_fork_take(&engine->spaces[i]->threads.lock);
    }
}

static void release_engine(struct uf_engine *engine)
{
    for (size_t i = 0; i < engine->nspaces; i++) {
        lock_fork_release(&engine->spaces[i]->threads.lock);
        rwlock_fork_release(&engine->spaces[i]->map_lock);
    }
    for (unsigned i = engine->nchannels; i-- > 0;)
        lock_fork_release(&engine->channels[i]->deferred.lock);
    lock_fork_release(&engine->lock);
}

void engine_fork_prepare(void)
{
    lock_fork_take(&registry);
    trap_fork_prepare();
    for (struct uf_engine *e = all_engines; e; e = e->next)
        take_engine(e);
    caches_fork_prepare();
    slab_fork_prepare();
}

void engine_fork_parent(void)
{
    slab_fork_parent();
    caches_fork_parent();
    for (struct uf_engine *e = all_engines; e; e = e->next)
        release_engine(e);
    trap_fork_parent();
    lock_fork_release(&registry);
}

static void remake_locks(struct uf_engine *engine)
{
    lock_fork_child(&engine->lock);
    lock_fork_child(&engine->starting);
    for (unsigned i = 0; i < engine->nchannels; i++) {
        lock_fork_child(&engine->channels[i]->reader);
        flights_fork_child(&engine->channels[i]->flights);
        deferred_fork_child(&engine->channels[i]->deferred);
    }
    for (size_t i = 0; i < engine->nspaces; i++) {
        rwlock_fork_child(&engine->spaces[i]->map_lock);
        lock_fork_child(&engine->spaces[i]->threads.lock);
    }
}

static void forget_channel(struct channel *channel, bool close_fds)
{
    atomic_store(&channel->nhandlers, 0);
    near_forget(channel, close_fds);
    atomic_store(&channel->nudged, false);
    if (close_fds) {
        uffd_close(&channel->uffd);
        close(channel->stop_fd);
    }
    channel->uffd.fd = -1;
    channel->stop_fd = -1;
}

/* The parent's faults, threads and descriptors are not ours. */
static void forget_parent(struct uf_engine *engine)
{
    for (unsigned i = 0; i < engine->nchannels; i++)
        forget_channel(engine->channels[i], !engine->private_fds);
    background_fork_child(engine);
    for (size_t i = 0; i < engine->nspaces; i++) {
        atomic_store(&engine->spaces[i]->pins, 0);
        atomic_store(&engine->spaces[i]->unsettled, 0);
        GAUGE_SET(engine->spaces[i]->counters, pending, 0);
        ahead_fork_child(engine->spaces[i]);
        engine_return_descriptor(engine->spaces[i]);
    }
}

/* The same engine with descriptors and threads of this process. */
static int restart(struct uf_engine *engine)
{
    unsigned nhandlers = engine->opts.nhandlers;
    struct uffd uffds[UFFD_PARTS_MAX];
    int err = engine_open_uffds(&engine->opts, engine_kind(engine), uffds);

    if (err)
        return err;
    engine->private_fds = false;
    err = engine_open_channels(engine, uffds);
    if (err)
        return err;
    for (size_t i = 0; i < engine->nspaces; i++)
        if (engine_handlers_for(engine->spaces[i]) > nhandlers)
            nhandlers = engine_handlers_for(engine->spaces[i]);
    return engine_start_handlers(engine, nhandlers);
}

/* A space whose copy may not be read as zeros, and cannot be served. */
static void close_space(struct uf_space *space)
{
    region_forbid(&space->region, space->region.range);
    atomic_store(&space->magic, 0);
}

/* `huge`: some of its memory has the huge policy. */
static bool serve_again(struct uf_engine *engine, struct uf_space *space,
                        bool huge)
{
    if (engine_lend_descriptor(engine, space) == 0 &&
        space_register(space) == 0) {
        shared_protect_all(space);
        if (huge)
            background_ready_for_huge(space);
        return true;
    }
    engine_return_descriptor(space);
    return false;
}

/* What the child keeps of one space. True: it stays with the engine. */
static bool inherit(struct uf_engine *engine, struct uf_space *space,
                    bool engine_runs)
{
    bool huge = atomic_exchange(&space->background, NULL) != NULL;

    dirty_forget(space);
    switch (space->config.fork) {
    case UF_FORK_NONE:
        atomic_store(&space->magic, 0);
        return false;
    case UF_FORK_ENGINE:
        space_inherit(space);
        if (engine_runs && serve_again(engine, space, huge))
            return true;
        if (atomic_load(&space->has_pagers)) {
            close_space(space);
            return false;
        }
        break;
    default:
        space_inherit(space);
        break;
    }
    space->engine = NULL; /* the kernel serves zeros */
    return false;
}

static bool wants_engine(const struct uf_engine *engine)
{
    for (size_t i = 0; i < engine->nspaces; i++)
        if (engine->spaces[i]->config.fork == UF_FORK_ENGINE)
            return true;
    return false;
}

static void inherit_engine(struct uf_engine *engine)
{
    bool runs = wants_engine(engine) && restart(engine) == 0;
    size_t kept = 0;

    if (runs)
        background_fork_restart(engine);
    for (size_t i = 0; i < engine->nspaces; i++)
        if (inherit(engine, engine->spaces[i], runs))
            engine->spaces[kept++] = engine->spaces[i];
    engine->nspaces = kept;
    if (!runs)
        atomic_store(&engine->broken, true);
}

/* This thread holds what prepare took, and gives it back as the parent does;
 * then all is made anew, as waiters of the parent's may be noted in it. */
void engine_fork_child(void)
{
    engine_fork_parent();
    thread_id_forget();
    slab_fork_child();
    caches_fork_child();
    lock_fork_child(&registry);
    engine_forget_handlers();
    for (struct uf_engine *e = all_engines; e; e = e->next) {
        remake_locks(e);
        forget_parent(e);
    }
    for (struct uf_engine *e = all_engines; e; e = e->next)
        inherit_engine(e);
    trap_fork_child();
}
