/* SPDX-License-Identifier: MIT */
/*
 * fault: one first touch, from event to outcome; handle_mm_fault of ufault.
 *
 *                       ┌─ no VMA ─────────────────────────────► stale
 *   touched ─► look up ─┤
 *                       ├─ zero pager ───────────┐
 *                       └─ pager ─► unlock, fill,│
 *                             │     lock, compare┤
 *                             │         ▲        ├─ changed ─────► stale
 *                   not now ──┤         │        └─► install ─┬──► installed
 *                             ▼         │                     ├──► present
 *                          deferred ────┘ ◄──── not now ──────┤
 *                                                             └──► refused
 *
 * Arrows left to right are fault_resolve; deferred faults come back through it
 * from the engine's queue. Every end but `deferred` has woken the thread
 * (invariant 7): after `installed` it finds its page, after `present` and
 * `stale` it looks again (and faults again, or gets its SIGSEGV), after
 * `refused` it gets SIGBUS.
 *
 * Holds no lock while a pager runs (invariant 5); knows no threads: the engine
 * calls it on handler threads, uf_populate on the caller's.
 */
#ifndef UF_FAULT_FAULT_H
#define UF_FAULT_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/range.h"
#include "mm/space.h"

/* A write to a page that is there, and protected: fault/dirty.h. */
#define FAULT_PROTECTED 0x80000000u

struct fault {
    uintptr_t addr;
    uint32_t flags; /* UF_FAULT_*, FAULT_PROTECTED */
    pid_t tid;
    uint64_t received_ns;
    uint64_t deferred_ns; /* when first put off; 0: never */
    uint64_t serial;      /* of the space that counted it; 0: none yet */
    uint32_t attempts;
    struct range window; /* chosen at an earlier try; empty: none was */
    /* Not 0: nobody waits for it. At most so many pages, from addr on; what
     * cannot be had is not refused. */
    uint32_t piece;
};

/* More than the pages that one instruction can need at once. */
#define SELF_TOUCH_PAGES 8

struct found;
struct install_result;

struct self_touch_page {
    struct uf_space *space; /* pinned; NULL: taken back already */
    uintptr_t addr;
    bool given; /* zeros were installed; guarded by the space's map lock */
};

/* Where touches of managed memory by a handler thread are noted: by the reader,
 * while that thread is asleep in its own fault. A ring of the latest. */
struct self_touch {
    struct self_touch_page pages[SELF_TOUCH_PAGES];
    _Atomic unsigned count; /* 0: none; written last */
};

/* What a thread needs to serve faults. One per thread. */
struct flight;
struct flights;

struct fault_server {
    void *buffer; /* WINDOW_PAGES_MAX pages and the pager's red zone */
    size_t buffer_bytes;
    uint64_t defer_limit_ns;
    struct self_touch *self_touch; /* NULL: not a handler thread */
    bool in_signal;   /* pagers that may not run there are not asked */
    bool wakes_early; /* before a flight has landed: see flight.h */
    bool at_once;     /* nothing that may sleep: deferred instead, as `waits` */
    struct uf_pager *parting; /* the last reference, not dropped at once */
    /* Where windows may arrive in parts; NULL: they do not. After fault_resolve
     * and what follows it, flight_land is next. */
    struct flights *flights;
    struct flight *_Atomic flight; /* appears while it serves */
};

struct fault_result {
    enum uf_outcome outcome;
    struct range answered; /* threads waiting here have what they wait for */
    struct range wake;     /* and are to be woken, by fault_wake */
    struct range installed;
    size_t npages;
    int err;
    uint64_t retry_ns;   /* deferred: pause before the next try */
    bool waits;          /* deferred: not for a time; it may have to sleep, */
    struct range window; /* for this, which is the next try's */
    uint64_t service_ns; /* set by fault_count */
};

/* Allocates the buffer. 0 or -ENOMEM. */
size_t fault_buffer_bytes(void);
int fault_server_init(struct fault_server *server);
void fault_server_destroy(struct fault_server *server);

