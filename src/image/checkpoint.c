/* SPDX-License-Identifier: MIT */
/*
 * checkpoint: the mappings as a list and the memory as a copy, both of one
 * moment; then the image is written from these two.
 *
 *     written    ──┬───────────────────────────────┬────────►   the guest
 *     record_begin │ S1: taken, clean from here on │
 *     freeze       │            ▼ the moment       │
 *     record_look  │                               │ S2: written since S1
 *     the image        the pages of S1 and S2, as they were at the moment
 *
 * A page that was written before the moment is in S1, or in S2 if the write came
 * after S1 was taken. S2 has pages, too, that were written after the moment: as
 * they were then they are what the parent has, which does no harm. S2 stays
 * dirty, for the next one: what was written after the moment is nowhere else.
 *
 * Other ways that were tried, or thought through:
 *   - Write protection, and copying a page before its first write, by a handler:
 *     the descriptor that serves a space unprotects by itself (WP_ASYNC), and
 *     a mapping has one descriptor only.
 *   - mprotect of all, a copy of what was written, mprotect back: a pause three
 *     times as long, and a system call that writes to a buffer would fail.
 */
#include "image/checkpoint.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/range.h"
#include "base/slab.h"
#include "fault/fault.h"
#include "fault/freeze.h"
#include "image/record.h"
#include "image/restore.h"
#include "image/saving.h"
#include "pager/pager.h"

#define FILL_TRIES    1000u
#define FILL_PAUSE_NS 10000000L

struct checkpoint {
    struct saving saving; /* first */
    struct record record;
    struct frozen frozen;
    bool is_frozen;
    uint64_t pause_ns;
    struct vma *vmas; /* as they were; their pagers are referenced */
    size_t nvmas;
    size_t room_bytes;
    uintptr_t brk;
};

static struct checkpoint *of(struct saving *s)
{
    return (struct checkpoint *)(void *)s;
}

/* ---- the moment ---- */

static int copy_list_locked(struct checkpoint *c)
{
    const struct uf_space *space = c->saving.space;
    const struct vma *v = vma_set_find(&space->vmas, 0);
    int err = 0;

    for (; v && !err; v = vma_set_next(&space->vmas, v))
        err = saving_may_hold(space, v);
    if (err)
        return err;
    for (v = vma_set_find(&space->vmas, 0); v;
         v = vma_set_next(&space->vmas, v)) {
        c->vmas[c->nvmas] = *v;
        pager_ref(c->vmas[c->nvmas++].pager);
    }
    c->brk = space->brk - space->region.range.start;
    return 0;
}

/* Room for the list, as long as it is now. 0 or -ENOMEM. */
static int make_room(struct checkpoint *c, size_t count)
{
    slab_pages_free(c->vmas, c->room_bytes);
    c->room_bytes = align_up((count + 1) * sizeof(c->vmas[0]), page_size());
    c->vmas = slab_pages(c->room_bytes);
    return c->vmas ? 0 : -ENOMEM;
}

/* The list and the memory, of one moment. 0 or -errno. */
static int freeze(struct checkpoint *c)
{
    struct uf_space *space = c->saving.space;
    size_t count = 0;
    uint64_t began;
    int err = 0;

    for (;;) {
        rwlock_take_read(&space->map_lock);
        if (space->vmas.count * sizeof(c->vmas[0]) <= c->room_bytes)
            break;
        count = space->vmas.count;
        rwlock_release(&space->map_lock);
        err = make_room(c, 2 * count);
        if (err)
            return err;
    }
    began = fault_clock_ns();
    err = copy_list_locked(c);
    if (!err)
        err = freeze_locked(space, &c->frozen);
    c->is_frozen = err == 0;
    rwlock_release(&space->map_lock);
    c->pause_ns += fault_clock_ns() - began;
    return err ? err : frozen_open(&c->frozen);
}

/* ---- pages ---- */

static int read_frozen(struct saving *s, uintptr_t addr, void *to, size_t len)
{
    return frozen_read(&of(s)->frozen, addr, to, len);
}

/* Bytes of a pager, into the block. 0 or -EFAULT. */
static int fill(struct saving *s, struct uf_pager *pager, uint64_t offset,
                size_t len, size_t *ret_len)
{
    struct uf_fill request = {.size = sizeof(request),
                              .offset = offset,
                              .len_bytes = len,
                              .buffer = s->block,
                              .page_bytes = page_size()};
    struct timespec pause = {.tv_nsec = FILL_PAUSE_NS};
    enum fill_verdict verdict = FILL_AGAIN;
    const char *why;
    int err;

    for (unsigned i = 0; i < FILL_TRIES && verdict == FILL_AGAIN; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        verdict = pager_fill(pager, &request, ret_len, &err, &why);
    }
    return verdict == FILL_OK ? 0 : -EFAULT;
}

