/* SPDX-License-Identifier: MIT */
/* See recording.h. */
#include "fault/recording.h"

#include <errno.h>

#include "base/slab.h"
#include "fault/working_set.h"

struct recording {
    struct resident seen;
    uint64_t *pages; /* numbers, in order */
    size_t room;     /* of them */
    atomic_size_t npages;
};

static struct slab_cache recordings =
    SLAB_CACHE("recording", sizeof(struct recording));

static void destroy(struct recording *r)
{
    if (!r)
        return;
    if (r->pages)
        slab_pages_free(r->pages, r->room * sizeof(*r->pages));
    if (r->seen.words)
        resident_destroy(&r->seen);
    slab_free(&recordings, r);
}

static struct recording *make(struct range region)
{
    size_t npages = range_len(region) / page_size();
    struct recording *r = slab_alloc(&recordings);

    if (!r)
        return NULL;
    r->room = npages < RECORDING_PAGES_MAX ? npages : RECORDING_PAGES_MAX;
    r->pages = slab_pages(r->room * sizeof(*r->pages));
    if (r->pages && resident_init(&r->seen, region) == 0)
        return r;
    destroy(r);
    return NULL;
}

int recording_start(struct uf_space *space)
{
    struct recording *r = make(space->resident.range);
    bool is_first;

    if (!r)
        return -ENOMEM;
    rwlock_take_write(&space->map_lock);
    is_first = !space->recording;
    if (is_first)
        space->recording = r;
    rwlock_release(&space->map_lock);
    if (!is_first)
        destroy(r);
    return is_first ? 0 : -EBUSY;
}

static struct recording *take(struct uf_space *space)
{
    struct recording *r;

    rwlock_take_write(&space->map_lock);
    r = space->recording;
    space->recording = NULL;
    rwlock_release(&space->map_lock);
    return r;
}

/* How many pages are in the list. */
static size_t count(const struct recording *r)
{
    size_t n = atomic_load(&r->npages);

    return n < r->room ? n : r->room;
}

static void put_back(struct uf_space *space, struct recording *r)
{
    rwlock_take_write(&space->map_lock);
    if (!space->recording) {
        space->recording = r;
        r = NULL;
    }
    rwlock_release(&space->map_lock);
    destroy(r);
}

int recording_stop(struct uf_space *space, struct uf_working_set **ret_set)
{
    struct recording *r = take(space);
    int err = 0;

    if (!r)
        return -EINVAL;
    if (ret_set)
        err = working_set_create(r->pages, count(r), ret_set);
    if (err)
        put_back(space, r);
    else
        destroy(r);
    return err;
}

void recording_note(struct recording *r, uintptr_t addr)
{
    uintptr_t page = align_down(addr, page_size());
    size_t i;

    if (resident_set(&r->seen, (struct range){page, page + page_size()}) == 0)
        return;
    i = atomic_fetch_add_explicit(&r->npages, 1, memory_order_relaxed);
    if (i < r->room)
        r->pages[i] = (page - r->seen.range.start) / page_size();
}

void recording_free(struct uf_space *space)
{
    destroy(space->recording);
    space->recording = NULL;
}
