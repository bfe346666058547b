/* SPDX-License-Identifier: MIT */
/*
 * save: a space at rest, mapping by mapping, and page by page what may be
 * something else than zeros.
 *
 *     zero-paged     what was never installed is zeros, and stays absent
 *     a pager's, a   all of it is read; absent pages come as for a touch
 *     private file
 *
 * Whether a page was installed is asked of the space (base/resident.h) and not of
 * mincore(2), to which a page in swap is not there.
 */
#include "image/save.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/range.h"
#include "image/record.h"
#include "image/saving.h"
#include "mm/show.h"
#include "pager/pager.h"
#include "ufault/ufault.h"

/* The next pages of [part) that were installed. */
static struct range next_resident(struct uf_space *space, struct range part)
{
    struct range run = resident_run(&space->resident, part);

    return range_is_empty(run) ? (struct range){part.end, part.end} : run;
}

/* [part) of zero-paged memory. */
static int put_resident(struct saving *s, struct range part)
{
    int err = 0;

    while (!err && part.start < part.end) {
        struct range run = next_resident(s->space, part);

        err = saving_zeros(s, (struct range){part.start, run.start});
        if (!err)
            err = saving_bytes(s, run);
        part.start = run.end;
    }
    return err;
}

static bool absent_is_zero(const struct uf_space *space, const struct vma *v)
{
    return v->pager->is_zero && !(v->flags & VMA_HOST) && space->region.uffd;
}

/* A mapping that may not be read may be for a moment. */
static int put_part(struct saving *s, const struct vma *v, struct range part)
{
    bool zeros = absent_is_zero(s->space, v);
    bool closed = !(v->flags & VMA_READ);
    int err = 0, err_back = 0;

    if (closed && zeros &&
        range_is_empty(resident_run(&s->space->resident, part)))
        closed = false;
    if (closed)
        err = uf_mprotect(s->space, part.start, range_len(part), PROT_READ);
    if (!err)
        err = zeros ? put_resident(s, part) : saving_bytes(s, part);
    if (closed)
        err_back =
            uf_mprotect(s->space, part.start, range_len(part), vma_prot(v));
    return err ? err : err_back;
}

static int may_hold(struct uf_space *space, const struct vma *v)
{
    int err;

    rwlock_take_read(&space->map_lock);
    err = saving_may_hold(space, v);
    rwlock_release(&space->map_lock);
    return err;
}

static int put_mappings(struct saving *s)
{
    struct shown shown;
    uintptr_t addr = 0;
    int err = 0;

    s->writer.header.brk = uf_brk(s->space, 0) - uf_space_base(s->space);
    while (!err && show_next(s->space, addr, &shown)) {
        err = may_hold(s->space, &shown.vma);
        if (!err)
            err = saving_mapping(s, &shown.vma);
        addr = shown.vma.end;
        show_done(&shown);
    }
    return err;
}

static int read_space(struct saving *s, uintptr_t addr, void *to, size_t len)
{
    return uf_copy_in(s->space, to, addr, len, NULL);
}

int image_save(struct uf_space *space, const char *path,
               const struct uf_image_opts *opts)
{
    struct saving s = {.space = space,
                       .opts = opts,
                       .put = put_mappings,
                       .read = read_space,
                       .put_part = put_part};
    struct record record;
    int err = record_begin(&record, space, opts->parent, false);

    if (err)
        return err;
    if (record.valid)
        s.changed = &record.changed;
    err = saving_write(&s, path);
    record_end(&record, err ? NULL : s.writer.header.id);
    return err;
}
