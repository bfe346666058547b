/* SPDX-License-Identifier: MIT */
/* See reader.h: from a page to its bytes. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "image/calls.h"
#include "image/codec.h"
#include "image/reader.h"

struct image_run image_run_at(struct uf_image *image, uint64_t page,
                              uint64_t npages)
{
    for (; image; image = image->parent) {
        const struct image_header *h = &image->header;
        size_t i = image_find_extent(h, &image->index, page);
        const struct image_extent *e = &image->index.extents[i];
        uint64_t left;

        if (i == h->nextents)
            continue;
        if (e->page > page) {
            if (npages > e->page - page)
                npages = e->page - page;
            continue;
        }
        left = e->page + e->npages - page;
        if (npages > left)
            npages = left;
        if (e->first == IMAGE_ZEROS)
            break;
        return (struct image_run){npages, image, e->first + (page - e->page)};
    }
    return (struct image_run){npages, NULL, 0};
}

bool image_is_zeros(struct uf_image *image, uint64_t page, uint64_t npages)
{
    while (npages > 0) {
        struct image_run run = image_run_at(image, page, npages);

        if (run.image)
            return false;
        page += run.npages;
        npages -= run.npages;
    }
    return true;
}

/* A decoder, held. */
struct hold {
    struct decoder *d;
    enum image_use use;
    sigset_t before;
};

static bool try_take(struct decoder *d, int self)
{
    int owner = atomic_load_explicit(&d->owner, memory_order_relaxed);

    if (owner == self || !atomic_compare_exchange_strong_explicit(
                             &d->owner, &owner, self, memory_order_acquire,
                             memory_order_relaxed))
        return false;
    /* Left in the middle by a thread that a fork did not copy. */
    if (owner != 0)
        __atomic_store_n(&d->chunk, 0, __ATOMIC_RELAXED);
    return true;
}

/* One that has the chunk, if there is one; else any that this use may have. */
static void take_decoder(struct uf_image *image, uint64_t chunk,
                         enum image_use use, struct hold *ret)
{
    unsigned n = use == IMAGE_ASKED ? IMAGE_DECODERS / 2 : IMAGE_DECODERS;
    int self = getpid();
    sigset_t all;

    ret->use = use;
    if (use == IMAGE_FILL) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &ret->before);
    }
    for (;; sched_yield())
        for (unsigned i = 0; i < 2 * n; i++) {
            struct decoder *d = &image->decoders[i % n];
            uint64_t has = __atomic_load_n(&d->chunk, __ATOMIC_RELAXED);

            if ((i >= n || has == chunk + 1) && try_take(d, self)) {
                ret->d = d;
                return;
            }
        }
}

static void give_decoder(struct hold *hold)
{
    atomic_store_explicit(&hold->d->owner, 0, memory_order_release);
    if (hold->use == IMAGE_FILL)
        pthread_sigmask(SIG_SETMASK, &hold->before, NULL);
}

/* Bytes of chunk number `i` before compression. */
static size_t plain_bytes(const struct uf_image *image, uint64_t i)
{
    return image_chunk_pages(&image->header, i) * image->header.page_bytes;
}

/* The whole of chunk number `i`, read, checked and decompressed into `to`. */
static int load(struct uf_image *image, struct decoder *d, uint64_t i, void *to)
{
    const struct image_chunk *c = &image->index.chunks[i];
    int err = image_read_all(image->fd, d->stored, c->stored_bytes, c->offset);

    if (err)
        return err == -ENODATA ? -EBADMSG : err;
    if (image_checksum(d->stored, c->stored_bytes) != c->checksum)
        return -EBADMSG;
    return codec_unpack(c->codec, d->work, image->work_bytes, to,
                        plain_bytes(image, i), d->stored, c->stored_bytes);
}

/* [from, from + len_bytes) of chunk number `i`. */
static int copy_part(struct uf_image *image, struct decoder *d, uint64_t i,
                     size_t from, size_t len_bytes, void *to)
{
    int err = 0;

    if (d->chunk != i + 1) {
        if (len_bytes == plain_bytes(image, i))
            return load(image, d, i, to);
        __atomic_store_n(&d->chunk, 0, __ATOMIC_RELAXED);
        err = load(image, d, i, d->plain);
        if (!err)
            __atomic_store_n(&d->chunk, i + 1, __ATOMIC_RELAXED);
    }
    if (!err)
        memcpy(to, d->plain + from, len_bytes);
    return err;
}