/* CLOCK_MONOTONIC. */
uint64_t fault_clock_ns(void);

/* Puts bytes of a fill, [filled), into the mapping that was found, if it still is
 * that and holds fault->addr. Ensures: the space is unsettled by one. */
struct install_result fault_install(struct uf_space *space,
                                    const struct fault *fault,
                                    const struct found *found,
                                    const void *bytes, struct range *filled);

/*
 * Serves one fault, but for waking. Requires: the space is pinned, region.uffd
 * set, no lock held. Ensures: with an outcome other than `deferred` the space
 * is unsettled by one and threads wait: count, fault_settle, fault_wake are
 * next, in this order, so that nobody runs on uncounted.
 */
struct fault_result fault_resolve(struct uf_space *space,
                                  struct fault_server *server,
                                  const struct fault *fault);

/* Counts a fault as received, if it is not yet. */
void fault_receive(struct uf_space *space, struct fault *fault);

/* Counts a fault that has reached its end. */
void fault_count(struct uf_space *space, const struct fault *fault,
                 struct fault_result *result);

/* From here on pages may appear that are not counted yet; and what fault_resolve
 * did is counted now. */
void fault_unsettle(struct uf_space *space);
void fault_settle(struct uf_space *space);

/* Wakes whom the fault's end lets go on. */
void fault_wake(struct uf_space *space, const struct fault_result *result);

/* Calls the trace hook of a counted fault, if there is one. */
void fault_trace(struct uf_space *space, const struct fault *fault,
                 const struct fault_result *result);

/* Tells the error hook. */
void fault_report(const struct uf_space *space, enum uf_error_kind kind,
                  int err, const struct fault *fault, const char *pager,
                  const char *message);

/* True if serving a fault of this space may run code that is not ours; or may
 * call a hook. */
bool fault_runs_user_code(const struct uf_space *space);
bool fault_calls_hooks(const struct uf_space *space);

/*
 * The handler thread of `touch` has touched the space: notes that and gives it
 * a page of zeros to go on with. False if that is not possible now (try again).
 * Ensures: if true, the space is unsettled by one: count, fault_settle and
 * install_wake of the page are next.
 */
bool fault_release_self_touch(struct self_touch *touch, struct uf_space *space,
                              uintptr_t addr);

/* The same, and counted; the page is the caller's to wake. */
bool fault_answer_self_touch(struct self_touch *touch, struct uf_space *space,
                             uintptr_t addr);

/*
 * After code that is not ours: if it touched a space (true), takes back the
 * pages that fault_release_self_touch gave it, unless zeros are what belongs
 * there, and tells the error hook, naming `pager` (NULL: a hook did it).
 * `touch` may be NULL.
 */
bool fault_revoke_self_touch(struct self_touch *touch, const char *pager);

/*
 * Serves a touch of addr that nobody made, in this thread, as if it had been
 * made; waits where the toucher would. How it ended: not `deferred`.
 * Requires: region.uffd set; not a handler thread; no lock held.
 */
enum uf_outcome fault_bring_in(struct uf_space *space,
                               struct fault_server *server, uintptr_t addr,
                               uint32_t flags);

/* How a range is made resident. */
enum populate_mode {
    POPULATE_AUTO,   /* mm_populate: as each mapping can be touched */
    POPULATE_LOCKED, /* the same, what is locked alone */
    POPULATE_READ,   /* MADV_POPULATE_READ: no holes */
    POPULATE_WRITE   /* MADV_POPULATE_WRITE: no holes */
};

/*
 * Makes [range) resident in the calling thread. `go_on`: past what cannot be
 * had. 0, or the -errno of the first such: -EFAULT no page for it, -EINVAL the
 * mapping may not be touched so, -ENOMEM not mapped.
 * Requires: page-aligned; not a handler thread; no lock held.
 */
int fault_populate(struct uf_space *space, struct range range,
                   enum populate_mode mode, bool go_on);

#endif
