/* SPDX-License-Identifier: MIT */
/* See ahead.h: the pages of a set brought in, by the background thread and behind
 * faults. */
#include "fault/ahead.h"

#include <time.h>

#include "fault/ahead_record.h"
#include "fault/background.h"
#include "fault/engine.h"
#include "fault/fault.h"

/* Pages brought in by one install, and by one turn: few enough that a turn ends
 * soon, many enough that a chunk of an image is done with in one. */
#define PIECE_PAGES 32
#define TURN_PAGES  16

/* A pause, when all that is left is in other hands. */
#define NAP_NS 200000

/* And before each install, while a fault waits. */
#define GIVE_WAY_NS   30000
#define GIVE_WAY_NAPS 4

/* Pages that a look-up passes over under the lock. */
#define LOOK_PAGES 1024

static bool take_rank(struct ahead *a, size_t rank)
{
    if (!rank_bit_set(a->taken, rank))
        return false;
    atomic_fetch_add(&a->ntaken, 1);
    return true;
}

static void give_back(struct ahead *a, size_t rank)
{
    rank_bit_clear(a->taken, rank);
    atomic_fetch_sub(&a->ntaken, 1);
}

/* The mapping of a page that can be brought in, or NULL. */
static const struct vma *wanted_locked(struct uf_space *space,
                                       const struct ahead *a, uint64_t page)
{
    const struct vma *v =
        vma_set_lookup(&space->vmas, ahead_page_addr(a, page));

    return v && prefetch_is_wanted(space, v, ahead_page_addr(a, page)) ? v
                                                                       : NULL;
}

/* Takes the pages behind `rank` that lie side by side and are wanted; how many
 * with its own. */
static uint32_t take_run_locked(struct uf_space *space, struct ahead *a,
                                const struct vma *v, size_t rank)
{
    uint32_t n = 1;

    while (
        n < PIECE_PAGES && rank + n < a->npages &&
        a->pages[rank + n] == a->pages[rank] + n &&
        ahead_page_addr(a, a->pages[rank + n]) < v->end &&
        prefetch_is_wanted(space, v, ahead_page_addr(a, a->pages[rank + n])) &&
        take_rank(a, rank + n))
        n++;
    return n;
}

/* Pages that come in by one install. */
struct piece {
    size_t rank;
    struct fault fault; /* a hint, to be resolved */
};

/* Takes the next pages in [from, end). False: there are none, as far as it
 * looked. */
static bool choose_locked(struct uf_space *space, struct ahead *a, size_t from,
                          size_t end, struct piece *ret)
{
    for (unsigned looked = 0; looked < LOOK_PAGES; looked++) {
        size_t rank = rank_next_clear(a->taken, from, end);
        const struct vma *v;

        if (rank == end)
            break;
        if (!take_rank(a, rank))
            continue;
        v = wanted_locked(space, a, a->pages[rank]);
        if (!v) {
            atomic_fetch_add(&a->ndone, 1);
            continue;
        }
        ret->rank = rank;
        ret->fault = (struct fault){
            .addr = ahead_page_addr(a, a->pages[rank]),
            .flags = (v->flags & VMA_WRITE) ? UF_FAULT_WRITE : 0,
            .piece = take_run_locked(space, a, v, rank),
        };
        return true;
    }
    return false;
}

/* How many pages of the piece are dealt with: what went in, and the first in
 * any case. */
static size_t count_in(struct ahead *a, const struct piece *piece,
                       const struct fault_result *r)
{
    struct range all = {piece->fault.addr,
                        piece->fault.addr + piece->fault.piece * page_size()};
    size_t n = 1, npages;

    if (r->npages > 0)
        n = range_len(range_clip(r->installed, all)) / page_size();
    npages = r->npages < n ? r->npages : n;
    /* With a hole in it nobody knows which. */
    if (npages == n)
        for (size_t i = 0; i < n; i++)
            rank_bit_set(a->ours, piece->rank + i);
    atomic_fetch_add(&a->nahead, npages);
    atomic_fetch_add(&a->ndone, n);
    return n;
}

/* Brings in the next pages of [from, end): how many are dealt with; 0: there are
 * none. */
static size_t bring_some(struct uf_space *space, struct fault_server *server,
                         struct ahead *a, size_t from, size_t end,
                         size_t *ret_next)
{
    struct piece piece;
    struct fault_result r;
    bool found = false;
    size_t n;

    rwlock_take_read(&space->map_lock);
    if (!atomic_load(&space->dying))
        found = choose_locked(space, a, from, end, &piece);
    rwlock_release(&space->map_lock);
    if (!found)
        return 0;
    /* Who waits for one of them has a fault on its way, that wakes him. */
    r = prefetch_piece(space, server, &piece.fault);
    n = count_in(a, &piece, &r);
    for (size_t i = n; i < piece.fault.piece; i++)
        give_back(a, piece.rank + i);
    *ret_next = piece.rank + n;
    return n;
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

/* The background's next pages: where the guest is, behind the last ones, or what
 * was passed over. */
static size_t bring_next(struct uf_space *space, struct fault_server *server,
                         struct ahead *a)
{
    size_t jump = atomic_exchange(&a->jump, 0), n;

    if (jump)
        a->next = jump - 1;
    n = bring_some(space, server, a, a->next, a->npages, &a->next);
    return n ? n : bring_some(space, server, a, 0, a->npages, &a->next);
}

static void nap(long ns)
{
    const struct timespec ts = {0, ns};

    nanosleep(&ts, NULL);
}

/* Lets a fault by, that waits for its own page alone: it wants the same CPU, or
 * the same disk. Not for ever: it may wait for a pager. */
static void give_way(struct uf_space *space, const struct ahead *a)
{
    for (int i = 0; i < GIVE_WAY_NAPS && COUNTER_GET(space->counters, pending) >
                                             atomic_load(&a->followers);
         i++)
        nap(GIVE_WAY_NS);
}

bool ahead_some(struct uf_space *space, struct handler *handler)
{
    struct ahead *a = take(space);
    size_t done = 0, n = 1;
    bool entered, more;

    if (!a)
        return false;
    entered = engine_enter_user_code();
    while (n > 0 && done < TURN_PAGES) {
        give_way(space, a);
        n = bring_next(space, &handler->server, a);
        done += n;
    }
    engine_leave_user_code(entered);
    more = atomic_load(&a->ndone) < a->npages;
    if (!more)
        atomic_store(&a->is_over, true);
    else if (n == 0)
        nap(NAP_NS); /* the rest is taken by others, who may give it back */
    ahead_unref(a);
    return more;
}

void ahead_follow(struct uf_space *space, struct fault_server *server)
{
    struct ahead *a;
    size_t from, end, n = 1;

    /* A look without the lock: most faults have nothing to follow. */
    if (!__atomic_load_n(&space->ahead, __ATOMIC_RELAXED))
        return;
    a = take(space);
    if (!a)
        return;
    from = atomic_exchange(&a->follow, 0);
    if (from) {
        atomic_fetch_add(&a->followers, 1);
        end = from - 1 + atomic_load(&a->width);
        if (end > a->npages)
            end = a->npages;
        from--;
        while (
            n > 0 && from < end &&
            (server->in_signal || COUNTER_GET(space->counters, pending) <= 1))
            n = bring_some(space, server, a, from, end, &from);
        atomic_fetch_sub(&a->followers, 1);
    }
    ahead_unref(a);
}
