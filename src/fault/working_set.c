/* SPDX-License-Identifier: MIT */
/* See working_set.h. */
#include "fault/working_set.h"

#include <errno.h>
#include <stdbool.h>

#include "base/pairs.h"
#include "base/range.h"
#include "base/slab.h"

/* Pairs, and as many again to sort them in. */
struct sorting {
    struct pair *pairs;
    struct pair *scratch;
    size_t npairs;
    size_t memory_bytes;
};

static int sorting_init(struct sorting *s, size_t room)
{
    *s = (struct sorting){
        .memory_bytes = align_up(2 * room * sizeof(struct pair), page_size()) +
                        page_size()};
    s->pairs = slab_pages(s->memory_bytes);
    if (!s->pairs)
        return -ENOMEM;
    s->scratch = s->pairs + room;
    return 0;
}

static void sorting_destroy(struct sorting *s)
{
    slab_pages_free(s->pairs, s->memory_bytes);
}

static void add(struct sorting *s, uint64_t key, uint64_t value)
{
    s->pairs[s->npairs++] = (struct pair){key, value};
}

/* From pairs {page, rank}, sorted, to {rank, page}: the least rank of each page
 * that stands there at least so often. In place. */
static void reduce(struct sorting *s, size_t at_least)
{
    size_t kept = 0;

    for (size_t i = 0, n; i < s->npairs; i += n) {
        uint64_t page = s->pairs[i].key, rank = s->pairs[i].value;

        for (n = 1; i + n < s->npairs && s->pairs[i + n].key == page; n++)
            if (s->pairs[i + n].value < rank)
                rank = s->pairs[i + n].value;
        if (n >= at_least)
            s->pairs[kept++] = (struct pair){rank, page};
    }
    s->npairs = kept;
}

/* The pages in order of rank; of the same rank by number. Destroys `s`. */
static int finish(struct sorting *s, size_t at_least,
                  struct uf_working_set **ret_set)
{
    struct uf_working_set *set;
    size_t room;

    pairs_sort(s->pairs, s->npairs, s->scratch);
    reduce(s, at_least);
    pairs_sort(s->pairs, s->npairs, s->scratch);
    room = align_up(sizeof(*set) + s->npairs * sizeof(uint64_t), page_size());
    set = slab_pages(room);
    if (set) {
        set->memory_bytes = room;
        set->npages = s->npairs;
        for (size_t i = 0; i < s->npairs; i++)
            set->pages[i] = s->pairs[i].value;
        *ret_set = set;
    }
    sorting_destroy(s);
    return set ? 0 : -ENOMEM;
}

int working_set_create(const uint64_t *pages, size_t npages,
                       struct uf_working_set **ret_set)
{
    struct sorting s;
    int err = sorting_init(&s, npages);

    if (err)
        return err;
    for (size_t i = 0; i < npages; i++)
        add(&s, pages[i], i);
    return finish(&s, 1, ret_set);
}

void working_set_destroy(struct uf_working_set *set)
{
    if (set)
        slab_pages_free(set, set->memory_bytes);
}

int working_set_merge(const struct uf_working_set *const *sets, size_t nsets,
                      size_t at_least, struct uf_working_set **ret_set)
{
    struct sorting s;
    size_t total = 0;
    int err;

    for (size_t i = 0; i < nsets; i++)
        total += sets[i]->npages;
    err = sorting_init(&s, total);
    if (err)
        return err;
    for (size_t i = 0; i < nsets; i++)
        for (size_t k = 0; k < sets[i]->npages; k++)
            add(&s, sets[i]->pages[k], k);
    return finish(&s, at_least, ret_set);
}
