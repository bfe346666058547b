/* SPDX-License-Identifier: MIT */
/* See writeback.h. */
#include "fault/writeback.h"

#include <errno.h>

#include "fault/background.h"
#include "fault/engine.h"
#include "fault/fault.h"
#include "mm/shared.h"
#include "pager/cache.h"
#include "pager/pager.h"

/* What is collected from every space. */
struct collection {
    const struct uf_pager *pager;
    struct range offsets;
    bool exact_only; /* not where all that is there counts as written */
};

static void collect(void *arg, struct uf_space *space)
{
    const struct collection *c = arg;

    if (!atomic_load(&space->has_shared))
        return;
    rwlock_take_read(&space->map_lock);
    if (!atomic_load(&space->dying) &&
        !(c->exact_only && !shared_is_exact(space, c->pager)))
        shared_collect_pager_locked(space, c->pager, c->offsets);
    rwlock_release(&space->map_lock);
}

static void collect_and_write(struct pager_cache *cache, struct range offsets,
                              bool exact_only)
{
    struct collection c = {cache_pager(cache), offsets, exact_only};

    engine_visit_spaces(collect, &c);
    cache_write(cache, offsets);
}

int writeback_sync(struct uf_pager *pager, struct range offsets)
{
    struct pager_cache *cache = cache_of(pager);
    int err;

    if (!cache)
        return 0; /* nothing was ever mapped shared */
    if (engine_is_handler_thread() || !cache_begin(cache, true))
        return -EDEADLK;
    collect_and_write(cache, offsets, false);
    cache_flush(cache);
    err = cache_take_error(cache); /* before another one has its turn */
    cache_end(cache);
    return err;
}

bool writeback_turn(struct handler *handler)
{
    struct pager_cache *cache = cache_take_due(fault_clock_ns());
    struct range all = {0, align_down(INT64_MAX, page_size())};
    bool entered;

    if (!cache)
        return false;
    entered = engine_enter_user_code();
    if (cache_begin(cache, false)) { /* who does it now does it for us */
        collect_and_write(cache, all, true);
        cache_end(cache);
    }
    pager_unref(cache_pager(cache));
    fault_revoke_self_touch(&handler->self_touch, NULL);
    engine_leave_user_code(entered);
    return true;
}

uint64_t writeback_wait_ns(void)
{
    uint64_t due = cache_next_due(), now = fault_clock_ns();

    if (due == 0)
        return 0;
    return due > now ? due - now : 1;
}

static void ring(void *arg, struct uf_space *space)
{
    struct background *background = background_running(space->engine);

    (void)arg;
    if (background && atomic_load(&space->has_shared))
        background_kick(background);
}

void writeback_hurry(void)
{
    engine_visit_spaces(ring, NULL);
}

void writeback_begin(struct uf_space *space)
{
    struct background *background;

    if (!space->engine || background_start(space->engine) != 0)
        return; /* without: when asked, and when it is unmapped */
    background = background_running(space->engine);
    if (background)
        background_kick(background);
}
