/* SPDX-License-Identifier: MIT */
/* See dirty.h. */
#include "fault/dirty.h"

#include <errno.h>
#include <unistd.h>

#include "fault/compare.h"
#include "fault/engine.h"
#include "fault/fault.h"
#include "host/scan.h"
#include "mm/map.h"

/* Ranges of one call, in the making. */
struct collection {
    struct uf_space *space;
    struct uf_range *ranges;
    size_t count;
    size_t max;
};

static bool is_async(const struct uf_space *space)
{
    return space->region.uffd->protects_async;
}

/* What is clean has to be protected by us, so that its next write is a fault. */
static bool is_sync(const struct uf_space *space)
{
    return !is_async(space) && !space->compare;
}

/* ---- What the kernel knows ---------------------------------------------- */

static void note_written(void *arg, struct range part)
{
    map_note_changed(arg, part);
}

/* Protects the pages of [part) that are there. 0 or -errno. */
static int protect(struct uf_space *space, struct range part)
{
    struct uffd *uffd = space->region.uffd;

    for (;;) {
        struct range run = resident_run(&space->resident, part);

        if (range_is_empty(run))
            return 0;
        part.start = run.end;
        if (uffd->ops->protect(uffd, run, true).err)
            return -EIO;
    }
}

/* What the kernel found written goes to every watcher, and is protected again.
 * Without its record (SYNC) each write was noted as it came: nothing to do. */
static int harvest_locked(struct uf_space *space)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);
    int err = 0;

    if (space->compare)
        return compare_look(space, space->compare);
    for (; is_async(space) && v && !err; v = vma_set_next(&space->vmas, v))
        if (!(v->flags & VMA_HOST))
            err = scan_pages(space->written - 1, SCAN_WRITTEN, vma_range(v),
                             note_written, space);
    return err ? -EIO : 0;
}

/* Protects all that may be written, where no harvest does. */
static int protect_all_locked(struct uf_space *space)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);
    int err = 0;

    for (; is_sync(space) && v && !err; v = vma_set_next(&space->vmas, v))
        if (!(v->flags & VMA_HOST))
            err = protect(space, vma_range(v));
    return err;
}

/* ---- Starting and ending ------------------------------------------------ */

static bool may_track(const struct uf_space *space)
{
    const struct uffd *uffd = space->region.uffd;

    return uffd && space->region.kind == REGION_RESERVED &&
           !space->populates_by_kernel;
}

/* Everything that is to be protected may be. The registration stays so: to take
 * it back, faults would have to go unserved for a moment. */
static int register_tracked(struct uf_space *space)
{
    int err;

    if (!space->region.uffd->can_protect)
        return -EOPNOTSUPP;
    if (space->region.tracked)
        return 0;
    space->region.tracked = true;
    err = space_register(space);
    if (err)
        space->region.tracked = false;
    return err == 0 || err == -ENOMEM ? err : -EOPNOTSUPP;
}

static void close_record(struct uf_space *space)
{
    compare_end(space->compare);
    space->compare = NULL;
    if (space->written)
        close(space->written - 1);
    space->written = 0;
}

static void end_locked(struct uf_space *space, enum space_watcher who)
{
    bool any = false;

    if (space->changed[who].words)
        resident_destroy(&space->changed[who]);
    for (int i = 0; i < SPACE_WATCHERS; i++)
        any = any || space->changed[i].words;
    space->watched = any;
    if (!any)
        close_record(space);
    if (who == WATCH_USER)
        space->changed_from = 0;
}

/* The kernel's record. 0 or -errno, as uf_dirty_start documents. */
static int open_record(struct uf_space *space)
{
    int fd = scan_open();

    if (fd < 0)
        return fd == -ENOMEM || fd == -EMFILE ? fd : -EOPNOTSUPP;
    space->written = fd + 1;
    return 0;
}

/* What notices writes. 0 or -errno. */
static int begin_noticing(struct uf_space *space, enum space_watcher who)
{
    int err;

    if (!may_track(space))
        return -EOPNOTSUPP;
    err = register_tracked(space);
    if (err == -EOPNOTSUPP && who == WATCH_USER)
        return compare_begin(space, &space->compare);
    if (!err && is_async(space) && !space->written)
        err = open_record(space);
    return err;
}

