/* SPDX-License-Identifier: MIT */
/*
 * See restore.h: the pager of one mapping.
 *
 * Each mapping has one of its own, and not all of them one together: what a
 * mapping grows into (mremap, or the break) is then behind the last page, and
 * zeros, whatever the image has at that address.
 */
#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"
#include "image/restore.h"
#include "pager/pager.h"

struct part {
    struct uf_image *image;
    uint64_t page;
    uint64_t npages;
};

static struct slab_cache parts = SLAB_CACHE("image part", sizeof(struct part));

static ssize_t fill(void *context, const struct uf_fill *request)
{
    const struct part *part = context;
    uint64_t first = request->offset / request->page_bytes;
    uint64_t npages = request->len_bytes / request->page_bytes;
    uint64_t inside = first < part->npages ? part->npages - first : 0;
    uint64_t done = 0;
    int err = 0;

    if (inside > npages)
        inside = npages;
    if (inside > 0)
        err = image_read(part->image,
                         request->flags & UF_FILL_AHEAD ? IMAGE_AHEAD
                                                        : IMAGE_FILL,
                         part->page + first, inside, request->buffer, &done);
    if (err && done == 0)
        return err == -EAGAIN ? -EIO : err;
    if (err)
        return (ssize_t)(done * request->page_bytes);
    memset((char *)request->buffer + inside * request->page_bytes, 0,
           (npages - inside) * request->page_bytes);
    return (ssize_t)request->len_bytes;
}

static void release(void *context)
{
    struct part *part = context;

    image_unref(part->image);
    slab_free(&parts, part);
}

int image_pager(struct uf_image *image, uint64_t page, uint64_t npages,
                struct uf_pager **ret_pager)
{
    const struct uf_pager_ops ops = {.size = sizeof(ops),
                                     .name = "image",
                                     .flags = UF_PAGER_SIGNAL_SAFE,
                                     .fill = fill,
                                     .release = release};
    struct part *part = slab_alloc(&parts);
    int err;

    if (!part)
        return -ENOMEM;
    *part = (struct part){image_ref(image), page, npages};
    err = uf_pager_create(&ops, part, ret_pager);
    if (err)
        release(part);
    return err;
}

bool image_pager_pages(const struct uf_pager *pager, uint64_t offset,
                       uint64_t npages, struct uf_image **ret_image,
                       uint64_t *ret_page)
{
    const struct part *part = pager->context;
    uint64_t first = offset / page_size();

    if (pager->ops.fill != fill || first > part->npages ||
        npages > part->npages - first)
        return false;
    *ret_image = part->image;
    *ret_page = part->page + first;
    return true;
}
