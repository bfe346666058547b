/* SPDX-License-Identifier: MIT */
/* See shared.h. */
#include "mm/shared.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "host/scan.h"
#include "mm/map.h"
#include "pager/cache.h"
#include "pager/pager.h"

/* A longer mapping is not protected before its pages come: that would take a
 * page table for all of it. What another mapping brought in then counts as
 * written when it is first touched here. */
#define PROTECT_MAX ((size_t)256 << 20)

/* So much is scanned at once, if the memfd has any of it. */
#define SCAN_BYTES ((size_t)2 << 20)

/* A part that is gone. */
struct shared_note {
    struct shared_note *next;
    struct uf_pager *pager; /* one reference */
    struct range offsets;
};

static struct slab_cache notes =
    SLAB_CACHE("closed mapping", sizeof(struct shared_note));

bool shared_is_exact(const struct uf_space *space, const struct uf_pager *pager)
{
    return space->region.uffd && space->region.uffd->protects_shared &&
           cache_is_writable(cache_of(pager));
}

/* ---- Opening ----------------------------------------------------------- */

static int protect(struct uf_space *space, const struct vma *v)
{
    struct uffd *uffd = space->region.uffd;
    struct range part = vma_range(v);

    if (!shared_is_exact(space, v->pager) || range_len(part) > PROTECT_MAX)
        return 0;
    return uffd->ops->protect(uffd, part, true).err;
}

int shared_register(struct uf_space *space, const struct vma *v)
{
    return region_register_shared(&space->region, vma_range(v),
                                  shared_is_exact(space, v->pager));
}

int shared_open_locked(struct uf_space *space, const struct vma *v)
{
    struct region *region = &space->region;
    struct range part = vma_range(v);
    int err = cache_ready(v->pager, vma_offset_at(v, v->end));

    if (err)
        return err;
    atomic_store(&space->has_shared, true);
    err = region_map_fd(region, part, PROT_NONE, MAP_SHARED | MAP_NORESERVE,
                        cache_fd(cache_of(v->pager)), (off_t)v->offset);
    if (!err)
        err = shared_register(space, v);
    if (!err)
        err = protect(space, v);
    if (!err)
        err = map_give_state(space, part, v->flags);
    if (!err && vma_prot(v) != PROT_NONE)
        err = region_protect(region, part, vma_prot(v));
    if (err)
        map_give_back(space, part);
    return err ? -ENOMEM : 0;
}

void shared_protect_all(struct uf_space *space)
{
    const struct vma *v = vma_set_find(&space->vmas, 0);

    for (; v; v = vma_set_next(&space->vmas, v))
        if (v->flags & VMA_CACHE)
            protect(space, v); /* else all of it counts as written */
}

/* ---- Collecting -------------------------------------------------------- */

/* A mapping, on its way into its cache. */
struct collection {
    struct pager_cache *cache;
    const struct vma *vma;
};

static struct range offsets_of(const struct vma *v, struct range part)
{
    uint64_t start = vma_offset_at(v, part.start);

    return (struct range){start, start + range_len(part)};
}

bool shared_clip(const struct vma *v, struct range page, struct range *window)
{
    const struct pager_cache *cache = cache_of(v->pager);
    struct range before = offsets_of(v, *window), after = before;

    before.end = after.start = vma_offset_at(v, page.start);
    after.end = cache_next(cache, after);
    if (range_is_empty(after))
        return false;
    if (cache_next(cache, before) < before.end)
        window->start = page.start;
    window->end = page.start + range_len(after);
    return true;
}

static void note_written(void *arg, struct range part)
{
    const struct collection *c = arg;

    cache_note_dirty(c->cache, offsets_of(c->vma, part));
}

/* Some of [there) of the pager is in the memfd. */
static void collect_run(const struct uf_space *space, struct collection *c,
                        struct range there, int pagemap)
{
    const struct vma *v = c->vma;
    uintptr_t start = v->start + (there.start - v->offset);
    struct range part = {start, start + range_len(there)};

    if (pagemap >= 0 && shared_is_exact(space, v->pager) &&
        scan_pages(pagemap, SCAN_UNPROTECTED, part, note_written, c) == 0)
        return;
    if (v->flags & VMA_WRITE)
        note_written(c, part);
}

static void collect(const struct uf_space *space, const struct vma *v,
                    struct range part, int pagemap)
{
    struct collection c = {cache_of(v->pager), v};
    struct range left = offsets_of(v, part), run;

    if (!cache_is_writable(c.cache))
        return;
    for (; !range_is_empty(left); left.start = run.end) {
        run = left;
        run.start = cache_next(c.cache, left);
        if (range_len(run) > SCAN_BYTES)
            run.end = run.start + SCAN_BYTES;
        if (!range_is_empty(run))
            collect_run(space, &c, run, pagemap);
    }
}

static void close_pagemap(int pagemap)
{
    if (pagemap >= 0)
        close(pagemap);
}

void shared_collect_locked(const struct uf_space *space, const struct vma *v,
                           struct range part)
{
    int pagemap = scan_open();

    collect(space, v, part, pagemap);
    close_pagemap(pagemap);
}

void shared_collect_pager_locked(const struct uf_space *space,
                                 const struct uf_pager *pager,
                                 struct range offsets)
{
    const struct vma *v = vma_set_find(&space->vmas, 0);
    int pagemap = scan_open();

    for (; v; v = vma_set_next(&space->vmas, v)) {
        struct range part = {v->offset, v->offset + (v->end - v->start)};

        if (v->pager != pager || !(v->flags & VMA_CACHE))
            continue;
        part = range_clip(part, offsets);
        part.start = v->start + (part.start - v->offset);
        part.end = v->start + (part.end - v->offset);
        if (!range_is_empty(part))
            collect(space, v, part, pagemap);
    }
    close_pagemap(pagemap);
}

/* ---- Closing ----------------------------------------------------------- */

void shared_close_locked(struct uf_space *space, const struct vma *v,
                         struct range part)
{
    struct range offsets = offsets_of(v, part);
    struct shared_note *note;

    shared_collect_locked(space, v, part);
    if (!cache_is_busy(cache_of(v->pager), offsets))
        return;
    note = slab_alloc(&notes);
    if (!note)
        return; /* it stays dirty: the next time */
    note->pager = pager_ref(v->pager);
    note->offsets = offsets;
    note->next = space->closed;
    space->closed = note;
}

struct shared_note *shared_take_closed(struct uf_space *space)
{
    struct shared_note *first = space->closed;

    space->closed = NULL;
    return first;
}

void shared_write_closed(struct shared_note *first)
{
    while (first) {
        struct shared_note *note = first;

        first = note->next;
        cache_write_closed(note->pager, note->offsets);
        pager_unref(note->pager);
        slab_free(&notes, note);
    }
}

void shared_close_all_locked(struct uf_space *space)
{
    const struct vma *v = vma_set_find(&space->vmas, 0);

    if (!atomic_load(&space->has_shared))
        return;
    for (; v; v = vma_set_next(&space->vmas, v)) {
        if (!(v->flags & VMA_CACHE))
            continue;
        region_protect(&space->region, vma_range(v), PROT_NONE);
        shared_close_locked(space, v, vma_range(v));
    }
}
