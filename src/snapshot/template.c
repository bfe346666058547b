/* SPDX-License-Identifier: MIT */
/* See template.h. */
#include "snapshot/template.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slab.h"
#include "base/sys.h"
#include "host/drop.h"
#include "host/scan.h"
#include "mm/layout.h"
#include "mm/map.h"
#include "ufault/mman.h"
#include "ufault/ufault.h"

/* Pages that were copied once stay the clone's own, and are copied back at every
 * reset from then on, written or not: the kernel does not tell. They may become
 * twice as many as at first, and so many more. */
#define OWN_MORE 64u

static struct slab_cache templates =
    SLAB_CACHE("template", sizeof(struct uf_template));

/* ---- Making -------------------------------------------------------------- */

static void template_free(struct uf_template *t)
{
    if (t->view)
        sys->munmap(t->view, t->len);
    if (t->fd >= 0)
        close(t->fd);
    slab_pages_free(t->maps, t->capacity * sizeof(t->maps[0]));
    slab_free(&templates, t);
}

/* Nothing can change it any more. 0 or -errno. */
static int seal(struct uf_template *t)
{
    if (t->len > 0) {
        t->view = sys->mmap(NULL, t->len, PROT_READ, MAP_SHARED, t->fd, 0);
        if (t->view == MAP_FAILED) {
            t->view = NULL;
            return -ENOMEM;
        }
    }
    /* A kernel without seals has nobody either who would write. */
    fcntl(t->fd, F_ADD_SEALS,
          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    return 0;
}

int template_create(struct uf_space *space, struct uf_template **ret_template)
{
    struct uf_template *t = slab_alloc(&templates);
    int err;

    if (!t)
        return -ENOMEM;
    atomic_init(&t->refs, 1);
    t->fd = memfd_create("ufault-template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    err = t->fd < 0 ? -errno : template_capture(t, space);
    if (!err)
        err = seal(t);
    if (err) {
        template_free(t);
        return err;
    }
    *ret_template = t;
    return 0;
}

struct uf_template *template_ref(struct uf_template *t)
{
    if (t)
        atomic_fetch_add(&t->refs, 1);
    return t;
}

void template_unref(struct uf_template *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1)
        template_free(t);
}

/* ---- Laying out ---------------------------------------------------------- */

int template_apply(struct uf_template *t, struct uf_space *space)
{
    uintptr_t base = space->region.range.start;
    intptr_t at = 0;

    if (uf_brk(space, base + t->brk) != base + t->brk)
        return -ENOMEM;
    for (size_t i = 0; i < t->nmaps && at >= 0; i++) {
        const struct template_map *m = &t->maps[i];

        at = uf_mmap(space, base + m->part.start, range_len(m->part), m->prot,
                     MAP_PRIVATE | MAP_FIXED, t->fd, (off_t)m->part.start);
    }
    return at < 0 ? (int)at : 0;
}

static void release(void *made_from)
{
    template_unref(made_from);
}

static const struct space_origin origin = {.reset = template_reset,
                                           .release = release};

bool template_made(const struct uf_template *t, const struct uf_space *space)
{
    return space->origin == &origin && space->made_from == t;
}

int template_clone(struct uf_template *t, const struct uf_space_opts *opts,
                   struct uf_space **ret_space)
{
    struct uf_space_opts o = {.size = sizeof(o)};
    struct uf_space *space;
    int err;

    if (opts)
        o = *opts;
    if (o.len_bytes == 0)
        o.len_bytes = t->space_len;
    if (o.len_bytes < t->len || o.len_bytes < t->brk)
        return -EINVAL;
    err = uf_space_create(&o, &space);
    if (err)
        return err;
    err = template_apply(t, space);
    if (err) {
        uf_space_destroy(space);
        return err == -EINVAL ? err : -ENOMEM;
    }
    space->origin = &origin;
    space->made_from = template_ref(t);
    space->made_epoch = layout_epoch(space);
    *ret_space = space;
    return 0;
}

/* ---- Going back ---------------------------------------------------------- */

/* All of its mappings are the template's, each as it was laid out. */
static bool is_laid_out_locked(struct uf_space *space)
{
    const struct uf_template *t = space->made_from;
    uintptr_t base = space->region.range.start;
    const struct vma *v =
        vma_set_find_intersection(&space->vmas, space->region.range);
    size_t i = 0;

    for (; v && i < t->nmaps; v = vma_set_next(&space->vmas, v), i++) {
        const struct template_map *m = &t->maps[i];
        uint32_t plain = v->flags & ~(VMA_PROT | VMA_HOST);

        if (v->start != base + m->part.start || v->end != base + m->part.end ||
            vma_prot(v) != m->prot || !(v->flags & VMA_HOST) || plain != 0)
            return false;
    }
    return !v && i == t->nmaps;
}

/* What is to be undone in one mapping. */
struct undo {
    struct uf_space *space;
    const struct template_map *map;
    size_t npages; /* so far */
};

/* Back to the template's page costs more than its bytes: it takes the kernel
 * longer to drop a page than to copy one, however long the run, and the next
 * write has to copy it all the same. */
static void undo_run(void *arg, struct range run)
{
    struct undo *u = arg;
    struct uf_space *space = u->space;
    const struct uf_template *t = space->made_from;
    const char *from = t->view + (run.start - space->region.range.start);

    map_note_changed(space, run);
    u->npages += range_len(run) / page_size();
    if (!(u->map->prot & PROT_WRITE))
        region_drop(&space->region, run);
    else
        memcpy((void *)run.start, from, range_len(run)); /* NOLINT */
}

static void drop_run(void *arg, struct range run)
{
    drop_add(arg, run);
}

/* The clone has far more pages of its own than at its first reset: perhaps each
 * request writes others. It begins again with none. */
static void drop_own(struct uf_space *space, int pagemap)
{
    const struct uf_template *t = space->made_from;
    uintptr_t base = space->region.range.start;
    struct drop drop;

    drop_begin(&drop);
    for (size_t i = 0; i < t->nmaps; i++)
        scan_pages(pagemap, SCAN_COPIED,
                   (struct range){base + t->maps[i].part.start,
                                  base + t->maps[i].part.end},
                   drop_run, &drop);
    drop_end(&drop);
}

static void limit_own(struct uf_space *space, int pagemap, size_t npages)
{
    if (space->made_own == 0) {
        space->made_own = npages;
    } else if (npages > 2 * space->made_own + OWN_MORE) {
        drop_own(space, pagemap);
        space->made_own = 0;
    }
}

static int undo_pages(struct uf_space *space, int pagemap)
{
    const struct uf_template *t = space->made_from;
    uintptr_t base = space->region.range.start;
    struct undo undo = {.space = space};
    int err = 0;

    for (size_t i = 0; i < t->nmaps && !err; i++) {
        struct range part = {base + t->maps[i].part.start,
                             base + t->maps[i].part.end};

        undo.map = &t->maps[i];
        err = pagemap < 0
                  ? -ENOTTY
                  : scan_pages(pagemap, SCAN_COPIED, part, undo_run, &undo);
        if (err) {
            map_note_changed(space, part);
            err = region_drop(&space->region, part);
        }
    }
    if (!err && pagemap >= 0)
        limit_own(space, pagemap, undo.npages);
    return err;
}

/* Whatever is there goes, and the template comes again. */
static int lay_out_again(struct uf_space *space)
{
    struct range all = space->region.range;
    int err;

    uf_brk(space, all.start);
    err = uf_munmap(space, all.start, range_len(all));
    if (!err)
        err = template_apply(space->made_from, space);
    space->made_epoch = layout_epoch(space);
    space->made_own = 0;
    return err ? -ENOMEM : 0;
}

/* Nothing but the break and pages may have changed, and the break not below
 * where it was. */
static bool is_as_before(struct uf_space *space)
{
    const struct uf_template *t = space->made_from;
    bool same;

    if (!layout_is_near(space, space->made_epoch,
                        space->region.range.start + t->brk))
        return false;
    rwlock_take_read(&space->map_lock);
    same = is_laid_out_locked(space);
    rwlock_release(&space->map_lock);
    return same;
}

int template_reset(struct uf_space *space)
{
    int pagemap, err;

    if (!is_as_before(space))
        return lay_out_again(space);
    pagemap = scan_open();
    rwlock_take_read(&space->map_lock);
    err = undo_pages(space, pagemap);
    rwlock_release(&space->map_lock);
    if (pagemap >= 0)
        close(pagemap);
    return err ? lay_out_again(space) : 0;
}