static int begin_locked(struct uf_space *space, enum space_watcher who)
{
    int err = begin_noticing(space, who);

    if (!err)
        err = resident_init(&space->changed[who], space->region.range);
    if (!err)
        space->watched = true;
    else if (!space->watched)
        close_record(space);
    return err;
}

int dirty_start(struct uf_space *space, enum space_watcher who)
{
    struct resident *changed = &space->changed[who];
    int err = 0;

    rwlock_take_write(&space->map_lock);
    if (!changed->words)
        err = begin_locked(space, who);
    if (!err) {
        err = harvest_locked(space);
        if (!err)
            err = protect_all_locked(space);
        if (err)
            end_locked(space, who);
        else
            resident_clear(changed, changed->range);
        if (who == WATCH_USER)
            space->changed_from = 0;
    }
    rwlock_release(&space->map_lock);
    return err == -EIO ? -EOPNOTSUPP : err;
}

static void unprotect_all_locked(struct uf_space *space)
{
    struct uffd *uffd = space->region.uffd;
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);

    for (; v; v = vma_set_next(&space->vmas, v))
        if (!(v->flags & VMA_HOST))
            uffd->ops->protect(uffd, vma_range(v), false);
}

int dirty_stop(struct uf_space *space, enum space_watcher who)
{
    int err = 0;

    rwlock_take_write(&space->map_lock);
    if (space->changed[who].words) {
        bool compares = space->compare != NULL;

        end_locked(space, who);
        if (!space->watched && !compares)
            unprotect_all_locked(space);
    } else {
        err = -EINVAL;
    }
    rwlock_release(&space->map_lock);
    return err;
}

void dirty_forget(struct uf_space *space)
{
    compare_forget(space->compare);
    space->compare = NULL;
    for (int who = 0; who < SPACE_WATCHERS; who++)
        end_locked(space, (enum space_watcher)who);
    space->region.tracked = false;
}

enum uf_dirty_kind dirty_kind(struct uf_space *space)
{
    enum uf_dirty_kind kind = UF_DIRTY_OFF;

    rwlock_take_read(&space->map_lock);
    if (space->changed[WATCH_USER].words)
        kind = space->compare    ? UF_DIRTY_COMPARE
               : is_async(space) ? UF_DIRTY_ASYNC
                                 : UF_DIRTY_SYNC;
    rwlock_release(&space->map_lock);
    return kind;
}

/* ---- Collecting --------------------------------------------------------- */

/* The bits are cleared after: while we hold the lock nobody sets one. */
static int give(struct collection *c, struct range run, bool ours)
{
    int err = 0;

    if (ours && is_sync(c->space))
        err = protect(c->space, run);
    if (err)
        return err;
    resident_clear(&c->space->changed[WATCH_USER], run);
    c->ranges[c->count++] = (struct uf_range){run.start, run.end};
    return 0;
}

/* The runs of set bits in a mapping, as many as fit. */
static int give_mapping(struct collection *c, struct range part, bool ours)
{
    int err = 0;

    while (!err && c->count < c->max) {
        struct range run = resident_run(&c->space->changed[WATCH_USER], part);

        if (range_is_empty(run))
            break;
        part.start = run.end;
        c->space->changed_from = run.end;
        err = give(c, run, ours);
    }
    return err;
}

/* What the kernel serves is taken for written, if it may be. */
static void note_served_locked(struct uf_space *space, enum space_watcher who)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);

    for (; v; v = vma_set_next(&space->vmas, v))
        if ((v->flags & VMA_HOST) && (v->flags & VMA_WRITE))
            resident_set(&space->changed[who], vma_range(v));
}

static int collect_locked(struct collection *c)
{
    struct uf_space *space = c->space;
    struct range left = space->resident.range;
    const struct vma *v;
    int err = 0;

    if (space->changed_from == 0) {
        err = harvest_locked(space);
        note_served_locked(space, WATCH_USER);
        space->changed_from = left.start;
    }
    left.start = space->changed_from;
    v = range_is_empty(left) ? NULL
                             : vma_set_find_intersection(&space->vmas, left);
    for (; v && !err && c->count < c->max; v = vma_set_next(&space->vmas, v))
        err = give_mapping(c, range_clip(vma_range(v), left),
                           !(v->flags & VMA_HOST));
    if (c->count < c->max || err)
        space->changed_from = 0;
    return c->count > 0 ? 0 : err;
}

