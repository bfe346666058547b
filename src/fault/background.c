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
#include "fault/engine.h"
#include "fault/huge.h"
#include "fault/pool.h"

#define POOL_BYTES_DEFAULT ((uint64_t)64 << 20)

/* A fault that is not answered in this time waits for a pager, and not for us.
 */
#define GIVE_WAY_NS    50000
#define GIVE_WAY_TURNS 40

/* A stream that takes huge pages has paused if it takes none for so long. */
#define POOL_NAP_NS 500000

struct entry {
    struct uf_space *space; /* NULL: forgotten */
    struct range range;
};

/* Entries [first, first + count), round. The thread alone takes out. */
struct ring {
    struct entry *entries;
    unsigned size;
    unsigned first;
    unsigned count;
};

struct background {
    struct uf_engine *engine;
    struct handler *handler;
    struct huge_pool *_Atomic pool; /* set once */
    bool is_huge_known;             /* engine->starting */
    bool is_huge;                   /* the kernel gives huge pages */
    atomic_bool stopping;
    _Atomic uint32_t bell; /* 1: rung; 0: the thread sleeps, or is about to */
    struct lock lock;      /* guards the rings */
    struct ring ranges;
    struct ring blocks;
};

static struct slab_cache backgrounds =
    SLAB_CACHE("background", sizeof(struct background));

struct huge_pool *background_pool(const struct background *background)
{
    return atomic_load(&background->pool);
}

struct handler *background_handler(const struct background *background)
{
    return background->handler;
}

void background_kick(struct background *background)
{
    if (atomic_exchange(&background->bell, 1) == 0)
        syscall(SYS_futex, &background->bell, FUTEX_WAKE_PRIVATE, 1, NULL);
}

/* ---- The rings --------------------------------------------------------- */

static bool ring_init(struct ring *ring, unsigned size)
{
    ring->entries = slab_pages(size * sizeof(ring->entries[0]));
    ring->size = size;
    return ring->entries != NULL;
}

static void ring_destroy(struct ring *ring)
{
    slab_pages_free(ring->entries, ring->size * sizeof(ring->entries[0]));
}

static bool ring_put(struct ring *ring, struct uf_space *space,
                     struct range range)
{
    unsigned i = (ring->first + ring->count) % ring->size;

    if (ring->count == ring->size)
        return false;
    ring->entries[i] = (struct entry){space, range};
    ring->count++;
    return true;
}

/* The first entry that counts; NULL if there is none. */
static struct entry *ring_first(struct ring *ring)
{
    while (ring->count > 0) {
        struct entry *entry = &ring->entries[ring->first];

        if (entry->space)
            return entry;
        ring->first = (ring->first + 1) % ring->size;
        ring->count--;
    }
    return NULL;
}

static void ring_forget(struct ring *ring, const struct uf_space *space)
{
    for (unsigned n = 0; n < ring->count; n++) {
        struct entry *entry = &ring->entries[(ring->first + n) % ring->size];

        if (entry->space == space)
            entry->space = NULL;
    }
}

static bool put(struct background *background, struct ring *ring,
                struct uf_space *space, struct range range)
{
    bool fits;

    lock_take(&background->lock);
    fits = ring_put(ring, space, range);
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
    return put(background, &background->ranges, space, range) ? 0 : -EAGAIN;
}

void background_promote(struct background *background, struct uf_space *space,
                        struct range block)
{
    put(background, &background->blocks, space, block);
}

void background_forget(struct uf_engine *engine, const struct uf_space *space)
{
    struct background *background = atomic_load(&engine->background);

    if (!background)
        return;
    lock_take(&background->lock);
    ring_forget(&background->ranges, space);
    ring_forget(&background->blocks, space);
    lock_release(&background->lock);
}

/* ---- The thread -------------------------------------------------------- */

static void nap(long ns)
{
    const struct timespec ts = {0, ns};

    nanosleep(&ts, NULL);
}

static void give_way(struct background *background,
                     const struct uf_space *space)
{
    for (int n = 0;
         n < GIVE_WAY_TURNS && COUNTER_GET(space->counters, pending) > 0 &&
         !atomic_load(&background->stopping);
         n++)
        nap(GIVE_WAY_NS);
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

static bool promote_turn(struct background *background)
{
    struct ring *ring = &background->blocks;
    struct entry entry;

    if (!look(background, ring, &entry))
        return false;
    give_way(background, entry.space);
    huge_promote(entry.space, entry.range);
    done(background, ring, &entry, (struct range){0, 0});
    return true;
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
    return pool_fill_one(pool);
}

void background_run(struct handler *handler)
{
    struct background *background = handler->background;

    /* Does not take the CPU from who just wakes. An idle policy would keep a
     * shared lock from its writers for as long as others have work. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    while (!atomic_load(&background->stopping)) {
        bool any = prefetch_turn(background, handler);

        any |= pool_turn(background);
        any |= promote_turn(background);
        /* Rung since the last time: looks once more. */
        if (any || atomic_exchange(&background->bell, 0) == 1)
            continue;
        syscall(SYS_futex, &background->bell, FUTEX_WAIT_PRIVATE, 0, NULL, NULL,
                0);
    }
}

/* ---- Its life ---------------------------------------------------------- */

static void destroy(struct background *background)
{
    pool_destroy(background->pool);
    ring_destroy(&background->ranges);
    ring_destroy(&background->blocks);
    lock_destroy(&background->lock);
    slab_free(&backgrounds, background);
}

static int make(struct uf_engine *engine, struct background **ret)
{
    struct background *background = slab_alloc(&backgrounds);
    int err = -ENOMEM;

    if (!background)
        return err;
    background->engine = engine;
    lock_init(&background->lock, LOCK_RANK_BACKGROUND);
    if (ring_init(&background->ranges, BACKGROUND_RANGES) &&
        ring_init(&background->blocks, BACKGROUND_BLOCKS))
        err = engine_start_background_locked(engine, background,
                                             &background->handler);
    if (err) {
        destroy(background);
        return err;
    }
    *ret = background;
    return 0;
}

int background_start(struct uf_engine *engine, struct background **ret)
{
    struct background *background = atomic_load(&engine->background);
    int err = 0;

    if (!background) {
        lock_take(&engine->starting);
        background = atomic_load(&engine->background);
        if (!background)
            err = make(engine, &background);
        if (!err)
            atomic_store(&engine->background, background);
        lock_release(&engine->starting);
    }
    if (!err)
        *ret = background;
    return err;
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
        space->populates_by_kernel || space->region.kind != REGION_RESERVED ||
        background_start(engine, &background) != 0)
        return;
    lock_take(&engine->starting);
    make_pool_locked(background);
    lock_release(&engine->starting);
    if (!background->is_huge)
        return;
    atomic_store(&space->background, background);
    background_kick(background);
}

void background_stop(struct uf_engine *engine)
{
    struct background *background = atomic_exchange(&engine->background, NULL);

    if (!background)
        return;
    atomic_store(&background->stopping, true);
    background_kick(background);
    engine_join_handler(background->handler);
    destroy(background);
}

void background_fork_child(struct uf_engine *engine)
{
    struct background *background = atomic_exchange(&engine->background, NULL);
    struct huge_pool *pool;

    if (!background)
        return;
    pool = atomic_load(&background->pool);
    if (pool)
        pool_forget(pool);
    ring_destroy(&background->ranges);
    ring_destroy(&background->blocks);
    slab_free(&backgrounds, background);
}
