/* SPDX-License-Identifier: MIT */
/* See background.h. */
#include "fault/background.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/slab.h"
#include "fault/ahead.h"
#include "fault/engine.h"
#include "fault/fault.h"
#include "fault/huge.h"
#include "fault/pool.h"
#include "fault/ring.h"
#include "fault/writeback.h"

#define POOL_BYTES_DEFAULT ((uint64_t)64 << 20)

/* Faults that go on for this long are not let by any longer: they wait for a
 * pager, and not for us, or do not end at all. */
#define GIVE_WAY_NS    50000
#define GIVE_WAY_TURNS BACKGROUND_GIVE_WAY

/* A stream that takes huge pages has paused if it takes none for so long. */
#define POOL_NAP_NS 500000

/* How often a block is tried that cannot be made huge now, and the pause before
 * each but the first. */
#define PROMOTE_TRIES 4
#define PROMOTE_PAUSE 50000000ull

struct background {
    struct uf_engine *engine;
    struct handler *_Atomic handler; /* NULL: no thread; engine->starting */
    bool was_running;                /* forked child: it had a thread */
    struct huge_pool *_Atomic pool;  /* set once */
    bool is_huge_known;              /* engine->starting */
    bool is_huge;                    /* the kernel gives huge pages */
    atomic_bool stopping;
    _Atomic uint32_t bell; /* 1: rung; 0: the thread sleeps, or is about to */
    struct lock lock;      /* guards the rings */
    struct ring ranges;
    struct ring aheads; /* each once round, a turn each */
    struct ring blocks;
    struct ring again;  /* blocks that were tried; in the order of due_ns */
    atomic_size_t naps; /* of give_way */
};

static struct slab_cache backgrounds =
    SLAB_CACHE("background", sizeof(struct background));

struct huge_pool *background_pool(const struct background *background)
{
    return atomic_load(&background->pool);
}

struct handler *background_handler(const struct background *background)
{
    return atomic_load(&background->handler);
}

bool background_give_handler(struct background *background,
                             struct handler *handler)
{
    if (atomic_load(&background->handler))
        return false;
    atomic_store(&background->handler, handler);
    return true;
}

void background_kick(struct background *background)
{
    if (atomic_exchange(&background->bell, 1) == 0)
        syscall(SYS_futex, &background->bell, FUTEX_WAKE_PRIVATE, 1, NULL);
}

/* ---- The rings --------------------------------------------------------- */

static bool put(struct background *background, struct ring *ring,
                struct entry entry)
{
    bool fits;

    lock_take(&background->lock);
    fits = ring_put(ring, entry);
    lock_release(&background->lock);
    if (fits)
        background_kick(background);
    return fits;
}

/* A copy of the first entry, its space pinned; false if there is none. */
static bool look(struct background *background, struct ring *ring,
                 struct entry *ret)
{
    struct entry *first;

    lock_take(&background->lock);
    first = ring_first(ring);
    if (first) {
        *ret = *first;
        space_pin(ret->space);
    }
    lock_release(&background->lock);
    return first != NULL;
}

/* `left` of what `look` found is still to do; unpins. */
static void done(struct background *background, struct ring *ring,
                 const struct entry *found, struct range left)
{
    struct entry *first = &ring->entries[ring->first];

    lock_take(&background->lock);
    first->range = left;
    if (range_is_empty(left))
        first->space = NULL;
    lock_release(&background->lock);
    space_unpin(found->space);
}

int background_prefetch(struct background *background, struct uf_space *space,
                        struct range range)
{
    struct entry entry = {.space = space, .range = range};

    return put(background, &background->ranges, entry) ? 0 : -EAGAIN;
}

int background_ahead(struct background *background, struct uf_space *space)
{
    struct entry entry = {.space = space, .range = space->resident.range};

    return put(background, &background->aheads, entry) ? 0 : -EAGAIN;
}

void background_promote(struct background *background, struct uf_space *space,
                        struct range block)
{
    struct entry entry = {.space = space, .range = block};

    if (!put(background, &background->blocks, entry))
        COUNT(space->counters, huge_unpromoted);
}

void background_forget(struct uf_engine *engine, const struct uf_space *space)
{
    struct background *background = atomic_load(&engine->background);

    if (!background)
        return;
    lock_take(&background->lock);
    ring_forget(&background->ranges, space);
    ring_forget(&background->aheads, space);
    ring_forget(&background->blocks, space);
    ring_forget(&background->again, space);
    lock_release(&background->lock);
}

/* ---- The thread -------------------------------------------------------- */

static void nap(long ns)
{
    const struct timespec ts = {0, ns};

    nanosleep(&ts, NULL);
}

