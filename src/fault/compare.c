/* SPDX-License-Identifier: MIT */
/* See compare.h. */
#include "fault/compare.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/slab.h"
#include "base/sys.h"
#include "fault/freeze.h"
#include "mm/map.h"
#include "pager/pager.h"

#define BLOCK_PAGES 16u

struct compare {
    struct resident known;
    char *copy; /* of the region's length */
    size_t len_bytes;
    char *block; /* BLOCK_PAGES, and behind them a page of zeros */
};

static struct slab_cache records =
    SLAB_CACHE("compare", sizeof(struct compare));

static size_t block_bytes(void)
{
    return (BLOCK_PAGES + 1) * page_size();
}

void compare_end(struct compare *compare)
{
    if (!compare)
        return;
    if (compare->known.words)
        resident_destroy(&compare->known);
    slab_pages_free(compare->copy, compare->len_bytes);
    slab_pages_free(compare->block, block_bytes());
    slab_free(&records, compare);
}

void compare_forget(struct compare *compare)
{
    if (compare)
        compare->copy = NULL; /* MADV_DONTFORK */
    compare_end(compare);
}

/* ---- one look ---- */

struct look {
    struct uf_space *space;
    struct compare *compare;
    struct frozen frozen;
    bool first; /* nothing is told yet */
};

static bool is_zeros(const struct look *l, const char *bytes)
{
    return memcmp(bytes, l->compare->block + BLOCK_PAGES * page_size(),
                  page_size()) == 0;
}

static void look_at_page(struct look *l, const struct vma *v, uintptr_t addr,
                         const char *bytes)
{
    struct range page = {addr, addr + page_size()};
    char *copy = l->compare->copy + (addr - l->compare->known.range.start);
    bool known = resident_test(&l->compare->known, addr);
    bool same = known ? memcmp(copy, bytes, page_size()) == 0
                      : v->pager->is_zero && is_zeros(l, bytes);

    if (same)
        return;
    memcpy(copy, bytes, page_size());
    resident_set(&l->compare->known, page);
    if (!l->first)
        map_note_changed(l->space, page);
}

/* [part) is there. */
static int look_at_part(struct look *l, const struct vma *v, struct range part)
{
    int err = 0;

    while (!err && !range_is_empty(part)) {
        size_t len = range_len(part);

        if (len > BLOCK_PAGES * page_size())
            len = BLOCK_PAGES * page_size();
        err = frozen_read(&l->frozen, part.start, l->compare->block, len);
        for (size_t at = 0; !err && at < len; at += page_size())
            look_at_page(l, v, part.start + at, l->compare->block + at);
        part.start += len;
    }
    return err;
}

/* A page that was refused (SIGBUS) is there, and cannot be read: it is skipped. */
static int look_at_run(struct look *l, const struct vma *v, struct range run)
{
    struct range page;
    int err = look_at_part(l, v, run);

    for (page = run; err == -EFAULT && page.start < run.end;
         page.start = page.end) {
        page.end = page.start + page_size();
        look_at_part(l, v, page);
    }
    return err == -EFAULT ? 0 : err;
}

static int look_at_mapping(struct look *l, const struct vma *v)
{
    struct range left = vma_range(v);
    int err = 0;

    while (!err && !range_is_empty(left)) {
        struct range there;

        err = frozen_present(&l->frozen, left, &there);
        if (err)
            break;
        if (there.start > left.start)
            resident_clear(&l->compare->known,
                           (struct range){left.start, there.start});
        err = look_at_run(l, v, there);
        left.start = there.end;
    }
    return err;
}

static int look(struct look *l)
{
    const struct vma *v;
    int err = freeze_locked(l->space, &l->frozen);

    if (err)
        return err;
    err = frozen_open(&l->frozen);
    for (v = vma_set_find(&l->space->vmas, 0); v && !err;
         v = vma_set_next(&l->space->vmas, v))
        if (!(v->flags & VMA_HOST))
            err = look_at_mapping(l, v);
    frozen_end(&l->frozen);
    return err;
}

int compare_look(struct uf_space *space, struct compare *compare)
{
    struct look l = {.space = space, .compare = compare};

    return look(&l) == 0 ? 0 : -EIO;
}

static int make(struct uf_space *space, struct compare *c)
{
    int err = resident_init(&c->known, space->region.range);

    if (err)
        return err;
    c->len_bytes = range_len(space->region.range);
    c->copy = slab_pages(c->len_bytes);
    c->block = c->copy ? slab_pages(block_bytes()) : NULL;
    if (!c->block)
        return -ENOMEM;
    /* The copies of the process need not have it. */
    sys->madvise(c->copy, c->len_bytes, MADV_DONTFORK);
    return 0;
}

int compare_begin(struct uf_space *space, struct compare **ret)
{
    struct look l = {.space = space, .first = true};
    int err;

    l.compare = slab_alloc(&records);
    if (!l.compare)
        return -ENOMEM;
    err = make(space, l.compare);
    if (!err)
        err = look(&l);
    if (err) {
        compare_end(l.compare);
        return err == -EMFILE                  ? err
               : err == -EACCES || err == -EIO ? -EOPNOTSUPP
                                               : -ENOMEM;
    }
    *ret = l.compare;
    return 0;
}
