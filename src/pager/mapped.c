/* SPDX-License-Identifier: MIT */
/* See mapped.h. */
#include "pager/mapped.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/slab.h"
#include "pager/pager.h"

/* What tells one file from another while it is mapped. */
struct identity {
    dev_t dev;
    ino_t ino;
};

static struct slab_cache identities =
    SLAB_CACHE("file", sizeof(struct identity));

static ssize_t never_filled(void *context, const struct uf_fill *request)
{
    (void)context;
    (void)request;
    return -EIO;
}

static void forget(void *context)
{
    slab_free(&identities, context);
}

static const struct uf_pager_ops file_ops = {
    .size = sizeof(struct uf_pager_ops),
    .name = "file",
    .fill = never_filled,
    .release = forget,
};

static const struct uf_pager_ops shared_ops = {
    .size = sizeof(struct uf_pager_ops),
    .name = "shared",
    .fill = never_filled,
    .release = forget,
};

struct uf_pager *pager_mapped_create(int fd)
{
    struct identity *identity = slab_alloc(&identities);
    struct uf_pager *pager;
    struct stat st = {0};

    if (!identity)
        return NULL;
    if (fd >= 0 && fstat(fd, &st) == 0)
        *identity = (struct identity){st.st_dev, st.st_ino};
    if (pager_create(fd >= 0 ? &file_ops : &shared_ops, identity, &pager) == 0)
        return pager;
    slab_free(&identities, identity);
    return NULL;
}

bool pager_mapped_is_of(const struct uf_pager *pager, int fd)
{
    const struct identity *identity = pager->context;
    struct stat st;

    return pager->ops.fill == never_filled &&
           pager->ops.name[0] == file_ops.name[0] && fstat(fd, &st) == 0 &&
           identity->dev == st.st_dev && identity->ino == st.st_ino;
}
