/* SPDX-License-Identifier: MIT */
/* See saving.h. */
#include "image/saving.h"

#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"
#include "image/codec.h"
#include "image/replace.h"
#include "mm/show.h"
#include "ufault/ufault.h"

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

uint64_t saving_page_at(const struct saving *s, uintptr_t addr)
{
    return (addr - s->space->region.range.start) / page_size();
}

/* ---- contents ---- */

int saving_zeros(struct saving *s, struct range part)
{
    struct uf_image *parent = s->opts->parent;
    uint64_t page = saving_page_at(s, part.start);
    uint64_t npages = range_len(part) / page_size();
    int err = 0;

    /* To be said only where the parent's are not. */
    while (parent && !err && npages > 0) {
        struct image_run run = image_run_at(parent, page, npages);

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
    struct uf_image *parent = s->opts->parent;
    uint64_t done;
    int err;

    if (!s->compare || !image_run_at(parent, page, 1).image)
        return 0;
    err = image_read(parent, IMAGE_ASKED, page, 1, s->theirs, &done);
    return err ? err : memcmp(s->theirs, bytes, page_size()) == 0;
}

static int put_page(struct saving *s, uintptr_t addr, const char *bytes)
{
    uint64_t page = saving_page_at(s, addr);
    int same;

    if (is_zero_page(bytes))
        return saving_zeros(s, (struct range){addr, addr + page_size()});
    same = parent_has(s, page, bytes);
    if (same != 0)
        return same < 0 ? same : 0;
    return image_writer_page(&s->writer, page, bytes);
}

int saving_block(struct saving *s, struct range part, const char *bytes)
{
    int err = 0;

    for (uintptr_t at = part.start; !err && at < part.end; at += page_size())
        err = put_page(s, at, bytes + (at - part.start));
    return err;
}

int saving_bytes(struct saving *s, struct range part)
{
    int err = 0;

    while (!err && part.start < part.end) {
        size_t len = range_len(part) < SAVING_BLOCK_BYTES ? range_len(part)
                                                          : SAVING_BLOCK_BYTES;

        err = s->read(s, part.start, s->block, len);
        if (!err)
            err = saving_block(s, (struct range){part.start, part.start + len},
                               s->block);
        part.start += len;
    }
    return err;
}

/* ---- mappings ---- */

/* Not what the kernel serves, which comes back as memory, nor locks. */
static uint32_t saved_flags(const struct vma *v)
{
    return show_flags(v->flags) &
           ~(uint32_t)(UF_VMA_KERNEL | UF_VMA_SHARED | UF_VMA_LOCKED |
                       UF_VMA_LOCKONFAULT);
}

int saving_may_hold(const struct uf_space *space, const struct vma *v)
{
    bool guards =
        space->has_guards && resident_any(&space->guards, vma_range(v));

    return guards || (v->flags & VMA_SHARED) ? -EOPNOTSUPP : 0;
}

/* The first part of [part) that the parent maps; empty if there is none. */
static struct range known_part(const struct saving *s, struct range part)
{
    const struct uf_image *parent = s->opts->parent;
    const struct image_mapping *maps = parent->index.mappings;
    uintptr_t base = s->space->region.range.start;
    size_t low = 0, high = parent->header.nmappings;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (maps[mid].start + maps[mid].len_bytes <= part.start - base)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == parent->header.nmappings || base + maps[low].start >= part.end)
        return (struct range){part.end, part.end};
    return range_clip(
        part, (struct range){base + maps[low].start,
                             base + maps[low].start + maps[low].len_bytes});
}

/* What was written of [part), which the parent maps, too. */
static int put_written(struct saving *s, const struct vma *v, struct range part)
{
    struct range run;
    int err = 0;

    while (!err && !range_is_empty(run = resident_run(s->changed, part))) {
        err = s->put_part(s, v, run);
        part.start = run.end;
    }
    return err;
}

/* What the kernel serves may change unseen; what the parent does not map may
 * have been something else in one of its parents. */
static int put_changed(struct saving *s, const struct vma *v)
{
    bool all = !s->changed || (v->flags & VMA_HOST);
    struct range left = vma_range(v);
    int err = 0;

    s->compare = s->opts->parent && all;
    if (all)
        return s->put_part(s, v, left);
    while (!err && !range_is_empty(left)) {
        struct range known = known_part(s, left);

        if (known.start > left.start)
            err = s->put_part(s, v, (struct range){left.start, known.start});
        if (!err)
            err = put_written(s, v, known);
        left.start = known.end;
    }
    return err;
}

int saving_mapping(struct saving *s, const struct vma *v)
{
    struct image_mapping mapping = {
        .start = v->start - s->space->region.range.start,
        .len_bytes = v->end - v->start,
        .prot = (uint32_t)vma_prot(v),
        .flags = saved_flags(v),
    };
    int err = image_writer_mapping(&s->writer, &mapping);

    return err ? err : put_changed(s, v);
}

/* ---- the file ---- */

/* Is each page of the working set mapped? */
static int check_working(struct saving *s)
{
    struct image_index index = {.mappings = (void *)s->writer.mappings.bytes};

    for (size_t i = 0; i < s->opts->nworking; i++)
        if (!image_find_mapping(&s->writer.header, &index, s->opts->working[i]))
            return -EINVAL;
    return 0;
}

static struct image_params params_of(const struct saving *s)
{
    const struct uf_image_opts *opts = s->opts;

    return (struct image_params){
        .codec = opts->codec,
        .level = opts->level ? (int)opts->level : CODEC_LEVEL,
        .chunk_bytes =
            opts->chunk_bytes ? opts->chunk_bytes : IMAGE_CHUNK_BYTES,
        .base = s->space->region.range.start,
        .len_bytes = range_len(s->space->region.range),
        .fixed = (opts->flags & UF_IMAGE_FIXED) != 0,
        .parent = opts->parent ? opts->parent->header.id : NULL,
        .parent_name = opts->parent ? opts->parent->name : NULL,
        .working = opts->working,
        .nworking = opts->nworking,
    };
}

static int write_space(struct saving *s, int fd)
{
    struct image_params params = params_of(s);
    size_t room = SAVING_BLOCK_BYTES + page_size();
    int err;

    s->block = slab_pages(room);
    if (!s->block)
        return -ENOMEM;
    s->theirs = s->block + SAVING_BLOCK_BYTES;
    err = image_writer_begin(&s->writer, fd, &params);
    if (!err)
        err = s->put(s);
    if (!err)
        err = check_working(s);
    if (!err)
        err = image_writer_finish(&s->writer);
    image_writer_end(&s->writer);
    slab_pages_free(s->block, room);
    return err;
}

int saving_write(struct saving *s, const char *path)
{
    struct uf_image *parent = s->opts->parent;
    struct replace file;
    int err = replace_begin(&file, path);

    if (err)
        return err;
    if (parent)
        err = replace_may_have_parent(&file, parent->dir_device,
                                      parent->dir_inode, parent->name);
    if (!err)
        err = write_space(s, file.fd);
    if (!err)
        return replace_commit(&file);
    replace_abandon(&file);
    return err;
}
