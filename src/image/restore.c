/* SPDX-License-Identifier: MIT */
/*
 * See restore.h. A mapping comes back as one of three:
 *
 *     all zeros      anonymous, as new
 *     a stack        anonymous, and its pages are copied in now: the kernel's
 *                    rules of growth are for anonymous memory
 *     else           a pager's (pager.c), absent
 *
 * The break is set first, while nothing is in its way. The memory that this
 * makes is unmapped again, since the heap is a mapping like others: only what it
 * grows into later is the space's own.
 */
#include "image/restore.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/slab.h"
#include "fault/ahead.h"
#include "ufault/ufault.h"

#define STACK_BLOCK_PAGES 16u

struct restoring {
    struct uf_image *image;
    struct uf_space *space;
    uintptr_t base;
};

static uint64_t first_page(const struct image_mapping *m)
{
    return m->start / page_size();
}

static uint64_t count_pages(const struct image_mapping *m)
{
    return m->len_bytes / page_size();
}

static int map_flags(const struct image_mapping *m)
{
    return MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
           (m->flags & UF_VMA_GROWSDOWN ? MAP_GROWSDOWN : 0) |
           (m->flags & UF_VMA_NORESERVE ? MAP_NORESERVE : 0);
}

static int map_anonymous(struct restoring *r, const struct image_mapping *m,
                         int prot)
{
    intptr_t addr = uf_mmap(r->space, r->base + m->start, m->len_bytes, prot,
                            map_flags(m), -1, 0);

    return addr < 0 ? (int)addr : 0;
}

static int map_paged(struct restoring *r, const struct image_mapping *m)
{
    struct uf_pager *pager;
    intptr_t addr;
    int err = image_pager(r->image, first_page(m), count_pages(m), &pager);

    if (err)
        return err;
    addr = uf_mmap_pager(r->space, r->base + m->start, m->len_bytes,
                         (int)m->prot, map_flags(m), pager, 0);
    uf_pager_unref(pager);
    return addr < 0 ? (int)addr : 0;
}

static int copy_block(struct restoring *r, uint64_t page, uint64_t npages,
                      void *block)
{
    uint64_t done;
    int err;

    if (image_is_zeros(r->image, page, npages))
        return 0;
    err = image_read(r->image, IMAGE_ASKED, page, npages, block, &done);
    if (err)
        return err;
    err = uf_copy_out(r->space, r->base + page * page_size(), block,
                      npages * page_size(), NULL);
    return err == -EFAULT ? -ENOMEM : err;
}

static int map_stack(struct restoring *r, const struct image_mapping *m)
{
    size_t room = STACK_BLOCK_PAGES * page_size();
    void *block = slab_pages(room);
    uint64_t end = first_page(m) + count_pages(m);
    int err = block ? map_anonymous(r, m, PROT_READ | PROT_WRITE) : -ENOMEM;

    for (uint64_t page = first_page(m); !err && page < end;
         page += STACK_BLOCK_PAGES)
        err = copy_block(r, page,
                         end - page < STACK_BLOCK_PAGES ? end - page
                                                        : STACK_BLOCK_PAGES,
                         block);
    if (!err && m->prot != (PROT_READ | PROT_WRITE))
        err = uf_mprotect(r->space, r->base + m->start, m->len_bytes,
                          (int)m->prot);
    if (block)
        slab_pages_free(block, room);
    return err;
}

/* Hints that this kernel may not know are left out; the others are ours. */
static int advise(struct restoring *r, const struct image_mapping *m)
{
    static const struct {
        uint32_t flag;
        int advice;
        bool is_hint;
    } advices[] = {
        {UF_VMA_DONTFORK, MADV_DONTFORK, false},
        {UF_VMA_WIPEONFORK, MADV_WIPEONFORK, false},
        {UF_VMA_DONTDUMP, MADV_DONTDUMP, false},
        {UF_VMA_SEQUENTIAL, MADV_SEQUENTIAL, false},
        {UF_VMA_RANDOM, MADV_RANDOM, false},
        {UF_VMA_HUGEPAGE, MADV_HUGEPAGE, true},
        {UF_VMA_NOHUGEPAGE, MADV_NOHUGEPAGE, true},
        {UF_VMA_MERGEABLE, MADV_MERGEABLE, true},
    };
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(advices) / sizeof(advices[0]); i++) {
        if (m->flags & advices[i].flag)
            err = uf_madvise(r->space, r->base + m->start, m->len_bytes,
                             advices[i].advice);
        if (err && advices[i].is_hint)
            err = 0;
    }
    return err == -EAGAIN ? -ENOMEM : err;
}

static int map_one(struct restoring *r, const struct image_mapping *m)
{
    int err;

    if (image_is_zeros(r->image, first_page(m), count_pages(m)))
        err = map_anonymous(r, m, (int)m->prot);
    else if (m->flags & UF_VMA_GROWSDOWN)
        err = map_stack(r, m);
    else
        err = map_paged(r, m);
    return err ? err : advise(r, m);
}

static int set_break(struct restoring *r, uint64_t brk)
{
    if (brk == 0)
        return 0;
    if (uf_brk(r->space, r->base + brk) != r->base + brk)
        return -ENOMEM;
    return uf_munmap(r->space, r->base, align_up(brk, page_size()));
}

/* The least length of a space that holds it. */
static uint64_t needed_bytes(const struct uf_image *image)
{
    const struct image_header *h = &image->header;
    uint64_t end = align_up(h->brk, page_size());
    const struct image_mapping *last;

    if (h->nmappings > 0) {
        last = &image->index.mappings[h->nmappings - 1];
        if (last->start + last->len_bytes > end)
            end = last->start + last->len_bytes;
    }
    return end;
}

int image_lay_out(struct uf_image *image, struct uf_space *space)
{
    struct restoring r = {
        .image = image, .space = space, .base = uf_space_base(space)};
    const struct image_header *h = &image->header;
    int err = set_break(&r, h->brk);

    for (size_t i = 0; !err && i < h->nmappings; i++)
        err = map_one(&r, &image->index.mappings[i]);
    return err;
}

/* A hint: without it all comes as it is touched. */
static void bring_ahead(const struct uf_image *image, struct uf_space *space)
{
    if (image->header.nworking > 0)
        ahead_start(space, image->index.working, image->header.nworking, 0);
}

int image_restore(struct uf_image *image, const struct uf_space_opts *opts,
                  struct uf_space **ret_space)
{
    struct uf_space_opts all = {.size = sizeof(all)};
    struct uf_space *space;
    int err;

    if (opts)
        all = *opts;
    if (all.len_bytes == 0)
        all.len_bytes = image->header.len_bytes;
    if ((image->header.flags & IMAGE_FIXED) && all.address == 0)
        all.address = image->header.base;
    if ((image->header.flags & IMAGE_FIXED) &&
        all.address != image->header.base)
        return -EINVAL;
    if (all.fork == UF_FORK_ZERO || all.len_bytes < needed_bytes(image))
        return -EINVAL;
    if (!(all.flags & UF_SPACE_NO_AHEAD))
        image_read_ahead(image);
    err = uf_space_create(&all, &space);
    if (err)
        return err;
    err = image_lay_out(image, space);
    if (!err)
        err = image_is_origin(image, space);
    if (!err && !(all.flags & UF_SPACE_NO_AHEAD))
        bring_ahead(image, space);
    if (err)
        uf_space_destroy(space);
    else
        *ret_space = space;
    return err;
}
