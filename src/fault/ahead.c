/* SPDX-License-Identifier: MIT */
/* See ahead.h: the record of a set on its way in: made, told of touches, and
 * asked what became of it. */
#include "fault/ahead.h"

#include <errno.h>

#include "base/slab.h"
#include "fault/ahead_record.h"
#include "fault/background.h"
#include "fault/engine.h"

/* What a fault brings in behind its own page, if it follows others in the order
 * of the set: from, to. So few pages further on the next is one that follows. */
#define FOLLOW_FIRST 4u
#define FOLLOW_LAST  128u
#define FOLLOW_REACH 1024u

static struct slab_cache aheads = SLAB_CACHE("ahead", sizeof(struct ahead));

void ahead_unref(struct ahead *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    if (a->pages)
        slab_pages_free(a->pages, a->memory_bytes);
    if (a->set.words)
        resident_destroy(&a->set);
    slab_free(&aheads, a);
}

static struct range page_at(const struct ahead *a, uint64_t page)
{
    uintptr_t addr = ahead_page_addr(a, page);

    return (struct range){addr, addr + page_size()};
}

/* The pages that lie in the space, and what is found by their numbers. */
static void fill_in(struct ahead *a, const uint64_t *pages, size_t npages,
                    struct range region, struct pair *scratch)
{
    size_t limit = range_len(region) / page_size();

    for (size_t i = 0; i < npages; i++) {
        if (pages[i] >= limit)
            continue;
        a->pages[a->npages] = pages[i];
        a->ranks[a->npages] = (struct pair){pages[i], a->npages};
        a->npages++;
        resident_set(&a->set, page_at(a, pages[i]));
    }
    pairs_sort(a->ranks, a->npages, scratch);
}

static size_t words_bytes(size_t npages)
{
    return (npages + WORD_BITS) / WORD_BITS * sizeof(uint64_t);
}

static struct ahead *make(struct range region, const uint64_t *pages,
                          size_t npages)
{
    size_t words = words_bytes(npages);
    size_t each = sizeof(uint64_t) + 2 * sizeof(struct pair);
    struct ahead *a = slab_alloc(&aheads);
    char *at;

    if (!a)
        return NULL;
    atomic_init(&a->refs, 1);
    a->base = region.start;
    a->memory_bytes = align_up(npages * each + 3 * words, page_size());
    a->pages = slab_pages(a->memory_bytes);
    if (!a->pages || resident_init(&a->set, region)) {
        ahead_unref(a);
        return NULL;
    }
    a->ranks = (void *)(a->pages + npages);
    at = (char *)(a->ranks + 2 * npages);
    a->taken = (void *)at;
    a->ours = (void *)(at + words);
    a->theirs = (void *)(at + 2 * words);
    fill_in(a, pages, npages, region, a->ranks + npages);
    return a;
}

/* Is it left for its touch? Drawn by the number of the page and not by its
 * rank, so that it says nothing of when that is. */
static bool is_left(const struct ahead *a, uint64_t page)
{
    if (a->leave == 0)
        return false;
    return (page * 0x9e3779b97f4a7c15u >> 32) % a->leave == 0;
}

static void count_left(struct ahead *a)
{
    for (size_t i = 0; i < a->npages; i++)
        if (is_left(a, a->pages[i])) {
            rank_bit_set(a->taken, i);
            a->nleft++;
        }
    a->ntaken = a->nleft;
    a->ndone = a->nleft;
    a->is_over = a->ntaken == a->npages;
}

/* Puts it in the place of one that is over. */
static int publish(struct uf_space *space, struct ahead *a)
{
    struct ahead *old;
    bool is_busy;

    rwlock_take_write(&space->map_lock);
    old = space->ahead;
    is_busy = old && !atomic_load(&old->is_over);
    if (!is_busy)
        __atomic_store_n(&space->ahead, a, __ATOMIC_RELAXED); /* ahead_follow */
    rwlock_release(&space->map_lock);
    ahead_unref(is_busy ? a : old);
    return is_busy ? -EBUSY : 0;
}

