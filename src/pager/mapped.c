/* SPDX-License-Identifier: MIT */
/* See mapped.h. */
#include "pager/mapped.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/slab.h"
#include "pager/pager.h"

/* What tells one file from another while it is mapped. */
struct identity {
    dev_t dev;
    ino_t ino;
    bool shmem;
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

static struct identity identify(int fd)
{
    struct identity identity = {.shmem = fd < 0};
    struct statfs fs;
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        identity.dev = st.st_dev;
        identity.ino = st.st_ino;
        identity.shmem = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
    }
    return identity;
}

struct uf_pager *pager_mapped_create(int fd)
{
    struct identity *identity = slab_alloc(&identities);
    struct uf_pager *pager;

    if (!identity)
        return NULL;
    *identity = identify(fd);
    if (pager_create(fd >= 0 ? &file_ops : &shared_ops, identity, &pager) == 0)
        return pager;
    slab_free(&identities, identity);
    return NULL;
}

bool pager_mapped_is_shmem(const struct uf_pager *pager)
{
    const struct identity *identity = pager->context;

    return identity->shmem;
}

static bool is_mapped_file(const struct uf_pager *pager)
{
    return pager->ops.fill == never_filled &&
           pager->ops.name[0] == file_ops.name[0];
}

bool pager_mapped_are_alike(const struct uf_pager *a, const struct uf_pager *b)
{
    const struct identity *x = a->context, *y = b->context;

    return is_mapped_file(a) && is_mapped_file(b) && x->dev == y->dev &&
           x->ino == y->ino;
}
