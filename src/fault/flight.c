/* SPDX-License-Identifier: MIT */
/* See flight.h. */
#include "fault/flight.h"

#include <errno.h>

#include "base/slab.h"
#include "fault/install.h"
#include "fault/lookup.h"
#include "pager/pager.h"
#include "pager/parts.h"

struct flight {
    bool under_way;
    struct uf_space *space;
    struct found found; /* with a reference to the pager */
    uint64_t landed;    /* a bit a piece; guarded by the lock of flights */
    bool wakes_last; /* nobody before all has landed; else each with its part */
    uint64_t begun_ns;
    struct fill_part touched; /* the part with the page; len 0: not yet here */
    struct fill_parts *parts;
    /* The window behind it, which is read for whoever may want it, and where it
     * is wanted; or NULL. The range is guarded by the lock of flights. */
    bool has_read_on;
    struct fill_parts *next;
    struct range ahead;
};

_Static_assert(PARTS_MAX <= 64, "a bit a piece");

/* Pages of its own, like the server's buffer: they take no memory until used,
 * and an engine that has them for some of its threads keeps them. */
int flight_init(struct fault_server *server)
{
    struct flight *flight =
        slab_pages(align_up(sizeof(struct flight), page_size()));

    atomic_store(&server->flight, flight);
    return flight ? 0 : -ENOMEM;
}

void flight_destroy(struct fault_server *server)
{
    struct flight *flight = atomic_exchange(&server->flight, NULL);

    if (flight)
        slab_pages_free(flight, align_up(sizeof(struct flight), page_size()));
}

/* ---------------------------------------------------------- who flies -- */

static bool announce(struct flights *flights, struct flight *flight)
{
    bool done = false;

    lock_take(&flights->lock);
    for (int i = 0; i < FLIGHTS_MAX && !done; i++) {
        done = !flights->of[i];
        if (done)
            flights->of[i] = flight;
    }
    if (done)
        atomic_fetch_add(&flights->count, 1);
    lock_release(&flights->lock);
    return done;
}

static void withdraw(struct flights *flights, struct flight *flight)
{
    lock_take(&flights->lock);
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        if (flights->of[i] != flight)
            continue;
        flights->of[i] = NULL;
        atomic_fetch_sub(&flights->count, 1);
    }
    lock_release(&flights->lock);
}

static bool covers(const struct flight *flight, uintptr_t addr)
{
    size_t piece = flight->parts->pieces[0].len_bytes;

    if (range_contains(flight->ahead, addr))
        return true;
    return range_contains(flight->found.window, addr) &&
           !(flight->landed >> ((addr - flight->found.window.start) / piece) &
             1);
}

bool flights_cover(struct flights *flights, const struct uf_space *space,
                   uintptr_t addr)
{
    bool covered = false;

    if (atomic_load(&flights->count) == 0)
        return false;
    lock_take(&flights->lock);
    for (int i = 0; i < FLIGHTS_MAX && !covered; i++)
        covered = flights->of[i] && flights->of[i]->space == space &&
                  covers(flights->of[i], addr);
    lock_release(&flights->lock);
    return covered;
}

void flights_fork_child(struct flights *flights)
{
    lock_fork_child(&flights->lock);
    atomic_store(&flights->count, 0);
    for (int i = 0; i < FLIGHTS_MAX; i++)
        flights->of[i] = NULL;
}

/* ------------------------------------------------------------- a flight -- */

const void *flight_bytes(const struct flight *flight, struct range part)
{
    return (const char *)flight->parts->want.buffer +
           (part.start - flight->found.window.start);
}

static struct range range_of(const struct flight *flight,
                             const struct fill_part *part, size_t len)
{
    uintptr_t start = flight->found.window.start + part->at;

    return (struct range){start, start + len};
}

/* Nobody is to wait for it any more: first it is said, then they wake. */
static void note_landed(struct flights *flights, struct flight *flight,
                        const struct fill_part *part)
{
    if (flight->wakes_last)
        return;
    lock_take(&flights->lock);
    flight->landed |= (uint64_t)1 << part->piece;
    lock_release(&flights->lock);
    install_wake(flight->space->region.uffd, range_of(flight, part, part->len));
}

/* A part that nobody had touched when the flight began. */
static void land(struct flights *flights, struct flight *flight,
                 const struct fill_part *part)
{
    struct range good = range_of(flight, part, part->good);
    struct fault fault = {.addr = good.start, .piece = 1};
    struct uf_space *space = flight->space;
    const void *bytes = flight_bytes(flight, good);
    struct install_result r;

    if (part->good > 0) {
        r = fault_install(space, &fault, &flight->found, bytes, &good);
        COUNT_ADD(space->counters, pager_bytes, part->good);
        COUNT_ADD(space->counters, pages_prefetched, r.npages);
        fault_settle(space);
    }
    note_landed(flights, flight, part);
}

