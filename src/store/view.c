/* SPDX-License-Identifier: MIT */
/*
 * view: a file as memory of ours, to be copied from by the kernel where its
 * pages are in the page cache: one copy and no read(2).
 *
 *     file     |cached|cached|      |cached|
 *     view     |  ok  |  ok  | NULL |  ok  |
 *
 * Nothing of ours looks into a view: what it ends before, or loses meanwhile, is
 * an error of the call that copies, and then the file is read.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/range.h"
#include "base/slab.h"
#include "base/sys.h"
#include "store/looks.h"
#include "store/store.h"

/* mincore(2) says of other files that all of them is cached. */
static bool tells_what_is_cached(int fd)
{
    struct stat st;

    return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ||
           (fstat(fd, &st) == 0 && st.st_uid == geteuid());
}

/* A limit of the address space is for others to use up. */
static bool is_limited(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
}

void store_view_open(struct uf_store *store)
{
    const struct store_file *file = &store->file;
    uint64_t size;
    void *view;

    if (store->kind == UF_STORE_KIND_MEMORY ||
        store->kind == UF_STORE_KIND_CALLER || file->fds[FILE_DIRECT] >= 0 ||
        is_limited() || !tells_what_is_cached(file->fds[FILE_CACHED]) ||
        atomic_exchange(&store->view_tried, true) ||
        store->ops->size(store, &size) != 0 || size == 0 || size > SIZE_MAX / 2)
        return;
    store->looks = slab_pages(sizeof(*store->looks));
    if (!store->looks)
        return;
    size = align_up(size, page_size());
    view =
        sys->mmap(NULL, size, PROT_READ, MAP_SHARED, file->fds[FILE_CACHED], 0);
    if (view == MAP_FAILED)
        return;
    store->view_bytes = size;
    atomic_store(&store->view, view);
}

void store_view_close(struct uf_store *store)
{
    if (store->view)
        sys->munmap(store->view, store->view_bytes);
    slab_pages_free(store->looks, sizeof(*store->looks));
}

const void *store_view(struct uf_store *store, uint64_t offset,
                       size_t len_bytes)
{
    char *view = atomic_load(&store->view);

    if (!view || len_bytes > LOOKS_PAGES * page_size() ||
        len_bytes > store->view_bytes ||
        offset > store->view_bytes - len_bytes ||
        !looks_find(store->looks, view, store->view_bytes, offset, len_bytes,
                    clock_ms()))
        return NULL;
    return view + offset;
}