/* Naps while faults of any of the engine's spaces come, or one of this space
 * (NULL: none) is not answered yet. */
static void give_way(struct background *background,
                     const struct uf_space *space)
{
    struct uf_engine *engine = background->engine;

    for (int n = 0; n < GIVE_WAY_TURNS && !atomic_load(&background->stopping);
         n++) {
        bool faulting = atomic_exchange(&engine->is_faulting, false);

        if (!faulting && !(space && COUNTER_GET(space->counters, pending) > 0))
            return;
        atomic_fetch_add(&background->naps, 1);
        nap(GIVE_WAY_NS);
    }
}

size_t background_naps(const struct background *background)
{
    return atomic_load(&background->naps);
}

static bool prefetch_turn(struct background *background,
                          struct handler *handler)
{
    struct ring *ring = &background->ranges;
    struct entry entry;
    struct range left;

    if (!look(background, ring, &entry))
        return false;
    left = entry.range;
    give_way(background, entry.space);
    prefetch_some(entry.space, handler, &left);
    done(background, ring, &entry, left);
    return true;
}

/* Back to the end of the ring, if there is more, and if it was not forgotten
 * meanwhile; unpins. */
static void go_round(struct background *background, struct ring *ring,
                     const struct entry *found, bool more)
{
    struct entry *first = &ring->entries[ring->first];

    lock_take(&background->lock);
    if (first->space) {
        first->space = NULL;
        ring_first(ring); /* makes its room free */
        if (more)
            ring_put(ring, *found);
    }
    lock_release(&background->lock);
    space_unpin(found->space);
}

static bool ahead_turn(struct background *background, struct handler *handler)
{
    struct ring *ring = &background->aheads;
    struct entry entry;

    if (!look(background, ring, &entry))
        return false;
    go_round(background, ring, &entry, ahead_some(entry.space, handler));
    return true;
}

/* Tries the first block of the ring, if it is due. */
static bool promote_one(struct background *background, struct ring *ring)
{
    struct entry entry;
    bool again;

    if (!look(background, ring, &entry))
        return false;
    if (entry.due_ns > fault_clock_ns()) {
        done(background, ring, &entry, entry.range);
        return false;
    }
    give_way(background, entry.space);
    again = huge_promote(entry.space, entry.range) == -EAGAIN;
    if (again) {
        struct entry next = entry;

        next.tries++;
        next.due_ns = fault_clock_ns() + PROMOTE_PAUSE;
        if (next.tries == PROMOTE_TRIES ||
            !put(background, &background->again, next))
            COUNT(entry.space->counters, huge_unpromoted);
    }
    done(background, ring, &entry, (struct range){0, 0});
    return true;
}

static bool promote_turn(struct background *background)
{
    return promote_one(background, &background->blocks) ||
           promote_one(background, &background->again);
}

/* Zeroing more while others take what is ready would only slow them down. */
static bool pool_turn(struct background *background)
{
    struct huge_pool *pool = atomic_load(&background->pool);

    if (!pool)
        return false;
    if (pool_is_in_use(pool)) {
        nap(POOL_NAP_NS);
        return true;
    }
    if (pool_is_full(pool))
        return false;
    give_way(background, NULL);
    return pool_fill_one(pool);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a ? a : b;
    return a < b ? a : b;
}

static bool writeback_due(struct background *background,
                          struct handler *handler)
{
    if (writeback_wait_ns() != 1)
        return false;
    give_way(background, NULL);
    return writeback_turn(handler);
}

/* Until it is rung; or something is to be tried again, or written back. */
static void await_bell(struct background *background)
{
    struct huge_pool *pool = atomic_load(&background->pool);
    struct timespec ts = {0};
    uint64_t ns = pool ? pool_starves_ns(pool) : 0;

    lock_take(&background->lock);
    if (ring_first(&background->again))
        ns = sooner(ns, PROMOTE_PAUSE);
    lock_release(&background->lock);
    ns = sooner(ns, writeback_wait_ns());
    ts.tv_sec = (time_t)(ns / 1000000000u);
    ts.tv_nsec = (long)(ns % 1000000000u);
    syscall(SYS_futex, &background->bell, FUTEX_WAIT_PRIVATE, 0,
            ns ? &ts : NULL, NULL, 0);
}

void background_run(struct handler *handler)
{
    struct background *background = handler->background;

    /* Does not take the CPU from who just wakes. An idle policy would keep a
     * shared lock from its writers for as long as others have work. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    while (!atomic_load(&background->stopping)) {
        bool any = ahead_turn(background, handler);

        any |= prefetch_turn(background, handler);
        any |= pool_turn(background);
        any |= promote_turn(background);
        any |= writeback_due(background, handler);
        /* Rung since the last time: looks once more. */
        if (any || atomic_exchange(&background->bell, 0) == 1)
            continue;
        await_bell(background);
    }
}