/* Whoever is at `at` in the file, inside the working set, soon wants what
 * follows. Several may say so at once; what is asked for twice is read once. */
static void ask_ahead(struct uf_image *image, uint64_t at)
{
    uint64_t end = image->header.index_offset, to;

    if (at < atomic_load(&image->ahead_from) ||
        at > atomic_load(&image->ahead_to)) {
        atomic_store(&image->ahead_from, at);
        atomic_store(&image->ahead_to, at);
    }
    to = atomic_load(&image->ahead_to);
    while (to < end && to < at + IMAGE_AHEAD_BYTES) {
        uint64_t len = end - to < IMAGE_AHEAD_READ_BYTES
                           ? end - to
                           : IMAGE_AHEAD_READ_BYTES;

        image_sys->readahead(image->fd, (off64_t)to, len);
        to += len;
        atomic_store(&image->ahead_to, to);
    }
}

void image_read_ahead(struct uf_image *image)
{
    const struct image_header *h = &image->header;
    uint64_t chunk = image_first_ahead(h) * h->page_bytes / h->chunk_bytes;

    if (h->nahead == 0)
        return;
    atomic_store(&image->ahead_to, 0);
    ask_ahead(image, image->index.chunks[chunk].offset);
}

/* Stored pages [first, first + npages): at most to the end of a chunk. */
static int read_stored(const struct image_run *run, enum image_use use,
                       void *to, uint64_t *ret_npages)
{
    const struct image_header *h = &run->image->header;
    uint64_t per_chunk = h->chunk_bytes / h->page_bytes;
    uint64_t chunk = run->first / per_chunk, at = run->first % per_chunk;
    uint64_t npages = run->npages;
    struct hold hold;
    int err;

    if (npages > per_chunk - at)
        npages = per_chunk - at;
    if (use == IMAGE_AHEAD && h->nahead > 0 &&
        run->first >= image_first_ahead(h))
        ask_ahead(run->image, run->image->index.chunks[chunk].offset);
    take_decoder(run->image, chunk, use, &hold);
    err = copy_part(run->image, hold.d, chunk, at * h->page_bytes,
                    npages * h->page_bytes, to);
    give_decoder(&hold);
    *ret_npages = npages;
    return err;
}

int image_read(struct uf_image *image, enum image_use use, uint64_t page,
               uint64_t npages, void *buffer, uint64_t *ret_done)
{
    size_t page_bytes = image->header.page_bytes;
    uint64_t done = 0, n = 0;
    int err = 0;

    while (done < npages) {
        struct image_run run = image_run_at(image, page + done, npages - done);
        char *to = (char *)buffer + done * page_bytes;

        n = run.npages;
        if (run.image)
            err = read_stored(&run, use, to, &n);
        else
            memset(to, 0, n * page_bytes);
        if (err)
            break;
        done += n;
    }
    *ret_done = done;
    return err;
}

/* The first page of chunk number `i` that the image names. */
static uint64_t page_of_chunk(const struct uf_image *image, uint64_t i)
{
    const struct image_header *h = &image->header;
    uint64_t first = i * (h->chunk_bytes / h->page_bytes);

    for (size_t k = 0; k < h->nextents; k++) {
        const struct image_extent *e = &image->index.extents[k];

        if (e->first != IMAGE_ZEROS && first - e->first < e->npages)
            return e->page + (first - e->first);
    }
    return 0;
}

static int verify_chunk(struct uf_image *image, uint64_t i)
{
    struct hold hold;
    int err;

    take_decoder(image, i, IMAGE_ASKED, &hold);
    __atomic_store_n(&hold.d->chunk, 0, __ATOMIC_RELAXED);
    err = load(image, hold.d, i, hold.d->plain);
    give_decoder(&hold);
    return err;
}

int image_verify(struct uf_image *image, uint64_t *ret_page)
{
    int err = 0;

    for (; image && !err; image = image->parent)
        for (uint64_t i = 0; !err && i < image->header.nchunks; i++) {
            err = verify_chunk(image, i);
            if (err && ret_page)
                *ret_page = page_of_chunk(image, i);
        }
    return err;
}

void image_clear_unmapped(const struct uf_image *image, uint64_t page,
                          uint64_t npages, void *buffer)
{
    size_t page_bytes = image->header.page_bytes;

    for (uint64_t i = 0; i < npages; i++)
        if (!image_find_mapping(&image->header, &image->index, page + i))
            memset((char *)buffer + i * page_bytes, 0, page_bytes);
}
