/* SPDX-License-Identifier: MIT */
/* See template.h: from a space to a template. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "pager/pager.h"
#include "snapshot/template.h"
#include "ufault/mman.h"
#include "ufault/ufault.h"

#define BOUNCE_PAGES 16

/* A mapping of the space, good without the lock. */
struct source {
    struct range part;
    uint32_t flags; /* VMA_* */
    int prot;
    bool sparse; /* what is not resident is zeros */
};

/* The first mapping that ends above addr. */
static bool next_source(struct uf_space *space, uintptr_t addr,
                        struct source *ret)
{
    struct range left = {addr, space->resident.range.end};
    const struct vma *v = NULL;

    rwlock_take_read(&space->map_lock);
    if (!range_is_empty(left))
        v = vma_set_find_intersection(&space->vmas, left);
    if (v)
        *ret = (struct source){
            .part = vma_range(v),
            .flags = v->flags,
            .prot = vma_prot(v),
            .sparse = !(v->flags & VMA_HOST) && v->pager->is_zero,
        };
    rwlock_release(&space->map_lock);
    return v != NULL;
}

/* Makes room for one more. 0 or -ENOMEM. */
static int grow(struct uf_template *t)
{
    size_t size = sizeof(t->maps[0]);
    size_t capacity = t->capacity ? 2 * t->capacity : page_size() / size;
    struct template_map *maps;

    if (t->nmaps < t->capacity)
        return 0;
    maps = slab_pages(capacity * size);
    if (!maps)
        return -ENOMEM;
    if (t->nmaps > 0)
        memcpy(maps, t->maps, t->nmaps * size);
    slab_pages_free(t->maps, t->capacity * size);
    t->maps = maps;
    t->capacity = capacity;
    return 0;
}

static int add_map(struct uf_template *t, struct range part, int prot)
{
    struct template_map *last = t->nmaps > 0 ? &t->maps[t->nmaps - 1] : NULL;
    int err;

    if (last && last->part.end == part.start && last->prot == prot) {
        last->part.end = part.end;
        return 0;
    }
    err = grow(t);
    if (!err)
        t->maps[t->nmaps++] = (struct template_map){part, prot};
    return err;
}

static bool is_zero(const char *page)
{
    return page[0] == 0 && memcmp(page, page + 1, page_size() - 1) == 0;
}

/* Into the memfd at `offset`, but for pages of zeros. */
static int store(struct uf_template *t, const char *bytes, size_t len,
                 size_t offset)
{
    for (size_t at = 0; at < len; at += page_size()) {
        if (is_zero(bytes + at))
            continue;
        if (pwrite(t->fd, bytes + at, page_size(), (off_t)(offset + at)) !=
            (ssize_t)page_size())
            return -ENOMEM;
        t->pages++;
    }
    return 0;
}

static int copy_pages(struct uf_template *t, struct uf_space *space,
                      struct range part, char *bounce)
{
    uintptr_t base = space->region.range.start;
    int err = 0;

    while (!err && !range_is_empty(part)) {
        size_t len = range_len(part), done;

        if (len > BOUNCE_PAGES * page_size())
            len = BOUNCE_PAGES * page_size();
        err = uf_copy_in(space, bounce, part.start, len, &done);
        if (!err)
            err = store(t, bounce, len, part.start - base);
        part.start += len;
    }
    return err;
}

/* The pages of one mapping that may hold something. */
static int copy_source(struct uf_template *t, struct uf_space *space,
                       const struct source *s, char *bounce)
{
    struct range left = s->part;
    int err = 0;

    if (!s->sparse)
        return copy_pages(t, space, left, bounce);
    while (!err) {
        struct range run = resident_run(&space->resident, left);

        if (range_is_empty(run))
            break;
        left.start = run.end;
        err = copy_pages(t, space, run, bounce);
    }
    return err;
}

/* What may not be read may be for a moment. */
static int capture_source(struct uf_template *t, struct uf_space *space,
                          const struct source *s, char *bounce)
{
    int prot = s->prot, err = 0, undone;
    bool hidden = !(prot & PROT_READ);

    if (hidden)
        err = uf_mprotect(space, s->part.start, range_len(s->part), PROT_READ);
    if (!err)
        err = copy_source(t, space, s, bounce);
    if (hidden) {
        undone = uf_mprotect(space, s->part.start, range_len(s->part), prot);
        err = err ? err : undone;
    }
    return err;
}

static int capture_maps(struct uf_template *t, struct uf_space *space)
{
    uintptr_t base = space->region.range.start, at = base;
    struct source s;
    int err = 0;

    while (!err && next_source(space, at, &s)) {
        struct range part = {s.part.start - base, s.part.end - base};

        if (s.flags & (VMA_SHARED | VMA_GROWSDOWN))
            return -EOPNOTSUPP;
        err = add_map(t, part, s.prot);
        at = s.part.end;
    }
    if (t->nmaps > 0)
        t->len = t->maps[t->nmaps - 1].part.end;
    return err;
}

static int capture_pages(struct uf_template *t, struct uf_space *space)
{
    uintptr_t at = space->region.range.start;
    char *bounce = slab_pages(BOUNCE_PAGES * page_size());
    struct source s;
    int err = bounce ? 0 : -ENOMEM;

    if (!err && ftruncate(t->fd, (off_t)t->len) < 0)
        err = -ENOMEM;
    while (!err && next_source(space, at, &s)) {
        err = capture_source(t, space, &s, bounce);
        at = s.part.end;
    }
    slab_pages_free(bounce, BOUNCE_PAGES * page_size());
    return err;
}

int template_capture(struct uf_template *t, struct uf_space *space)
{
    uintptr_t base = space->region.range.start;
    int err = capture_maps(t, space);

    t->space_len = range_len(space->region.range);
    t->brk = uf_brk(space, 0) - base;
    return err ? err : capture_pages(t, space);
}
