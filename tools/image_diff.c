/* SPDX-License-Identifier: MIT */
/*
 * See image_diff.h. Both lists of mappings are walked together; between two
 * bounds of either nothing changes but bytes:
 *
 *     first     AAAAAAAA    BBBB
 *     second        CCCCCCCCCC
 *               |<  |b? |>  |b?|
 */
#include "image_diff.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ufault/image.h"
#include "ufault/ufault.h"

#define BLOCK_PAGES 64u

struct maps {
    struct uf_vma_info *list; /* start and end from the base */
    size_t n;
    size_t at; /* the one that ends above where we are */
};

struct diff {
    struct uf_image *images[2];
    struct maps maps[2];
    uint64_t page_bytes;
    unsigned char *bytes[2]; /* BLOCK_PAGES each */
    int lines;
    uint64_t from, to; /* pages whose bytes differ, not printed yet */
};

static int add_mapping(void *data, const struct uf_vma_info *vma)
{
    struct maps *maps = data;

    if ((maps->n & (maps->n - 1)) == 0) {
        struct uf_vma_info *list =
            realloc(maps->list, (maps->n ? 2 * maps->n : 1) * sizeof(*list));

        if (!list)
            return -ENOMEM;
        maps->list = list;
    }
    maps->list[maps->n] = *vma;
    maps->list[maps->n].start = vma->offset;
    maps->list[maps->n].end = vma->offset + (vma->end - vma->start);
    maps->n++;
    return 0;
}

static void print_range(struct diff *d, char kind, uint64_t start, uint64_t end)
{
    printf("%c %llx-%llx\n", kind, (unsigned long long)start,
           (unsigned long long)end);
    d->lines++;
}

static void print_bytes(struct diff *d)
{
    if (d->to > d->from)
        print_range(d, 'b', d->from * d->page_bytes, d->to * d->page_bytes);
    d->from = d->to = 0;
}

static void note_page(struct diff *d, uint64_t page)
{
    if (d->to != page || d->to == d->from) {
        print_bytes(d);
        d->from = page;
    }
    d->to = page + 1;
}

static int compare_bytes(struct diff *d, uint64_t page, uint64_t end)
{
    int err = 0;

    while (!err && page < end) {
        uint64_t n = end - page < BLOCK_PAGES ? end - page : BLOCK_PAGES;

        for (int i = 0; !err && i < 2; i++)
            err = uf_image_read(d->images[i], page, n, d->bytes[i]);
        for (uint64_t k = 0; !err && k < n; k++)
            if (memcmp(d->bytes[0] + k * d->page_bytes,
                       d->bytes[1] + k * d->page_bytes, d->page_bytes) != 0)
                note_page(d, page + k);
        page += n;
    }
    print_bytes(d);
    return err;
}

/* The mapping of one side that ends above `at`; NULL: none. */
static const struct uf_vma_info *next(struct maps *maps, uint64_t at)
{
    while (maps->at < maps->n && maps->list[maps->at].end <= at)
        maps->at++;
    return maps->at < maps->n ? &maps->list[maps->at] : NULL;
}

/* Up to the next bound above `at` of either side; 0: there is none. */
static uint64_t next_bound(const struct uf_vma_info *const m[2], uint64_t at)
{
    uint64_t bound = 0;

    for (int i = 0; i < 2; i++) {
        uint64_t b;

        if (!m[i])
            continue;
        b = m[i]->start > at ? m[i]->start : m[i]->end;
        if (bound == 0 || b < bound)
            bound = b;
    }
    return bound;
}

static int compare_part(struct diff *d, const struct uf_vma_info *const m[2],
                        uint64_t start, uint64_t end)
{
    bool in[2];

    for (int i = 0; i < 2; i++)
        in[i] = m[i] && m[i]->start <= start;
    if (!in[0] || !in[1]) {
        if (in[0] || in[1])
            print_range(d, in[0] ? '<' : '>', start, end);
        return 0;
    }
    if (m[0]->prot != m[1]->prot ||
        ((m[0]->flags ^ m[1]->flags) & ~UF_VMA_HEAP))
        print_range(d, 'p', start, end);
    return compare_bytes(d, start / d->page_bytes, end / d->page_bytes);
}

static int compare(struct diff *d)
{
    uint64_t at = 0, bound = 0;
    int err = 0;

    do {
        const struct uf_vma_info *m[2] = {next(&d->maps[0], at),
                                          next(&d->maps[1], at)};

        bound = next_bound(m, at);
        if (bound > 0)
            err = compare_part(d, m, at, bound);
        at = bound;
    } while (!err && bound > 0);
    return err;
}

int image_diff(struct uf_image *first, struct uf_image *second)
{
    struct diff d = {.images = {first, second},
                     .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
    int err = 0;

    for (int i = 0; i < 2 && !err; i++) {
        d.bytes[i] = malloc(BLOCK_PAGES * d.page_bytes);
        err = d.bytes[i] ? uf_image_walk(d.images[i], add_mapping, &d.maps[i])
                         : -ENOMEM;
    }
    if (!err)
        err = compare(&d);
    for (int i = 0; i < 2; i++) {
        free(d.bytes[i]);
        free(d.maps[i].list);
    }
    return err ? err : d.lines;
}
