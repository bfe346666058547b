/* SPDX-License-Identifier: MIT */
/*
 * reset: a space that was made from an image is that again.
 *
 *     a call may have changed mappings, or their layout differs? ─► all of it goes,
 *                                                     and is laid out again
 *     else, it is known what was written since the last reset? ─► that is dropped
 *     else                                         ─► all that is there is dropped
 *
 * What is dropped comes again as it did at first: from the image, or as zeros.
 * To copy it back would take as long, and a chunk to be unpacked for each page,
 * for pages that perhaps nobody asks for. Who resets often makes a template of
 * the space, whose pages lie ready in memory.
 *
 * Writes are tracked from the first reset on (WATCH_RESET), so that spaces that
 * are never reset pay nothing.
 */
#include <errno.h>

#include "base/slab.h"
#include "fault/dirty.h"
#include "host/drop.h"
#include "image/restore.h"
#include "mm/layout.h"
#include "mm/map.h"
#include "ufault/mman.h"

struct origin {
    struct uf_image *image;
    struct layout layout;
};

static struct slab_cache origins =
    SLAB_CACHE("image origin", sizeof(struct origin));

static void release(void *made_from)
{
    struct origin *o = made_from;

    image_unref(o->image);
    layout_destroy(&o->layout);
    slab_free(&origins, o);
}

static int reset(struct uf_space *space);

static const struct space_origin image_origin = {.reset = reset,
                                                 .release = release};

int image_is_origin(struct uf_image *image, struct uf_space *space)
{
    struct origin *o = slab_alloc(&origins);
    int err;

    if (!o)
        return -ENOMEM;
    o->image = image_ref(image);
    err = layout_note(&o->layout, space);
    if (err) {
        release(o);
        return err;
    }
    space->made_from = o;
    space->origin = &image_origin;
    return 0;
}

/* What is there of [part). */
static void drop_part(struct uf_space *space, struct drop *d, struct range part)
{
    struct range run;

    while (!range_is_empty(run = resident_run(&space->resident, part))) {
        drop_add(d, run);
        map_forget_residency(space, run);
        part.start = run.end;
    }
}

/* For the other watchers: for this one it is as in the image again. */
static void note_dropped(struct uf_space *space, struct range part)
{
    map_note_changed(space, part);
    if (space->changed[WATCH_RESET].words)
        resident_clear(&space->changed[WATCH_RESET], part);
}

/* Of a mapping, what was written, or all. */
static void drop_of(struct uf_space *space, struct drop *d, const struct vma *v,
                    const struct resident *written)
{
    struct range left = vma_range(v), run;

    if (!written)
        drop_part(space, d, left);
    while (written && !range_is_empty(run = resident_run(written, left))) {
        note_dropped(space, run);
        drop_part(space, d, run);
        left.start = run.end;
    }
    if (!written)
        note_dropped(space, vma_range(v));
}

/* A stack of the image's was copied in when it was laid out: dropped, it would be
 * zeros. */
static bool stack_is_concerned_locked(const struct uf_space *space,
                                      const struct resident *written)
{
    const struct vma *v = vma_set_find(&space->vmas, 0);
    const struct resident *any = written ? written : &space->resident;

    for (; v; v = vma_set_next(&space->vmas, v))
        if ((v->flags & VMA_GROWSDOWN) && resident_any(any, vma_range(v)))
            return true;
    return false;
}

/* 0, or -errno: it has to be laid out again. */
static int drop_locked(struct uf_space *space, const struct resident *written)
{
    struct vma *v;
    struct drop d;

    /* A page that was refused is there, and has no bit. */
    if (atomic_load(&space->has_refused) ||
        stack_is_concerned_locked(space, written))
        return -EINVAL;
    drop_begin(&d);
    for (v = vma_set_find(&space->vmas, 0); v;
         v = vma_set_next(&space->vmas, v)) {
        drop_of(space, &d, v, written);
        v->generation = ++space->generation; /* fills under way are stale */
    }
    return drop_end(&d);
}

static int drop_written(struct uf_space *space)
{
    struct resident written;
    bool known = dirty_take(space, WATCH_RESET, &written) == 0;
    int err;

    map_lock(space);
    err = drop_locked(space, known ? &written : NULL);
    map_unlock(space);
    if (known)
        resident_destroy(&written);
    else
        dirty_start(space, WATCH_RESET); /* else all is dropped again */
    return err;
}

/* Whatever is there goes, and the image comes again. */
static int lay_out_again(struct uf_space *space, struct origin *o)
{
    struct range all = space->region.range;
    int err;

    uf_brk(space, all.start);
    err = uf_munmap(space, all.start, range_len(all));
    if (!err) {
        atomic_store(&space->has_refused, false); /* nothing is there */
        err = image_lay_out(o->image, space);
    }
    if (!err)
        err = layout_note(&o->layout, space);
    if (!err)
        dirty_start(space, WATCH_RESET);
    else
        layout_destroy(&o->layout); /* the next one begins here, too */
    return err ? -ENOMEM : 0;
}

static int reset(struct uf_space *space)
{
    struct origin *o = space->made_from;

    if (layout_is_kept(&o->layout, space) && drop_written(space) == 0)
        return 0;
    return lay_out_again(space, o);
}