static void end(struct flights *flights, struct flight *flight)
{
    withdraw(flights, flight);
    if (flight->wakes_last)
        install_wake(flight->space->region.uffd, flight->found.window);
    parts_end(flight->parts);
    COUNT_ADD(flight->space->counters, pager_ns,
              fault_clock_ns() - flight->begun_ns);
    pager_unref(flight->found.pager);
    flight->under_way = false;
}

static void set_ahead(struct flights *flights, struct flight *flight,
                      struct range ahead)
{
    lock_take(&flights->lock);
    flight->ahead = ahead;
    lock_release(&flights->lock);
}

/* Once: what comes next is the stream's, as it is then. */
static void read_on(struct flights *flights, struct flight *flight)
{
    const struct uf_pager *pager = flight->found.pager;
    uintptr_t end = flight->found.window.end;
    struct range ahead = {end, end};

    if (!pager->read_on || flight->wakes_last || flight->has_read_on)
        return;
    flight->has_read_on = true;
    flight->next = pager->read_on(pager->context, flight->parts);
    if (!flight->next)
        return;
    ahead.end += flight->next->want.len_bytes;
    set_ahead(flights, flight, range_clip(ahead, flight->found.vma));
}

/* What was read ahead waits, complete, for a touch. Nothing of the kernel's is
 * left with this thread, which may sleep for others' sake next. */
static void park(struct flights *flights, struct flight *flight)
{
    const struct uf_pager *pager = flight->found.pager;
    struct range ahead = flight->ahead;

    if (!flight->next)
        return;
    parts_settle(flight->next);
    pager->park(pager->context, flight->next);
    flight->next = NULL;
    set_ahead(flights, flight, (struct range){0, 0});
    if (!range_is_empty(ahead))
        install_wake(flight->space->region.uffd, ahead);
}

bool flight_is_under_way(const struct fault_server *server)
{
    const struct flight *flight = atomic_load(&server->flight);

    return flight && flight->under_way;
}

void flight_land(struct fault_server *server)
{
    struct flight *flight = atomic_load(&server->flight);
    struct fill_part part;

    if (!flight_is_under_way(server))
        return;
    if (flight->touched.len > 0)
        note_landed(server->flights, flight, &flight->touched);
    read_on(server->flights, flight);
    while (parts_next(flight->parts, &part))
        land(server->flights, flight, &part);
    park(server->flights, flight);
    end(server->flights, flight);
}

static bool set_off(struct uf_space *space, struct fault_server *server,
                    const struct fault *fault, const struct found *found)
{
    struct flight *flight = atomic_load(&server->flight);
    struct range window = found->window;
    struct uf_fill want = {
        .size = sizeof(want),
        .offset = found->offset,
        .len_bytes = range_len(window),
        .buffer = server->buffer,
        .page_bytes = page_size(),
        .flags = (fault->flags & UF_FAULT_WRITE) ? UF_FILL_WRITE : 0,
        .tid = fault->tid,
    };

    *flight = (struct flight){.space = space,
                              .found = *found,
                              .wakes_last = !server->wakes_early,
                              .begun_ns = fault_clock_ns()};
    flight->parts = found->pager->begin_parts(found->pager->context, &want,
                                              fault->addr - window.start);
    if (!flight->parts)
        return false;
    pager_ref(found->pager);
    flight->under_way = true;
    COUNT(space->counters, pager_calls);
    return true;
}

/* Has parts land until the one with the page is here; all, if the toucher is not
 * to be awake before. */
static void await_touched(struct fault_server *server, uintptr_t page)
{
    struct flight *flight = atomic_load(&server->flight);
    struct fill_part part;

    while ((flight->touched.len == 0 || flight->wakes_last) &&
           parts_next(flight->parts, &part)) {
        if (range_contains(range_of(flight, &part, part.len), page))
            flight->touched = part;
        else
            land(server->flights, flight, &part);
    }
}

bool flight_begin(struct uf_space *space, struct fault_server *server,
                  const struct fault *fault, const struct found *found,
                  struct range *ret_part)
{
    uintptr_t page = align_down(fault->addr, page_size());
    struct flight *flight = atomic_load(&server->flight);

    if (!flight || server->at_once || fault->piece || found->is_shared ||
        fault_calls_hooks(space) || !found->pager->begin_parts ||
        !set_off(space, server, fault, found))
        return false;
    if (announce(server->flights, flight)) {
        if (flight->parts->settled) /* or the disk would idle meanwhile */
            read_on(server->flights, flight);
        await_touched(server, page);
    }
    *ret_part = range_of(flight, &flight->touched, flight->touched.good);
    if (range_contains(*ret_part, page)) {
        COUNT_ADD(space->counters, pager_bytes, flight->touched.good);
        return true;
    }
    flight_land(server);
    return false;
}