/* The pages of [part) that a pager has not supplied yet. Behind the block there
 * is a page that is used for a moment only: room for the red zone. */
static int put_filled(struct saving *s, const struct vma *v, struct range part)
{
    int err = 0;

    while (!err && !range_is_empty(part)) {
        size_t len = range_len(part) < SAVING_BLOCK_BYTES ? range_len(part)
                                                          : SAVING_BLOCK_BYTES;
        size_t got = 0;

        err = fill(s, v->pager, vma_offset_at(v, part.start), len, &got);
        if (err && len > page_size())
            err = fill(s, v->pager, vma_offset_at(v, part.start), page_size(),
                       &got);
        if (!err)
            err = saving_block(s, (struct range){part.start, part.start + got},
                               s->block);
        part.start += got;
    }
    return err;
}

/* [part), absent, is what the parent has there: its own pages. */
static bool is_parents(const struct saving *s, const struct vma *v,
                       struct range part)
{
    const struct uf_image *parent = s->opts->parent;
    uint64_t npages = range_len(part) / page_size();
    struct uf_image *image;
    uint64_t page;

    return parent &&
           image_pager_pages(v->pager, vma_offset_at(v, part.start), npages,
                             &image, &page) &&
           page == saving_page_at(s, part.start) &&
           memcmp(image->header.id, parent->header.id,
                  sizeof(parent->header.id)) == 0;
}

static int put_absent(struct saving *s, const struct vma *v, struct range part)
{
    if (range_is_empty(part) || is_parents(s, v, part))
        return 0;
    return v->pager->is_zero ? saving_zeros(s, part) : put_filled(s, v, part);
}

static int put_part(struct saving *s, const struct vma *v, struct range part)
{
    int err = 0;

    if (v->flags & VMA_HOST)
        return saving_bytes(s, part);
    while (!err && part.start < part.end) {
        struct range there;

        err = frozen_present(&of(s)->frozen, part, &there);
        if (!err)
            err = put_absent(s, v, (struct range){part.start, there.start});
        if (!err)
            err = saving_bytes(s, there);
        part.start = there.end;
    }
    return err;
}

/* ---- all of it ---- */

static int look(struct checkpoint *c)
{
    uint64_t began = fault_clock_ns();
    int err = record_look(&c->record, c->vmas, c->nvmas);

    c->pause_ns += fault_clock_ns() - began;
    return err;
}

static int put(struct saving *s)
{
    struct checkpoint *c = of(s);
    int err = freeze(c);

    if (!err)
        err = look(c);
    s->writer.header.brk = c->brk;
    for (size_t i = 0; i < c->nvmas && !err; i++)
        err = saving_mapping(s, &c->vmas[i]);
    if (c->is_frozen)
        frozen_end(&c->frozen);
    return err;
}

static void describe(const struct checkpoint *c,
                     struct uf_checkpoint_result *result)
{
    const struct image_header *h = &c->saving.writer.header;

    result->pause_ns = c->pause_ns;
    result->stored_pages = h->npages;
    result->file_bytes = h->file_bytes;
    result->tracked = c->record.valid;
    result->reserved = 0;
}

int image_checkpoint(struct uf_space *space, const char *path,
                     const struct uf_image_opts *opts,
                     struct uf_checkpoint_result *result)
{
    struct checkpoint c = {.saving = {.space = space,
                                      .opts = opts,
                                      .put = put,
                                      .read = read_frozen,
                                      .put_part = put_part}};
    uint64_t began = fault_clock_ns();
    int err = record_begin(&c.record, space, opts->parent, true);

    if (err)
        return err;
    c.pause_ns = fault_clock_ns() - began;
    if (c.record.valid)
        c.saving.changed = &c.record.changed;
    err = saving_write(&c.saving, path);
    record_end(&c.record, err ? NULL : c.saving.writer.header.id);
    for (size_t i = 0; i < c.nvmas; i++)
        pager_unref(c.vmas[i].pager);
    slab_pages_free(c.vmas, c.room_bytes);
    if (!err && result)
        describe(&c, result);
    return err;
}
