/* SPDX-License-Identifier: MIT */
/* See aside.h. */
#include "image/aside.h"

#include <errno.h>
#include <string.h>

#include "base/range.h"
#include "base/slab.h"

/* Room for `n` pages, and to sort their places in. */
static size_t room_for(size_t n)
{
    return n * (2 * sizeof(struct pair) + sizeof(uint64_t)) + n * page_size() +
           page_size();
}

int image_aside_init(struct image_aside *a, const uint64_t *working,
                     size_t nworking)
{
    struct pair *scratch;

    *a = (struct image_aside){.working = working, .nworking = nworking};
    if (nworking == 0)
        return 0;
    a->memory_bytes = align_up(room_for(nworking), page_size());
    a->memory = slab_pages(a->memory_bytes);
    if (!a->memory)
        return -ENOMEM;
    a->places = (void *)a->memory;
    scratch = a->places + nworking;
    a->numbers = (void *)(scratch + nworking);
    a->bytes = (char *)align_up((uintptr_t)(a->numbers + nworking), 64);
    for (size_t i = 0; i < nworking; i++)
        a->places[i] = (struct pair){working[i], i};
    pairs_sort(a->places, nworking, scratch);
    return 0;
}

void image_aside_destroy(struct image_aside *a)
{
    if (a->memory)
        slab_pages_free(a->memory, a->memory_bytes);
    a->memory = NULL;
}

bool image_aside_put(struct image_aside *a, uint64_t page, const void *bytes,
                     uint64_t *ret_place)
{
    while (a->at < a->nworking && a->places[a->at].key < page)
        a->at++;
    if (a->at == a->nworking || a->places[a->at].key != page)
        return false;
    *ret_place = a->places[a->at].value;
    memcpy(a->bytes + *ret_place * page_size(), bytes, page_size());
    a->numbers[*ret_place] = 1;
    return true;
}

void image_aside_number(struct image_aside *a)
{
    for (size_t i = 0; i < a->nworking; i++)
        if (a->numbers[i])
            a->numbers[i] = ++a->nstored;
}

const void *image_aside_bytes(const struct image_aside *a, size_t place)
{
    return a->numbers[place] ? a->bytes + place * page_size() : NULL;
}

uint64_t image_aside_number_of(const struct image_aside *a, uint64_t place)
{
    return a->numbers[place] - 1;
}