/* ---- Its life ---------------------------------------------------------- */

static void destroy(struct background *background)
{
    pool_destroy(background->pool);
    ring_destroy(&background->ranges);
    ring_destroy(&background->aheads);
    ring_destroy(&background->blocks);
    ring_destroy(&background->again);
    lock_destroy(&background->lock);
    slab_free(&backgrounds, background);
}

/* Without a thread. */
static struct background *make(struct uf_engine *engine)
{
    struct background *background = slab_alloc(&backgrounds);

    if (!background)
        return NULL;
    background->engine = engine;
    lock_init(&background->lock, LOCK_RANK_BACKGROUND);
    if (!ring_init(&background->ranges, BACKGROUND_RANGES) ||
        !ring_init(&background->aheads, BACKGROUND_AHEADS) ||
        !ring_init(&background->blocks, BACKGROUND_BLOCKS) ||
        !ring_init(&background->again, BACKGROUND_BLOCKS)) {
        destroy(background);
        return NULL;
    }
    return background;
}

/* The engine's record; NULL if there is no memory. */
static struct background *get_locked(struct uf_engine *engine)
{
    struct background *background = atomic_load(&engine->background);

    if (!background) {
        background = make(engine);
        atomic_store(&engine->background, background);
    }
    return background;
}

int background_start(struct uf_engine *engine)
{
    struct background *background;

    lock_take(&engine->starting);
    background = get_locked(engine);
    lock_release(&engine->starting);
    if (!background)
        return -ENOMEM;
    return background_handler(background)
               ? 0
               : engine_start_background(background, engine);
}

struct background *background_running(struct uf_engine *engine)
{
    struct background *background = atomic_load(&engine->background);

    return background && background_handler(background) ? background : NULL;
}

static void make_pool_locked(struct background *background)
{
    uint64_t limit = background->engine->opts.huge_pool_bytes;
    struct huge_pool *pool;

    if (background->is_huge_known)
        return;
    background->is_huge_known = true;
    background->is_huge = pool_is_of_use();
    if (!background->is_huge || !background->engine->channels[0]->uffd.can_move)
        return;
    if (pool_create(limit ? limit : POOL_BYTES_DEFAULT, &pool) == 0)
        atomic_store(&background->pool, pool);
}

void background_ready_for_huge(struct uf_space *space)
{
    struct uf_engine *engine = space->engine;
    struct background *background;

    /* Under `ufault run` the descriptor is not every thread's. */
    if (!engine || atomic_load(&space->background) || engine->private_fds ||
        space->populates_by_kernel || space->region.kind != REGION_RESERVED)
        return;
    lock_take(&engine->starting);
    background = get_locked(engine);
    if (background)
        make_pool_locked(background);
    lock_release(&engine->starting);
    if (!background || !background->is_huge)
        return;
    atomic_store(&space->background, background);
    background_kick(background);
}

/* It is waited for: it may take the CPU from others when it wakes. */
static void hurry(struct handler *handler)
{
    pid_t tid = atomic_load(&handler->tid);

    if (tid != 0)
        sched_setscheduler(tid, SCHED_OTHER, &(struct sched_param){0});
}

void background_stop(struct uf_engine *engine)
{
    struct background *background = atomic_exchange(&engine->background, NULL);
    struct handler *handler;

    if (!background)
        return;
    handler = background_handler(background);
    atomic_store(&background->stopping, true);
    if (handler)
        hurry(handler);
    background_kick(background);
    if (handler)
        engine_join_handler(handler);
    destroy(background);
}

void background_fork_child(struct uf_engine *engine)
{
    struct background *background = atomic_load(&engine->background);
    struct huge_pool *pool;

    if (!background)
        return;
    pool = atomic_exchange(&background->pool, NULL);
    if (pool)
        pool_forget(pool);
    background->is_huge_known = false;
    background->was_running = background_handler(background) != NULL;
    atomic_store(&background->handler, NULL);
    atomic_store(&background->bell, 0);
    lock_fork_child(&background->lock);
    ring_empty(&background->ranges);
    ring_empty(&background->aheads);
    ring_empty(&background->blocks);
    ring_empty(&background->again);
}

void background_fork_restart(struct uf_engine *engine)
{
    struct background *background = atomic_load(&engine->background);

    if (background && background->was_running)
        background_start(engine);
}
