/* SPDX-License-Identifier: MIT */
/* See format.h. */
#include "image/format.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "image/codec.h"
#include "ufault/ufault.h"

#define KNOWN_PROT ((uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))

_Static_assert(IMAGE_MAPPING_FLAGS ==
                   (UF_VMA_GROWSDOWN | UF_VMA_NORESERVE | UF_VMA_DONTFORK |
                    UF_VMA_WIPEONFORK | UF_VMA_DONTDUMP | UF_VMA_HUGEPAGE |
                    UF_VMA_NOHUGEPAGE | UF_VMA_MERGEABLE | UF_VMA_SEQUENTIAL |
                    UF_VMA_RANDOM),
               "IMAGE_MAPPING_FLAGS");

uint64_t image_checksum(const void *bytes, size_t len_bytes)
{
    return XXH3_64bits(bytes, len_bytes);
}

static uint64_t header_checksum(const struct image_header *header)
{
    return image_checksum(header, offsetof(struct image_header, checksum));
}

void image_header_seal(struct image_header *header)
{
    header->checksum = header_checksum(header);
}

static bool is_power_of_2(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static bool is_zero(const uint8_t *bytes, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool parent_is_sound(const struct image_header *h)
{
    const uint8_t *name = (const uint8_t *)h->parent_name;

    if (h->flags & IMAGE_INCREMENTAL)
        return !is_zero(h->parent, sizeof(h->parent)) && name[0] != 0 &&
               name[IMAGE_PARENT_MAX - 1] == 0 && !strchr(h->parent_name, '/');
    return is_zero(h->parent, sizeof(h->parent)) &&
           is_zero(name, IMAGE_PARENT_MAX);
}

/* The index is as long as its records are, none of the sums wrapping. */
static bool counts_are_sound(const struct image_header *h)
{
    uint64_t left = h->file_bytes - h->index_offset;
    uint64_t records[] = {h->nmappings, h->nextents, h->nchunks};

    for (size_t i = 0; i < 3; i++) {
        if (records[i] > left / 24)
            return false;
        left -= records[i] * 24;
    }
    return left % 8 == 0 && h->nworking == left / 8;
}

/* Of so many pages. */
static uint64_t count_chunks(const struct image_header *h, uint64_t npages)
{
    uint64_t per_chunk = h->chunk_bytes / h->page_bytes;

    return npages / per_chunk + (npages % per_chunk != 0);
}

static uint64_t first_ahead_chunk(const struct image_header *h)
{
    return count_chunks(h, h->npages - h->nahead);
}

uint64_t image_first_ahead(const struct image_header *h)
{
    return first_ahead_chunk(h) * (h->chunk_bytes / h->page_bytes);
}

uint64_t image_chunk_pages(const struct image_header *h, uint64_t i)
{
    uint64_t per_chunk = h->chunk_bytes / h->page_bytes;
    uint64_t ahead = first_ahead_chunk(h);
    uint64_t left = i < ahead ? h->npages - h->nahead - i * per_chunk
                              : h->nahead - (i - ahead) * per_chunk;

    return left < per_chunk ? left : per_chunk;
}

static bool layout_is_sound(const struct image_header *h, uint64_t file_bytes)
{
    return h->file_bytes == file_bytes && file_bytes <= INT64_MAX &&
           h->index_offset >= sizeof(*h) && h->index_offset <= file_bytes &&
           counts_are_sound(h) && h->npages <= h->len_bytes / h->page_bytes &&
           h->nahead <= h->npages && h->nahead <= h->nworking &&
           h->nchunks == first_ahead_chunk(h) + count_chunks(h, h->nahead);
}

int image_header_check(const struct image_header *h, uint64_t file_bytes,
                       size_t page_bytes)
{
    if (file_bytes < sizeof(*h) || memcmp(h->magic, IMAGE_MAGIC, 8) != 0)
        return -EBADMSG;
    /* All of it would be the other way round, the checksum, too. */
    if (h->byte_order == __builtin_bswap32(IMAGE_BYTE_ORDER))
        return -EOPNOTSUPP;
    if (h->checksum != header_checksum(h))
        return -EBADMSG;
    if (h->version != IMAGE_VERSION || h->byte_order != IMAGE_BYTE_ORDER ||
        h->page_bytes != page_bytes || (h->flags & ~IMAGE_FLAGS) ||
        h->codec >= UF_IMAGE_CODECS)
        return -EOPNOTSUPP;
    if (!is_power_of_2(h->chunk_bytes) || h->chunk_bytes < page_bytes ||
        h->chunk_bytes > IMAGE_CHUNK_BYTES_MAX ||
        h->len_bytes % page_bytes != 0 || h->len_bytes > INT64_MAX ||
        h->base % page_bytes != 0 || h->base > UINT64_MAX - h->len_bytes ||
        h->brk > h->len_bytes)
        return -EBADMSG;
    if (!parent_is_sound(h) || !layout_is_sound(h, file_bytes) ||
        !is_zero(h->unused, sizeof(h->unused)))
        return -EBADMSG;
    return 0;
}

void image_index_lay_out(const struct image_header *h,
                         struct image_index *index)
{
    char *at = index->bytes;

    index->mappings = (const void *)at;
    at += h->nmappings * sizeof(struct image_mapping);
    index->extents = (const void *)at;
    at += h->nextents * sizeof(struct image_extent);
    index->chunks = (const void *)at;
    at += h->nchunks * sizeof(struct image_chunk);
    index->working = (const void *)at;
}

static int check_mappings(const struct image_header *h,
                          const struct image_index *index)
{
    uint64_t end = 0;

    for (size_t i = 0; i < h->nmappings; i++) {
        const struct image_mapping *m = &index->mappings[i];

        if ((m->flags & ~IMAGE_MAPPING_FLAGS) || (m->prot & ~KNOWN_PROT))
            return -EOPNOTSUPP;
        if (m->start < end || m->start > h->len_bytes || m->len_bytes == 0 ||
            m->len_bytes > h->len_bytes - m->start ||
            m->start % h->page_bytes != 0 || m->len_bytes % h->page_bytes != 0)
            return -EBADMSG;
        end = m->start + m->len_bytes;
    }
    return 0;
}

/* How many stored pages were met: in order of address, with the working set. */
struct met {
    uint64_t in_order;
    uint64_t ahead;
};

/* Are the numbers of an extent's stored pages such as may be? */
static bool numbers_are_sound(const struct image_header *h,
                              const struct image_extent *e, struct met *met)
{
    uint64_t first_ahead = image_first_ahead(h);

    if (e->first == IMAGE_ZEROS)
        return (h->flags & IMAGE_INCREMENTAL) != 0;
    if (e->first >= first_ahead && h->nahead > 0) {
        if (e->first - first_ahead >= h->nahead ||
            e->npages > h->nahead - (e->first - first_ahead))
            return false;
        met->ahead += e->npages;
        return met->ahead <= h->nahead;
    }
    if (e->first != met->in_order ||
        e->npages > h->npages - h->nahead - met->in_order)
        return false;
    met->in_order += e->npages;
    return true;
}

static int check_extents(const struct image_header *h,
                         const struct image_index *index)
{
    struct met met = {0, 0};
    uint64_t end = 0;
    size_t at = 0; /* the mapping */

    for (size_t i = 0; i < h->nextents; i++) {
        const struct image_extent *e = &index->extents[i];
        const struct image_mapping *m;
        uint64_t first, limit;

        if (e->page < end || e->npages == 0)
            return -EBADMSG;
        for (;; at++) {
            if (at == h->nmappings)
                return -EBADMSG;
            m = &index->mappings[at];
            first = m->start / h->page_bytes;
            limit = first + m->len_bytes / h->page_bytes;
            if (e->page < limit)
                break;
        }
        if (e->page < first || e->npages > limit - e->page)
            return -EBADMSG;
        if (!numbers_are_sound(h, e, &met))
            return -EBADMSG;
        end = e->page + e->npages;
    }
    return met.ahead == h->nahead && met.in_order == h->npages - h->nahead
               ? 0
               : -EBADMSG;
}

static int check_chunks(const struct image_header *h,
                        const struct image_index *index)
{
    uint64_t at = sizeof(*h);

    for (size_t i = 0; i < h->nchunks; i++) {
        const struct image_chunk *c = &index->chunks[i];
        uint64_t npages = image_chunk_pages(h, i);

        if (c->codec >= UF_IMAGE_CODECS)
            return -EOPNOTSUPP;
        if (c->offset != at || c->stored_bytes == 0 ||
            c->stored_bytes > npages * h->page_bytes ||
            c->stored_bytes > h->index_offset - at ||
            (c->codec == UF_IMAGE_NONE &&
             c->stored_bytes != npages * h->page_bytes))
            return -EBADMSG;
        at += c->stored_bytes;
    }
    return at == h->index_offset ? 0 : -EBADMSG;
}

int image_index_check(const struct image_header *h,
                      const struct image_index *index)
{
    int err;

    if (image_checksum(index->bytes, index->len_bytes) != h->index_checksum)
        return -EBADMSG;
    err = check_mappings(h, index);
    if (!err)
        err = check_extents(h, index);
    if (!err)
        err = check_chunks(h, index);
    for (size_t i = 0; !err && i < h->nworking; i++)
        if (!image_find_mapping(h, index, index->working[i]))
            err = -EBADMSG;
    return err;
}

const struct image_mapping *image_find_mapping(const struct image_header *h,
                                               const struct image_index *index,
                                               uint64_t page)
{
    size_t low = 0, high = h->nmappings;

    if (page > h->len_bytes / h->page_bytes)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct image_mapping *m = &index->mappings[middle];

        if (page * h->page_bytes < m->start)
            high = middle;
        else if (page * h->page_bytes >= m->start + m->len_bytes)
            low = middle + 1;
        else
            return m;
    }
    return NULL;
}

size_t image_find_extent(const struct image_header *h,
                         const struct image_index *index, uint64_t page)
{
    size_t low = 0, high = h->nextents;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct image_extent *e = &index->extents[middle];

        if (e->page + e->npages <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
