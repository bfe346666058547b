/* SPDX-License-Identifier: MIT */
/*
 * Places and lengths: mostly where an implementation is wrong by one page, the
 * bounds of mappings, the ends of the space, the break; and now and then
 * numbers that nobody sane would pass.
 *
 * All choices come from one source, so that a fuzzer's bytes speak the same
 * language as a seed.
 */
#include "model/mm_choose.h"

#include "base/range.h"

static uint64_t next(struct mm_source *source)
{
    uint64_t z = (source->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* From bytes: as few as hold the number; when they end, 0. */
static uint64_t next_byte(struct mm_source *source)
{
    if (source->left == 0)
        return 0;
    source->left--;
    return *source->bytes++;
}

uint64_t mm_below(struct mm_source *source, uint64_t n)
{
    uint64_t value = 0;

    if (!source->bytes)
        return next(source) % n;
    for (uint64_t reach = 1; reach < n; reach <<= 8) {
        value = value << 8 | next_byte(source);
        if (reach > UINT64_MAX >> 8)
            break;
    }
    return value % n;
}

bool one_in(struct mm_source *source, uint64_t n)
{
    return mm_below(source, n) == n - 1;
}

/* ------------------------------------------------------ places, lengths -- */

static const int64_t extremes[] = {
    0,
    1,
    -1,
    4095,
    4096,
    -4096,
    -4095,
    -8192,
    INT64_MAX,
    INT64_MIN,
    INT64_MAX - 4095,
    (int64_t)1 << 47,
    ((int64_t)1 << 47) - 4096,
    ((int64_t)1 << 47) - 8192,
    (int64_t)1 << 62,
    (int64_t)1 << 40,
};

int64_t choose_extreme(struct mm_source *source)
{
    return extremes[mm_below(source, LEN(extremes))];
}

/* Few often, up to the whole space seldom. */
static uint64_t some_pages(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    uint64_t kind = mm_below(source, 16);

    if (kind < 10)
        return 1 + mm_below(source, 4);
    if (kind < 14)
        return 1 + mm_below(source, 16);
    if (kind < 15 || maker->config->npages > 512)
        return 1 + mm_below(source, 64);
    return 1 + mm_below(source, maker->config->npages);
}

uint64_t choose_bytes(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    uint64_t bytes = some_pages(maker) * maker->page;
    uint64_t kind = mm_below(source, 64);

    if (kind < 56)
        return bytes;
    if (kind < 60)
        return bytes - 1 - mm_below(source, maker->page);
    if (kind < 61)
        return (uint64_t)choose_extreme(source);
    if (kind < 62)
        return 0;
    /* Whole huge pages are placed in their own way. */
    return maker->config->npages >= 1024 ? (1 + mm_below(source, 2)) << 21
                                         : bytes;
}

/* Near the space's beginning for the most part, where all meets. */
static uint64_t some_place_pages(const struct maker *maker)
{
    uint64_t npages = maker->config->npages;

    if (mm_below(maker->source, 4) && npages > 48)
        return mm_below(maker->source, 48);
    return mm_below(maker->source, npages);
}

/* Within the mapping, for the most part: starts are even, ends odd. */
static struct mm_place near_edge(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    struct mm_place place = {.from = FROM_EDGE};
    int64_t pages = (int64_t)mm_below(source, 4);

    place.nth = (uint8_t)mm_below(source, 256);
    if (place.nth % 2 != one_in(source, 8))
        pages = -pages;
    place.delta = pages * (int64_t)maker->page;
    return place;
}

struct mm_place choose_place(const struct maker *maker)
{
    struct mm_source *source = maker->source;
    uint64_t kind = mm_below(source, 32);
    struct mm_place place = {.from = FROM_BASE};

    if (kind < 20) {
        place = near_edge(maker);
    } else if (kind < 27) {
        place.delta = (int64_t)(some_place_pages(maker) * maker->page);
    } else if (kind < 29) {
        place.from = FROM_END;
        place.delta = -(int64_t)(mm_below(source, 20) * maker->page);
    } else if (kind < 30) {
        place.from = FROM_BRK;
        place.delta = ((int64_t)mm_below(source, 9) - 4) * (int64_t)maker->page;
    } else if (kind < 31) {
        place.delta = (int64_t)(some_place_pages(maker) * maker->page +
                                mm_below(source, maker->page));
    } else if (one_in(source, 3)) {
        place.from = FROM_ZERO;
        place.delta = choose_extreme(source);
    } else {
        place.from = mm_below(source, 2) ? FROM_END : FROM_BASE;
        place.delta = ((int64_t)mm_below(source, 5) - 2) * (int64_t)maker->page;
    }
    return place;
}

void choose_range(const struct maker *maker, struct mm_op *op)
{
    op->at = choose_place(maker);
    op->len = choose_bytes(maker);
    if (mm_below(maker->source, 8) == 0) {
        op->upto.from = FROM_EDGE;
        op->upto.nth = (uint8_t)mm_below(maker->source, 256);
    }
}