ssize_t dirty_collect(struct uf_space *space, struct uf_range *ranges,
                      size_t max)
{
    struct collection c = {.space = space, .ranges = ranges, .max = max};
    int err = -EINVAL;

    rwlock_take_write(&space->map_lock);
    if (space->changed[WATCH_USER].words)
        err = collect_locked(&c);
    rwlock_release(&space->map_lock);
    return err ? err : (ssize_t)c.count;
}

/* ---- For the library itself --------------------------------------------- */

static void add_of(struct range left, struct resident *to,
                   const struct resident *from)
{
    struct range run;

    while (!range_is_empty(run = resident_run(from, left))) {
        resident_set(to, run);
        left.start = run.end;
    }
}

/* Sets in `to` what is set in `from` and mapped. What is not mapped stays noted
 * until something is mapped there. */
static void add_mapped(struct uf_space *space, struct resident *to,
                       const struct resident *from)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);

    for (; v; v = vma_set_next(&space->vmas, v))
        add_of(vma_range(v), to, from);
}

/* All that is mapped is clean from now on; without a record of the kernel's, that
 * must be seen to. */
static int clean_mapped(struct uf_space *space, struct resident *changed)
{
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->resident.range);
    int err = 0;

    for (; v && !err; v = vma_set_next(&space->vmas, v)) {
        struct range left = vma_range(v), run;
        bool ours = !(v->flags & VMA_HOST) && is_sync(space);

        while (ours && !err &&
               !range_is_empty(run = resident_run(changed, left))) {
            err = protect(space, run);
            left.start = run.end;
        }
        if (!err)
            resident_clear(changed, vma_range(v));
    }
    return err;
}

static int take_locked(struct uf_space *space, enum space_watcher who,
                       struct resident *to)
{
    struct resident *changed = &space->changed[who];
    int err = harvest_locked(space);

    if (err)
        return err;
    note_served_locked(space, who);
    add_mapped(space, to, changed);
    err = clean_mapped(space, changed);
    if (err)
        add_mapped(space, changed, to);
    return err;
}

int dirty_take(struct uf_space *space, enum space_watcher who,
               struct resident *ret)
{
    struct resident pages;
    int err = resident_init(&pages, space->region.range);

    if (err)
        return err;
    rwlock_take_write(&space->map_lock);
    err = space->changed[who].words ? take_locked(space, who, &pages) : -EINVAL;
    rwlock_release(&space->map_lock);
    if (err)
        resident_destroy(&pages);
    else
        *ret = pages;
    return err;
}

int dirty_look(struct uf_space *space, enum space_watcher who,
               const struct vma *mappings, size_t n, struct resident *pages)
{
    int err = -EINVAL;

    rwlock_take_write(&space->map_lock);
    if (space->changed[who].words)
        err = harvest_locked(space);
    for (size_t i = 0; !err && i < n; i++)
        add_of(vma_range(&mappings[i]), pages, &space->changed[who]);
    rwlock_release(&space->map_lock);
    return err;
}

void dirty_put_back(struct uf_space *space, enum space_watcher who,
                    const struct resident *pages)
{
    rwlock_take_write(&space->map_lock);
    if (space->changed[who].words)
        add_mapped(space, &space->changed[who], pages);
    rwlock_release(&space->map_lock);
}

/* ---- Where the kernel tells --------------------------------------------- */

void dirty_note(struct uf_space *space, uintptr_t addr)
{
    uintptr_t start = align_down(addr, page_size());
    struct range page = {start, start + page_size()};
    struct uffd *uffd;

    rwlock_take_read(&space->map_lock);
    uffd = space->region.uffd;
    if (!atomic_load(&space->dying) && uffd) {
        map_note_changed(space, page);
        COUNT(space->counters, protect_faults);
        /* An error: it is not protected, or not there, any more. */
        uffd->ops->protect(uffd, page, false);
        uffd->ops->wake(uffd, page);
    }
    rwlock_release(&space->map_lock);
}

bool dirty_is_protected(struct uf_space *space, uintptr_t addr)
{
    bool is;

    rwlock_take_read(&space->map_lock);
    is = space->region.tracked && !space->region.uffd->protects_async &&
         resident_test(&space->resident, addr) &&
         !(space->refused.words && resident_test(&space->refused, addr));
    rwlock_release(&space->map_lock);
    return is;
}
