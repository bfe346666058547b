/* SPDX-License-Identifier: MIT */
/* See resident.h. */
#include "base/resident.h"

#include <errno.h>

#include "base/slab.h"

#define WORD_BITS 64u

static size_t page_index(const struct resident *r, uintptr_t addr)
{
    return (addr - r->range.start) / page_size();
}

int resident_init(struct resident *r, struct range range)
{
    size_t npages = range_len(range) / page_size();

    r->range = range;
    r->len_bytes = (npages + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
    r->words = slab_pages(r->len_bytes);
    atomic_init(&r->pages, 0);
    return r->words ? 0 : -ENOMEM;
}

void resident_destroy(struct resident *r)
{
    slab_pages_free((void *)r->words, r->len_bytes);
    r->words = NULL;
}

bool resident_test(const struct resident *r, uintptr_t addr)
{
    size_t i = page_index(r, addr);
    uint64_t word =
        atomic_load_explicit(&r->words[i / WORD_BITS], memory_order_relaxed);

    return (word >> (i % WORD_BITS)) & 1;
}

/* The bits of word `w` that lie in the index range [first, end). */
static uint64_t word_mask(size_t w, size_t first, size_t end)
{
    size_t base = w * WORD_BITS;
    uint64_t mask = ~(uint64_t)0;

    if (first > base)
        mask &= ~(uint64_t)0 << (first - base);
    if (end < base + WORD_BITS)
        mask &= ~(uint64_t)0 >> (base + WORD_BITS - end);
    return mask;
}

size_t resident_set(struct resident *r, struct range part)
{
    size_t first = page_index(r, part.start), end = page_index(r, part.end);
    size_t changed = 0;

    for (size_t w = first / WORD_BITS; w * WORD_BITS < end; w++) {
        uint64_t mask = word_mask(w, first, end);
        uint64_t old =
            atomic_fetch_or_explicit(&r->words[w], mask, memory_order_relaxed);

        changed += (size_t)__builtin_popcountll(mask & ~old);
    }
    atomic_fetch_add_explicit(&r->pages, changed, memory_order_relaxed);
    return changed;
}

size_t resident_clear(struct resident *r, struct range part)
{
    size_t first = page_index(r, part.start), end = page_index(r, part.end);
    size_t left = atomic_load_explicit(&r->pages, memory_order_relaxed);
    size_t changed = 0;

    /* Stops as soon as no bit can be left: closing a huge, hardly touched
     * range does not read the whole map. */
    for (size_t w = first / WORD_BITS; w * WORD_BITS < end && left > 0; w++) {
        uint64_t mask = word_mask(w, first, end);
        uint64_t old = atomic_load_explicit(&r->words[w], memory_order_relaxed);
        size_t n;

        if (!(old & mask))
            continue;
        old = atomic_fetch_and_explicit(&r->words[w], ~mask,
                                        memory_order_relaxed);
        n = (size_t)__builtin_popcountll(mask & old);
        changed += n;
        left -= n < left ? n : left;
    }
    atomic_fetch_sub_explicit(&r->pages, changed, memory_order_relaxed);
    return changed;
}

bool resident_any(const struct resident *r, struct range part)
{
    size_t first = page_index(r, part.start), end = page_index(r, part.end);

    if (atomic_load_explicit(&r->pages, memory_order_relaxed) == 0)
        return false;
    for (size_t w = first / WORD_BITS; w * WORD_BITS < end; w++)
        if (atomic_load_explicit(&r->words[w], memory_order_relaxed) &
            word_mask(w, first, end))
            return true;
    return false;
}

bool resident_all(const struct resident *r, struct range part)
{
    size_t first = page_index(r, part.start), end = page_index(r, part.end);

    for (size_t w = first / WORD_BITS; w * WORD_BITS < end; w++)
        if (~atomic_load_explicit(&r->words[w], memory_order_relaxed) &
            word_mask(w, first, end))
            return false;
    return true;
}

struct range resident_hole(const struct resident *r, uintptr_t addr,
                           struct range within)
{
    size_t page = page_size();
    uintptr_t start = align_down(addr, page);
    uintptr_t end = start + page;

    while (start > within.start && !resident_test(r, start - page))
        start -= page;
    while (end < within.end && !resident_test(r, end))
        end += page;
    return (struct range){start, end};
}

/* The first page from `index` on, below `end`, whose bit is `set`; end if there
 * is none. */
static size_t next_page(const struct resident *r, size_t index, size_t end,
                        bool set)
{
    while (index < end) {
        uint64_t word = atomic_load_explicit(&r->words[index / WORD_BITS],
                                             memory_order_relaxed);

        word = (set ? word : ~word) >> (index % WORD_BITS);
        if (word != 0) {
            index += (size_t)__builtin_ctzll(word);
            break;
        }
        index = (index / WORD_BITS + 1) * WORD_BITS;
    }
    return index < end ? index : end;
}

struct range resident_run(const struct resident *r, struct range within)
{
    size_t end = page_index(r, within.end);
    size_t first = page_index(r, within.start), last;

    if (atomic_load_explicit(&r->pages, memory_order_relaxed) == 0)
        return (struct range){within.end, within.end};
    first = next_page(r, first, end, true);
    last = next_page(r, first, end, false);
    return (struct range){r->range.start + first * page_size(),
                          r->range.start + last * page_size()};
}