int ahead_start(struct uf_space *space, const uint64_t *pages, size_t npages,
                uint32_t leave)
{
    struct ahead *a;
    bool is_over;
    int err;

    if (!space->engine || space->populates_by_kernel)
        return -EAGAIN;
    err = background_start(space->engine);
    if (err)
        return err == -ENOMEM ? err : -EAGAIN;
    a = make(space->resident.range, pages, npages);
    if (!a)
        return -ENOMEM;
    a->leave = leave;
    count_left(a);
    is_over = atomic_load(&a->is_over);
    err = publish(space, a);
    if (err || is_over)
        return err;
    err = background_ahead(background_running(space->engine), space);
    if (err)
        atomic_store(&a->is_over, true); /* nobody else has ended it */
    return err;
}

void ahead_free(struct uf_space *space)
{
    ahead_unref(space->ahead);
    space->ahead = NULL;
}

void ahead_fork_child(struct uf_space *space)
{
    struct ahead *a = space->ahead;

    if (!a)
        return;
    atomic_store(&a->refs, 1);
    atomic_store(&a->is_over, true);
}

/* ---- Touches ------------------------------------------------------------- */

bool ahead_measures(const struct ahead *a)
{
    return a->leave == 1;
}

struct range ahead_clip(const struct ahead *a, uintptr_t addr,
                        struct range window)
{
    uintptr_t page = align_down(addr, page_size());

    if (a->leave == 0 && atomic_load(&a->is_over))
        return window;
    if (resident_test(&a->set, addr))
        return (struct range){page, page + page_size()};
    return resident_hole(&a->set, addr, window);
}

/* The guest is at `rank`, and waits. Who answers it brings in what follows, more
 * each time that the guest has got ahead of the background; that goes on
 * behind. Guesses: threads that fault at once spoil no more than these. */
static void note_place(struct ahead *a, size_t rank)
{
    size_t behind = atomic_load(&a->behind);
    unsigned width = atomic_load(&a->width);

    if (width == 0 || rank + 1 + width < behind ||
        (rank > behind && rank - behind > FOLLOW_REACH))
        width = FOLLOW_FIRST;
    else if (width < FOLLOW_LAST)
        width *= 2;
    atomic_store(&a->width, width);
    atomic_store(&a->behind, rank + 1 + width);
    atomic_store(&a->jump, rank + 2 + width);
    atomic_store(&a->follow, rank + 2);
}

/* The page of addr and its rank; NULL: it is not of the set. */
static const struct pair *find(const struct ahead *a, uintptr_t addr)
{
    uint64_t page = (align_down(addr, page_size()) - a->base) / page_size();

    return resident_test(&a->set, addr) ? pairs_find(a->ranks, a->npages, page)
                                        : NULL;
}

void ahead_note(struct ahead *a, uintptr_t addr)
{
    const struct pair *found = find(a, addr);

    if (!found) {
        atomic_fetch_add(&a->nmissed, 1);
        return;
    }
    if (rank_bit(a->ours, found->value) ||
        !rank_bit_set(a->theirs, found->value))
        return; /* was dropped, and comes again */
    if (is_left(a, found->key)) {
        atomic_fetch_add(&a->nleft_used, 1);
        return;
    }
    atomic_fetch_add(&a->nlate, 1);
    note_place(a, found->value);
}

void ahead_note_there(struct ahead *a, uintptr_t addr)
{
    const struct pair *found = NULL;

    if (!atomic_load(&a->is_over))
        found = find(a, addr);
    if (found)
        note_place(a, found->value);
}

/* ---- What became of it --------------------------------------------------- */

static void estimate(struct uf_working_set_report *r)
{
    r->used = r->late + r->left_used;
    if (r->left == 0)
        return;
    r->used += (r->ahead * r->left_used + r->left / 2) / r->left;
    r->unused = r->pages > r->used ? r->pages - r->used : 0;
}

int ahead_report(struct uf_space *space, struct uf_working_set_report *ret)
{
    size_t done = 0; /* looked at first: what is done is counted */
    struct ahead *a;

    rwlock_take_read(&space->map_lock);
    a = space->ahead;
    if (a)
        done = atomic_load(&a->ndone);
    if (a)
        *ret = (struct uf_working_set_report){
            .size = sizeof(*ret),
            .pages = a->npages,
            .ahead = atomic_load(&a->nahead),
            .late = atomic_load(&a->nlate),
            .left = atomic_load(&a->nleft),
            .left_used = atomic_load(&a->nleft_used),
            .coming = a->npages - done,
            .missed = atomic_load(&a->nmissed),
        };
    rwlock_release(&space->map_lock);
    if (!a)
        return -ENODATA;
    estimate(ret);
    return 0;
}
