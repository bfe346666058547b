/* SPDX-License-Identifier: MIT */
/*
 * save: mapping by mapping, and page by page what may be something else than
 * zeros.
 *
 *     zero-paged     what was never installed is zeros, and stays absent
 *     a pager's, a   all of it is read; absent pages come as for a touch
 *     private file
 *
 * Whether a page was installed is asked of the space (mm/resident.h) and not of
 * mincore(2), to which a page in swap is not there.
 *
 * With a parent, a page is compared with what the parent has: equal, and it is
 * left out; zeros where the parent has something is an extent of its own.
 */
#include "image/save.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/range.h"
#include "image/codec.h"
#include "image/reader.h"
#include "image/replace.h"
#include "mm/show.h"
#include "pager/pager.h"
#include "ufault/ufault.h"

/* Read from the space at once. */
#define BLOCK_BYTES ((size_t)256 << 10)

struct saving {
    struct uf_space *space;
    struct image_writer writer;
    struct uf_image *parent; /* NULL */
    char *block;             /* BLOCK_BYTES, and behind it a page */
    char *theirs;            /* that page: the parent's */
};

static bool is_zero_page(const char *page)
{
    const uint64_t *words = (const void *)page;
    uint64_t any = 0;

    for (size_t i = 0; i < page_size() / 8; i += 8) {
        for (size_t k = 0; k < 8; k++)
            any |= words[i + k];
        if (any)
            return false;
    }
    return true;
}

/* ---- contents ---- */

/* [page, page + npages) are zeros: to be said only where the parent's are not. */
static int put_zeros(struct saving *s, uint64_t page, uint64_t npages)
{
    int err = 0;

    while (s->parent && !err && npages > 0) {
        struct image_run run = image_run_at(s->parent, page, npages);

        if (run.image)
            err = image_writer_zeros(&s->writer, page, run.npages);
        page += run.npages;
        npages -= run.npages;
    }
    return err;
}

/* 1 if the parent has the same bytes there, 0 if not, or -errno. */
static int parent_has(struct saving *s, uint64_t page, const char *bytes)
{
    uint64_t done;
    int err;

    if (!s->parent || !image_run_at(s->parent, page, 1).image)
        return 0;
    err = image_read(s->parent, IMAGE_ASKED, page, 1, s->theirs, &done);
    return err ? err : memcmp(s->theirs, bytes, page_size()) == 0;
}

static int put_page(struct saving *s, uint64_t page, const char *bytes)
{
    int same;

    if (is_zero_page(bytes))
        return put_zeros(s, page, 1);
    same = parent_has(s, page, bytes);
    if (same != 0)
        return same < 0 ? same : 0;
    return image_writer_page(&s->writer, page, bytes);
}

static uint64_t page_at(const struct saving *s, uintptr_t addr)
{
    return (addr - uf_space_base(s->space)) / page_size();
}

/* Reads and puts [part). */
static int put_bytes(struct saving *s, struct range part)
{
    int err = 0;

    while (!err && part.start < part.end) {
        size_t len =
            range_len(part) < BLOCK_BYTES ? range_len(part) : BLOCK_BYTES;

        err = uf_copy_in(s->space, s->block, part.start, len, NULL);
        for (size_t at = 0; !err && at < len; at += page_size())
            err = put_page(s, page_at(s, part.start + at), s->block + at);
        part.start += len;
    }
    return err;
}

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

        err = put_zeros(s, page_at(s, part.start),
                        (run.start - part.start) / page_size());
        if (!err)
            err = put_bytes(s, run);
        part.start = run.end;
    }
    return err;
}

/* ---- mappings ---- */

static bool absent_is_zero(const struct uf_space *space, const struct vma *v)
{
    return v->pager->is_zero && !(v->flags & VMA_HOST) && space->region.uffd;
}

static int put_contents(struct saving *s, const struct vma *v, bool zeros)
{
    struct range part = vma_range(v);
    size_t len = range_len(part);
    bool closed = !(v->flags & VMA_READ);
    int err = 0, err_back = 0;

    if (closed && zeros &&
        range_is_empty(resident_run(&s->space->resident, part)))
        closed = false;
    if (closed)
        err = uf_mprotect(s->space, part.start, len, PROT_READ);
    if (!err)
        err = zeros ? put_resident(s, part) : put_bytes(s, part);
    if (closed)
        err_back = uf_mprotect(s->space, part.start, len, vma_prot(v));
    return err ? err : err_back;
}

