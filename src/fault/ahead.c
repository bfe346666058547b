/* SPDX-License-Identifier: MIT */
/* See ahead.h. */
#include "fault/ahead.h"

#include <errno.h>

#include "base/pairs.h"
#include "base/slab.h"
#include "fault/background.h"
#include "fault/engine.h"
#include "fault/fault.h"

/* Pages brought in by one install, and by one turn: few enough that a turn ends
 * soon, many enough that a chunk of an image is done with in one. */
#define PIECE_PAGES 32
#define TURN_PAGES  16

/* Pages that a look-up passes over under the lock. */
#define LOOK_PAGES 1024

#define WORD_BITS 64u

struct ahead {
    atomic_uint refs;
    size_t memory_bytes;
    uintptr_t base;
    size_t npages;
    uint32_t leave;
    uint64_t *pages;          /* by rank */
    struct pair *ranks;       /* page -> rank, by page */
    _Atomic uint64_t *tried;  /* by rank: dealt with by the background */
    _Atomic uint64_t *ours;   /* by rank: brought in by it */
    _Atomic uint64_t *theirs; /* by rank: brought in by a fault */
    struct resident set;      /* by page: of the set */
    atomic_bool is_over;      /* nothing is to come, or will */
    atomic_size_t jump;       /* 1 + the rank where the guest is; 0: no news */
    size_t next;              /* the background's */
    atomic_size_t ntried;
    _Atomic uint64_t nahead, nlate, nmissed, nleft, nleft_used;
};

/* ---- Bits by rank -------------------------------------------------------- */

static bool test_bit(_Atomic uint64_t *words, size_t i)
{
    return (atomic_load_explicit(&words[i / WORD_BITS], memory_order_relaxed) >>
            (i % WORD_BITS)) &
           1;
}

/* True if it was clear. */
static bool set_bit(_Atomic uint64_t *words, size_t i)
{
    uint64_t bit = (uint64_t)1 << (i % WORD_BITS);

    return !(atomic_fetch_or_explicit(&words[i / WORD_BITS], bit,
                                      memory_order_relaxed) &
             bit);
}

/* The first rank in [from, end) whose bit is clear; end if there is none. */
static size_t next_clear(_Atomic uint64_t *words, size_t from, size_t end)
{
    while (from < end) {
        uint64_t word = ~atomic_load_explicit(&words[from / WORD_BITS],
                                              memory_order_relaxed) >>
                        (from % WORD_BITS);

        if (word != 0) {
            from += (size_t)__builtin_ctzll(word);
            break;
        }
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return from < end ? from : end;
}

/* ---- Its life ------------------------------------------------------------ */

static struct slab_cache aheads = SLAB_CACHE("ahead", sizeof(struct ahead));

static void unref(struct ahead *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    if (a->pages)
        slab_pages_free(a->pages, a->memory_bytes);
    if (a->set.words)
        resident_destroy(&a->set);
    slab_free(&aheads, a);
}

static uintptr_t page_addr(const struct ahead *a, uint64_t page)
{
    return a->base + page * page_size();
}

static struct range page_at(const struct ahead *a, uint64_t page)
{
    uintptr_t addr = page_addr(a, page);

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
        unref(a);
        return NULL;
    }
    a->ranks = (void *)(a->pages + npages);
    at = (char *)(a->ranks + 2 * npages);
    a->tried = (void *)at;
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
            set_bit(a->tried, i);
            a->nleft++;
        }
    a->ntried = a->nleft;
    a->is_over = a->ntried == a->npages;
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
        space->ahead = a;
    rwlock_release(&space->map_lock);
    unref(is_busy ? a : old);
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
    unref(space->ahead);
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

void ahead_note(struct ahead *a, uintptr_t addr)
{
    uint64_t page = (align_down(addr, page_size()) - a->base) / page_size();
    const struct pair *found = NULL;

    if (resident_test(&a->set, addr))
        found = pairs_find(a->ranks, a->npages, page);
    if (!found) {
        atomic_fetch_add(&a->nmissed, 1);
        return;
    }
    if (test_bit(a->ours, found->value) || !set_bit(a->theirs, found->value))
        return; /* was dropped, and comes again */
    if (is_left(a, page)) {
        atomic_fetch_add(&a->nleft_used, 1);
        return;
    }
    atomic_fetch_add(&a->nlate, 1);
    atomic_store_explicit(&a->jump, found->value + 1, memory_order_relaxed);
}

/* ---- Bringing in --------------------------------------------------------- */

static void tried(struct ahead *a, size_t rank)
{
    if (set_bit(a->tried, rank))
        atomic_fetch_add(&a->ntried, 1);
}

/* Where to go on: where the guest is, else behind what was done last. npages:
 * nowhere. */
