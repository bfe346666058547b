/* SPDX-License-Identifier: MIT */
/* See record.h. */
#include "image/record.h"

#include <errno.h>
#include <string.h>

#include "fault/dirty.h"

/* Tracking starts. Without it, on an older kernel say, images compare. */
static int start_tracking(struct record *r)
{
    int err = dirty_start(r->space, WATCH_IMAGE);

    r->started = err == 0;
    return err == -EOPNOTSUPP ? 0 : err;
}

static int take(struct record *r, bool start)
{
    int err = dirty_take(r->space, WATCH_IMAGE, &r->changed);

    r->taken = err == 0;
    if (err != -EIO && err != -EINVAL)
        return err;
    /* It is off, or the kernel's record was closed behind our back. */
    if (err == -EIO)
        dirty_stop(r->space, WATCH_IMAGE);
    return start ? start_tracking(r) : 0;
}

int record_begin(struct record *r, struct uf_space *space,
                 const struct uf_image *parent, bool start)
{
    int err;

    *r = (struct record){.space = space};
    r->mine = !atomic_exchange(&space->imaging, true);
    if (!r->mine)
        return start ? -EBUSY : 0;
    err = take(r, start);
    if (err) {
        atomic_store(&space->imaging, false);
        return err;
    }
    r->valid = r->taken && parent &&
               memcmp(space->image_id, parent->header.id,
                      sizeof(space->image_id)) == 0;
    return 0;
}

int record_look(struct record *r, const struct vma *mappings, size_t n)
{
    return r->valid
               ? dirty_look(r->space, WATCH_IMAGE, mappings, n, &r->changed)
               : 0;
}

void record_end(struct record *r, const uint8_t *id)
{
    if (!r->mine)
        return;
    if (id && (r->taken || r->started))
        memcpy(r->space->image_id, id, sizeof(r->space->image_id));
    else if (r->taken)
        dirty_put_back(r->space, WATCH_IMAGE, &r->changed);
    else if (r->started)
        dirty_stop(r->space, WATCH_IMAGE);
    if (r->taken)
        resident_destroy(&r->changed);
    atomic_store(&r->space->imaging, false);
}
