/* SPDX-License-Identifier: MIT */
/*
 * clones: spaces of a template that are kept ready. A space that comes back is
 * reset before anybody can get it again, outside the lock.
 */
#include "snapshot/clones.h"

#include <errno.h>

#include "base/slab.h"
#include "snapshot/template.h"
#include "ufault/ufault.h"

struct uf_pool {
    struct uf_template *template;
    struct uf_space_opts opts;
    bool has_opts;
    struct lock lock; /* guards what follows */
    size_t ready;
    size_t out;
    size_t most; /* out at a time; 0: any number */
    size_t keep;
    struct uf_space **spaces; /* `ready` of them */
};

static struct slab_cache pools = SLAB_CACHE("pool", sizeof(struct uf_pool));

static size_t room_bytes(size_t keep)
{
    return align_up((keep ? keep : 1) * sizeof(struct uf_space *), page_size());
}

static int fresh(struct uf_pool *pool, struct uf_space **ret_space)
{
    return template_clone(pool->template, pool->has_opts ? &pool->opts : NULL,
                          ret_space);
}

/* Puts it among those that are ready. False: there are enough. */
static bool add(struct uf_pool *pool, struct uf_space *space)
{
    bool fits;

    lock_take(&pool->lock);
    fits = pool->ready < pool->keep;
    if (fits)
        pool->spaces[pool->ready++] = space;
    lock_release(&pool->lock);
    return fits;
}

/* One that is ready, or NULL. */
static struct uf_space *take(struct uf_pool *pool)
{
    struct uf_space *space = NULL;

    lock_take(&pool->lock);
    if (pool->ready > 0)
        space = pool->spaces[--pool->ready];
    lock_release(&pool->lock);
    return space;
}

/* One more is out. False: too many would be. */
static bool lend(struct uf_pool *pool)
{
    bool may;

    lock_take(&pool->lock);
    may = pool->most == 0 || pool->out < pool->most;
    pool->out += may;
    lock_release(&pool->lock);
    return may;
}

static void unlend(struct uf_pool *pool)
{
    lock_take(&pool->lock);
    pool->out--;
    lock_release(&pool->lock);
}

int clones_create(struct uf_template *t, const struct uf_space_opts *opts,
                  size_t keep, struct uf_pool **ret_pool)
{
    struct uf_pool *pool = slab_alloc(&pools);
    int err = 0;

    if (!pool)
        return -ENOMEM;
    lock_init(&pool->lock, LOCK_RANK_POOL);
    pool->template = template_ref(t);
    pool->has_opts = opts != NULL;
    if (opts)
        pool->opts = *opts;
    pool->keep = keep;
    pool->spaces = slab_pages(room_bytes(keep));
    if (!pool->spaces)
        err = -ENOMEM;
    for (size_t i = 0; i < keep && !err; i++) {
        struct uf_space *space;

        err = fresh(pool, &space);
        if (!err)
            add(pool, space);
    }
    if (err)
        clones_destroy(pool);
    else
        *ret_pool = pool;
    return err;
}

void clones_limit(struct uf_pool *pool, size_t most)
{
    lock_take(&pool->lock);
    pool->most = most;
    lock_release(&pool->lock);
}

int clones_get(struct uf_pool *pool, struct uf_space **ret_space)
{
    struct uf_space *space;
    int err = 0;

    if (!lend(pool))
        return -EAGAIN;
    space = take(pool);
    if (!space)
        err = fresh(pool, &space);
    if (err) {
        unlend(pool);
        return err;
    }
    atomic_store(&space->lent_by, pool);
    *ret_space = space;
    return 0;
}

int clones_put(struct uf_pool *pool, struct uf_space *space)
{
    struct uf_pool *lender = pool;

    /* One of two who put it at once has it. */
    if (!atomic_compare_exchange_strong(&space->lent_by, &lender, NULL))
        return -EINVAL;
    if (template_reset(space) != 0 || !add(pool, space))
        uf_space_destroy(space);
    unlend(pool);
    return 0;
}

size_t clones_ready(struct uf_pool *pool)
{
    size_t ready;

    lock_take(&pool->lock);
    ready = pool->ready;
    lock_release(&pool->lock);
    return ready;
}

void clones_destroy(struct uf_pool *pool)
{
    struct uf_space *space;

    while (pool->spaces && (space = take(pool)))
        uf_space_destroy(space);
    slab_pages_free(pool->spaces, room_bytes(pool->keep));
    template_unref(pool->template);
    lock_destroy(&pool->lock);
    slab_free(&pools, pool);
}