/* Not what the kernel serves, which comes back as memory, nor locks. */
static uint32_t saved_flags(const struct vma *v)
{
    return show_flags(v->flags) &
           ~(uint32_t)(UF_VMA_KERNEL | UF_VMA_SHARED | UF_VMA_LOCKED |
                       UF_VMA_LOCKONFAULT);
}

static bool has_guards(struct uf_space *space, const struct vma *v)
{
    bool any;

    rwlock_take_read(&space->map_lock);
    any = space->has_guards && resident_any(&space->guards, vma_range(v));
    rwlock_release(&space->map_lock);
    return any;
}

static int put_mapping(struct saving *s, const struct vma *v)
{
    struct image_mapping mapping = {
        .start = v->start - uf_space_base(s->space),
        .len_bytes = v->end - v->start,
        .prot = (uint32_t)vma_prot(v),
        .flags = saved_flags(v),
    };
    int err;

    if ((v->flags & VMA_SHARED) || has_guards(s->space, v))
        return -EOPNOTSUPP;
    err = image_writer_mapping(&s->writer, &mapping);
    return err ? err : put_contents(s, v, absent_is_zero(s->space, v));
}

static int put_mappings(struct saving *s)
{
    struct shown shown;
    uintptr_t addr = 0;
    int err = 0;

    while (!err && show_next(s->space, addr, &shown)) {
        err = put_mapping(s, &shown.vma);
        addr = shown.vma.end;
        show_done(&shown);
    }
    return err;
}

/* Is each page of the working set mapped? */
static int check_working(struct saving *s, const struct uf_image_opts *opts)
{
    struct image_index index = {.mappings = (void *)s->writer.mappings.bytes};

    for (size_t i = 0; i < opts->nworking; i++)
        if (!image_find_mapping(&s->writer.header, &index, opts->working[i]))
            return -EINVAL;
    return 0;
}

static struct image_params params_for(struct uf_space *space,
                                      const struct uf_image_opts *opts)
{
    uintptr_t base = uf_space_base(space);

    return (struct image_params){
        .codec = opts->codec,
        .level = opts->level ? (int)opts->level : CODEC_LEVEL,
        .chunk_bytes =
            opts->chunk_bytes ? opts->chunk_bytes : IMAGE_CHUNK_BYTES,
        .base = base,
        .len_bytes = uf_space_len(space),
        .brk = uf_brk(space, 0) - base,
        .parent = opts->parent ? opts->parent->header.id : NULL,
        .parent_name = opts->parent ? opts->parent->name : NULL,
        .working = opts->working,
        .nworking = opts->nworking,
    };
}

static int write_space(struct saving *s, int fd,
                       const struct uf_image_opts *opts)
{
    struct image_params params = params_for(s->space, opts);
    size_t room = BLOCK_BYTES + page_size();
    int err;

    s->parent = opts->parent;
    s->block = slab_pages(room);
    if (!s->block)
        return -ENOMEM;
    s->theirs = s->block + BLOCK_BYTES;
    err = image_writer_begin(&s->writer, fd, &params);
    if (!err)
        err = put_mappings(s);
    if (!err)
        err = check_working(s, opts);
    if (!err)
        err = image_writer_finish(&s->writer);
    image_writer_end(&s->writer);
    slab_pages_free(s->block, room);
    return err;
}

/* The parent is found by its name, beside the new image. */
static int check_parent(const struct replace *file,
                        const struct uf_image *parent)
{
    return parent ? replace_may_have_parent(file, parent->dir_device,
                                            parent->dir_inode, parent->name)
                  : 0;
}

int image_save(struct uf_space *space, const char *path,
               const struct uf_image_opts *opts)
{
    struct saving s = {.space = space};
    struct replace file;
    int err = replace_begin(&file, path);

    if (err)
        return err;
    err = check_parent(&file, opts->parent);
    if (!err)
        err = write_space(&s, file.fd, opts);
    if (!err)
        return replace_commit(&file);
    replace_abandon(&file);
    return err;
}
