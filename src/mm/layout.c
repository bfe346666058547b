/* SPDX-License-Identifier: MIT */
/* See layout.h. */
#include "mm/layout.h"

#include <errno.h>

#include "base/slab.h"

uint64_t layout_epoch(const struct uf_space *space)
{
    const struct counters *c = space->counters;

    return COUNTER_GET(c, mmaps) + COUNTER_GET(c, munmaps) +
           COUNTER_GET(c, mprotects) + COUNTER_GET(c, mremaps);
}

static bool has_guards(const struct uf_space *space)
{
    return space->has_guards && atomic_load(&space->guards.pages) > 0;
}

bool layout_is_near(struct uf_space *space, uint64_t epoch, uintptr_t brk)
{
    struct range grown;
    bool near;

    if (epoch != layout_epoch(space) || has_guards(space) ||
        space_brk(space, brk, &grown) != brk)
        return false;
    rwlock_take_read(&space->map_lock);
    near = !space->def_flags;
    rwlock_release(&space->map_lock);
    return near;
}

static struct layout_map map_of(const struct vma *v)
{
    return (struct layout_map){.range = vma_range(v),
                               .pager = v->pager,
                               .offset = v->offset,
                               .flags = v->flags};
}

int layout_note(struct layout *layout, struct uf_space *space)
{
    size_t room = align_up((space->vmas.count + 1) * sizeof(layout->maps[0]),
                           page_size());
    struct layout_map *maps = slab_pages(room);
    const struct vma *v;

    if (!maps)
        return -ENOMEM;
    layout_destroy(layout);
    layout->maps = maps;
    layout->room_bytes = room;
    rwlock_take_read(&space->map_lock);
    for (v = vma_set_find(&space->vmas, 0); v;
         v = vma_set_next(&space->vmas, v))
        layout->maps[layout->nmaps++] = map_of(v);
    layout->brk = space->brk;
    rwlock_release(&space->map_lock);
    layout->epoch = layout_epoch(space);
    return 0;
}

void layout_destroy(struct layout *layout)
{
    slab_pages_free(layout->maps, layout->room_bytes);
    *layout = (struct layout){0};
}

static bool is_same(const struct layout_map *a, const struct vma *v)
{
    struct layout_map b = map_of(v);

    return a->range.start == b.range.start && a->range.end == b.range.end &&
           a->pager == b.pager && a->offset == b.offset && a->flags == b.flags;
}

bool layout_is_kept(const struct layout *layout, struct uf_space *space)
{
    const struct vma *v;
    size_t i = 0;

    if (!layout->maps || !layout_is_near(space, layout->epoch, layout->brk))
        return false;
    rwlock_take_read(&space->map_lock);
    v = vma_set_find(&space->vmas, 0);
    while (v && i < layout->nmaps && is_same(&layout->maps[i], v)) {
        v = vma_set_next(&space->vmas, v);
        i++;
    }
    rwlock_release(&space->map_lock);
    return !v && i == layout->nmaps;
}