static size_t next_rank(struct ahead *a)
{
    size_t jump = atomic_exchange(&a->jump, 0);
    size_t from = jump ? jump : a->next;
    size_t rank = next_clear(a->tried, from, a->npages);

    return rank < a->npages ? rank : next_clear(a->tried, 0, a->npages);
}

/* The mapping of a page that can be brought in, or NULL. */
static const struct vma *wanted_locked(struct uf_space *space,
                                       const struct ahead *a, uint64_t page)
{
    const struct vma *v = vma_set_lookup(&space->vmas, page_addr(a, page));

    return v && prefetch_is_wanted(space, v, page_addr(a, page)) ? v : NULL;
}

/* How many pages from `rank` on lie side by side, and are wanted. */
static uint32_t run_locked(struct uf_space *space, const struct ahead *a,
                           const struct vma *v, size_t rank)
{
    uint32_t n = 1;

    while (n < PIECE_PAGES && rank + n < a->npages &&
           a->pages[rank + n] == a->pages[rank] + n &&
           !test_bit(a->tried, rank + n) &&
           page_addr(a, a->pages[rank + n]) < v->end &&
           prefetch_is_wanted(space, v, page_addr(a, a->pages[rank + n])))
        n++;
    return n;
}

/* The next pages, as a hint to be resolved. False: none was found so far. */
static bool choose_locked(struct uf_space *space, struct ahead *a,
                          struct fault *ret, size_t *ret_rank)
{
    for (unsigned looked = 0; looked < LOOK_PAGES; looked++) {
        size_t rank = next_rank(a);
        const struct vma *v;

        if (rank == a->npages)
            break;
        v = wanted_locked(space, a, a->pages[rank]);
        if (v) {
            *ret = (struct fault){
                .addr = page_addr(a, a->pages[rank]),
                .flags = (v->flags & VMA_WRITE) ? UF_FAULT_WRITE : 0,
                .piece = run_locked(space, a, v, rank),
            };
            *ret_rank = rank;
            return true;
        }
        tried(a, rank);
        a->next = rank + 1;
    }
    return false;
}

/* What came of it: as far as it went in, and its first page in any case, that is
 * done with. */
static void conclude(struct ahead *a, size_t rank, const struct fault *fault,
                     const struct fault_result *r)
{
    struct range piece = {fault->addr,
                          fault->addr + fault->piece * page_size()};
    size_t end = rank + 1, npages;

    if (r->npages > 0)
        end = rank + range_len(range_clip(r->installed, piece)) / page_size();
    npages = r->npages < end - rank ? r->npages : end - rank;
    for (size_t i = rank; i < end; i++)
        tried(a, i);
    /* With a hole in it nobody knows which. */
    if (npages == end - rank)
        for (size_t i = rank; i < end; i++)
            set_bit(a->ours, i);
    atomic_fetch_add(&a->nahead, npages);
    a->next = end;
}

/* Brings in the next pages: how many were asked for; 0: none was found. */
static uint32_t bring_some(struct uf_space *space, struct handler *handler,
                           struct ahead *a)
{
    struct fault fault;
    struct fault_result r;
    size_t rank;
    bool found = false;

    rwlock_take_read(&space->map_lock);
    if (!atomic_load(&space->dying))
        found = choose_locked(space, a, &fault, &rank);
    rwlock_release(&space->map_lock);
    if (!found)
        return 0;
    r = prefetch_piece(space, handler, &fault);
    conclude(a, rank, &fault, &r);
    return fault.piece;
}

static struct ahead *take(struct uf_space *space)
{
    struct ahead *a;

    rwlock_take_read(&space->map_lock);
    a = atomic_load(&space->dying) ? NULL : space->ahead;
    if (a)
        atomic_fetch_add(&a->refs, 1);
    rwlock_release(&space->map_lock);
    return a;
}

bool ahead_some(struct uf_space *space, struct handler *handler)
{
    struct ahead *a = take(space);
    uint32_t done = 0, n = 1;
    bool more;

    if (!a)
        return false;
    while (n > 0 && done < TURN_PAGES) {
        n = bring_some(space, handler, a);
        done += n;
    }
    more = atomic_load(&a->ntried) < a->npages;
    if (!more)
        atomic_store(&a->is_over, true);
    unref(a);
    return more;
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
    struct ahead *a;

    rwlock_take_read(&space->map_lock);
    a = space->ahead;
    if (a)
        *ret = (struct uf_working_set_report){
            .size = sizeof(*ret),
            .pages = a->npages,
            .ahead = atomic_load(&a->nahead),
            .late = atomic_load(&a->nlate),
            .left = atomic_load(&a->nleft),
            .left_used = atomic_load(&a->nleft_used),
            .coming = a->npages - atomic_load(&a->ntried),
            .missed = atomic_load(&a->nmissed),
        };
    rwlock_release(&space->map_lock);
    if (!a)
        return -ENODATA;
    estimate(ret);
    return 0;
}
