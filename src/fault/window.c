/* SPDX-License-Identifier: MIT */
/* See window.h. */
#include "fault/window.h"

#include "base/check.h"

/* The aligned block that holds the page. */
static struct range block_around(const struct window_policy *policy,
                                 uintptr_t page, struct range vma)
{
    size_t len = policy->pages * page_size();
    /* Any number of pages is allowed, so a remainder and not a mask. */
    uintptr_t start = page - (page - policy->origin) % len;
    struct range block = {start, start + len};

    if (block.end < block.start)
        block.end = vma.end;
    return block;
}

/* Up to `pages` pages to either side of the page, inside the VMA. */
static struct range surroundings(const struct window_policy *policy,
                                 uintptr_t page, struct range vma)
{
    size_t len = policy->pages * page_size();

    return (struct range){page - vma.start > len ? page - len : vma.start,
                          vma.end - page > len ? page + len : vma.end};
}

struct range window_choose(const struct window_policy *policy, uintptr_t addr,
                           struct range vma, const struct resident *resident)
{
    uintptr_t page = align_down(addr, page_size());
    struct range near = surroundings(policy, page, vma);
    struct range hole = resident_hole(resident, page, near);
    bool below = page > vma.start && hole.start == page;
    bool above = page + page_size() < vma.end && hole.end == page + page_size();
    struct range window = hole;

    /* With one page there is no telling, and nothing to tell. */
    if (below)
        window = hole; /* it begins at the page and ends in its reach */
    else if (above)
        window.start = range_len(hole) > policy->pages * page_size()
                           ? hole.end - policy->pages * page_size()
                           : hole.start;
    else
        window = range_clip(hole, block_around(policy, page, vma));

    CHECK(range_contains(window, addr) && range_covers(vma, window));
    CHECK(range_len(window) <= policy->pages * page_size());
    return window;
}

/* 2 MiB, whatever the page. */
static uint32_t pages_max(void)
{
    size_t pages = ((size_t)2 << 20) / page_size();

    return pages < WINDOW_PAGES_MAX ? (uint32_t)pages : WINDOW_PAGES_MAX;
}

/* The wish as far as it may be had; the stream learns of it. */
static struct range clip(const struct stream_wish *wish,
                         const struct window_touch *touch, struct range vma,
                         const struct resident *resident)
{
    size_t page = page_size();
    struct range wanted = {touch->origin + wish->first * page,
                           touch->origin + wish->end * page};
    struct range got =
        resident_hole(resident, touch->addr, range_clip(wanted, vma));

    if (touch->guards)
        got = resident_hole(touch->guards, touch->addr, got);
    if (got.start != wanted.start || got.end != wanted.end)
        streams_cut(wish, (got.start - touch->origin) / page,
                    (got.end - touch->origin) / page);
    CHECK(range_contains(got, touch->addr) && range_covers(vma, got));
    return got;
}

struct window window_adapt(streams_t *streams, const struct window_touch *touch,
                           struct range vma, const struct resident *resident)
{
    uintptr_t page = align_down(touch->addr, page_size());
    struct range alone = {page, page + page_size()};
    struct stream_touch noted = {
        .tid = touch->tid,
        .page = (page - touch->origin) / page_size(),
        .pages_max = pages_max(),
        .pages_new = touch->pages_new,
    };
    struct stream_wish wish;

    if (touch->pages_new == 0)
        return (struct window){.range = alone, .count = 1};
    wish = streams_note(streams, &noted);
    return (struct window){
        .range = clip(&wish, touch, vma, resident),
        .stride = wish.stride * (int64_t)page_size(),
        .count = wish.count,
    };
}
