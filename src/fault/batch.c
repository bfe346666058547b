/* SPDX-License-Identifier: MIT */
/* See batch.h. */
#include "fault/batch.h"

#include "fault/ahead.h"
#include "fault/dirty.h"
#include "fault/flight.h"
#include "fault/install.h"
#include "pager/pager.h"

#define SELF_TOUCH_RETRY_NS 100000u
#define NO_PAGE             UINTPTR_MAX

/* A fault that cannot be kept for later: its thread is woken and comes back. */
static void send_back(struct channel *channel, struct uf_space *space,
                      const struct fault *fault)
{
    struct fault_result result = {.outcome = UF_OUTCOME_STALE};
    uintptr_t page = align_down(fault->addr, page_size());

    fault_count(space, fault, &result);
    install_wake(&channel->uffd, (struct range){page, page + page_size()});
}

/* A fault was put into the queue: the reader's wait began before, and may have
 * no end. */
static void tell_of_queue(struct channel *channel)
{
    bool alone =
        atomic_load(&channel->nhandlers) < 2 && !atomic_load(&channel->near);

    if (!alone)
        engine_nudge_reader(channel);
}

static void put_off(struct channel *channel, struct uf_space *space,
                    const struct fault *fault, uint64_t pause_ns)
{
    struct fault later = *fault;
    uint64_t now = fault_clock_ns();

    if (later.deferred_ns == 0)
        later.deferred_ns = now;
    later.attempts++;
    if (deferred_put(&channel->deferred, &later, now + pause_ns))
        tell_of_queue(channel);
    else
        send_back(channel, space, fault);
}

static bool is_open(const struct batch *batch, int i)
{
    return batch->fate[i] == TO_SERVE || batch->fate[i] == TO_WAIT;
}

static uintptr_t *present_slot(struct handler *handler, uintptr_t page)
{
    return &handler->present[page / page_size() % HANDLER_PRESENT];
}

/* A fault at a page that "was there" a moment ago. */
static bool comes_back(struct handler *handler, const struct fault *fault)
{
    uintptr_t page = align_down(fault->addr, page_size());

    return *present_slot(handler, page) == page;
}

static void note_present(struct handler *handler, const struct fault *fault,
                         enum uf_outcome outcome)
{
    uintptr_t page = align_down(fault->addr, page_size());
    uintptr_t *slot = present_slot(handler, page);

    if (outcome == UF_OUTCOME_PRESENT)
        *slot = page;
    else if (*slot == page)
        *slot = 0;
}

/* A fault that was put off, whose space has been destroyed since; this one only
 * lies at its address. */
static bool is_orphan(const struct uf_space *space, const struct fault *fault)
{
    return fault->serial != 0 && fault->serial != space->serial;
}

/* The space of a fault, pinned; NULL if it was destroyed. */
static struct uf_space *pin_space_of(struct uf_engine *engine,
                                     const struct fault *fault)
{
    struct uf_space *space = engine_pin_space(engine, fault->addr);

    if (space && is_orphan(space, fault)) {
        space_unpin(space);
        space = NULL;
    }
    return space;
}

/* Later faults of the batch in the range just answered: their threads wake with
 * the first, and are counted with it. True if there were any. */
static bool fold(struct uf_space *space, struct batch *batch, int from,
                 struct range answered)
{
    bool any = false;

    for (int i = from; i < batch->count; i++) {
        struct fault *fault = &batch->faults[i];

        if (!is_open(batch, i) || (fault->flags & FAULT_PROTECTED) ||
            !range_contains(answered, fault->addr))
            continue;
        batch->fate[i] = DEALT_WITH;
        if (is_orphan(space, fault))
            continue;
        fault_receive(space, fault);
        batch->results[i] = (struct fault_result){.outcome = UF_OUTCOME_FOLDED};
        fault_count(space, fault, &batch->results[i]);
        batch->fate[i] = FOLDED;
        any = true;
    }
    return any;
}

/* A fault in a window that another handler is waiting for: its thread wakes when
 * the page is in. */
static bool join_flight(struct channel *channel, struct uf_space *space,
                        const struct fault *fault)
{
    struct fault_result result = {.outcome = UF_OUTCOME_FOLDED};

    if (!flights_cover(&channel->flights, space, fault->addr))
        return false;
    fault_count(space, fault, &result);
    fault_trace(space, fault, &result);
    return true;
}

/* With a trace hook every fault is told on its own. */
static void trace_folded(struct uf_space *space, struct batch *batch, int from)
{
    for (int i = from; i < batch->count; i++) {
        if (batch->fate[i] != FOLDED)
            continue;
        batch->fate[i] = DEALT_WITH;
        fault_trace(space, &batch->faults[i], &batch->results[i]);
    }
}

/* It may sleep, and its buffer is not waiting for a disk. */
static bool may_follow(const struct fault_server *server)
{
    return !server->at_once && !flight_is_under_way(server);
}

/* One fault to its end, or to the queue. `batch`: the faults from `next` on may
 * be folded into it; NULL: it came alone. Everything is counted before anybody
 * wakes, and told to hooks after. False: not at once, as was asked for. */
static bool serve_here(struct handler *handler, struct uf_space *space,
                       struct fault *fault, struct batch *batch, int next)
{
    struct fault_result result;
    bool folded = false;

    if (fault->attempts == 0 && comes_back(handler, fault))
        fault->attempts = 1;
    if (fault->attempts == 0 && join_flight(handler->channel, space, fault))
        return true;
    result = fault_resolve(space, &handler->server, fault);
    if (result.waits) {
        fault->window = result.window;
        return false;
    }
    if (result.outcome == UF_OUTCOME_DEFERRED) {
        put_off(handler->channel, space, fault, result.retry_ns);
        flight_land(&handler->server);
        return true;
    }
    if (may_follow(&handler->server) && (!batch || next == batch->count))
        ahead_follow(space, &handler->server);
    note_present(handler, fault, result.outcome);
    fault_count(space, fault, &result);
    if (batch)
        folded = fold(space, batch, next, result.answered);
    fault_settle(space);
    fault_wake(space, &result);
    fault_trace(space, fault, &result);
    if (folded)
        trace_folded(space, batch, next);
    flight_land(&handler->server);
    return true;
}

/* A thread that counts as inside. If there is no place for another, whoever it
 * wakes before it leaves may need that: see flight.h. */
static void serve_inside(struct handler *handler, struct uf_space *space,
                         struct fault *fault, struct batch *batch, int next)
{
    struct channel *channel = handler->channel;

    handler->server.wakes_early =
        deferred_has_room(&channel->deferred, atomic_load(&channel->nhandlers));
    serve_here(handler, space, fault, batch, next);
    handler->server.wakes_early = false;
}

/* Foreign code is over; serves what waited for it to be. */
static void leave_user_code(struct handler *handler)
{
    struct channel *channel = handler->channel;
    struct fault next;

    fault_revoke_self_touch(&handler->self_touch, NULL);
    while (deferred_leave(&channel->deferred, &next)) {
        struct uf_space *space = pin_space_of(handler->engine, &next);

        if (!space)
            continue; /* destroyed: its threads were let go */
        serve_inside(handler, space, &next, NULL, 0);
        space_unpin(space);
        fault_revoke_self_touch(&handler->self_touch, NULL);
    }
}

/* Foreign code may block, and must keep nobody waiting but the threads at its
 * page: what else was read with it goes to the queue, for any handler to take
 * at once. */
static void hand_on(struct channel *channel, struct batch *batch, int next,
                    uintptr_t page)
{
    bool any = false;

    for (int i = next; i < batch->count; i++) {
        struct fault *fault = &batch->faults[i];
        struct uf_space *space;

        if (!is_open(batch, i) || (fault->flags & FAULT_PROTECTED) ||
            align_down(fault->addr, page_size()) == page)
            continue;
        space = pin_space_of(channel->engine, fault);
        if (!space)
            continue;
        batch->fate[i] = DEALT_WITH;
        any = true;
        fault_receive(space, fault);
        if (!deferred_put(&channel->deferred, fault, fault->received_ns))
            send_back(channel, space, fault);
        space_unpin(space);
    }
    if (any)
        tell_of_queue(channel);
}

static void serve_with_user_code(struct handler *handler,
                                 struct uf_space *space, struct fault *fault,
                                 struct batch *batch, int next)
{
    struct channel *channel = handler->channel;
    unsigned nthreads = atomic_load(&channel->nhandlers);
    bool entered;

    switch (deferred_enter(&channel->deferred, nthreads, fault)) {
    case ENTER_YES:
        hand_on(channel, batch, next, align_down(fault->addr, page_size()));
        entered = engine_enter_user_code();
        serve_inside(handler, space, fault, batch, next);
        leave_user_code(handler); /* it may call a hook, too */
        engine_leave_user_code(entered);
        break;
    case ENTER_LATER:
        break;
    case ENTER_FULL:
        send_back(channel, space, fault);
        break;
    }
}

/* A handler thread, this engine's or another's, sleeps in a fault of its own:
 * foreign code touched the space. It gets a page of zeros to go on with and is
 * told, by the note, to refuse what it was about. Nothing foreign is called
 * here, since this may be the last thread that can read: the toucher reports
 * when it is back. */
static void answer_self_touch(struct handler *handler, struct handler *toucher,
                              struct uf_space *space, struct fault *fault)
{
    uintptr_t start = align_down(fault->addr, page_size());
    struct range page = {start, start + page_size()};

    if (!fault_answer_self_touch(&toucher->self_touch, space, fault->addr)) {
        put_off(handler->channel, space, fault, SELF_TOUCH_RETRY_NS);
        return;
    }
    install_wake(space->region.uffd, page);
}

/* Without foreign code and without sleep. False: it cannot be served so. */
static bool serve_at_once(struct handler *handler, struct uf_space *space,
                          struct batch *batch, int i)
{
    struct fault *fault = &batch->faults[i];
    struct handler *toucher = engine_find_handler(fault->tid);
    bool served;

    if (fault->flags & FAULT_PROTECTED) {
        dirty_note(space, fault->addr);
        return true;
    }
    fault_receive(space, fault);
    if (toucher) {
        answer_self_touch(handler, toucher, space, fault);
        return true;
    }
    if (fault_calls_hooks(space))
        return false;
    handler->server.at_once = true;
    served = serve_here(handler, space, fault, batch, i + 1);
    handler->server.at_once = false;
    return served;
}

/* Each of those whose fate is `fate`; what is not served at once is to wait, or
 * does so here, if it `may_wait`. */
static bool serve_each(struct handler *handler, struct batch *batch,
                       bool may_wait)
{
    bool all = true;

    /* A pager that waits to be released ends what may not release it. */
    for (int i = 0; i < batch->count && (may_wait || !handler->server.parting);
         i++) {
        struct fault *fault = &batch->faults[i];
        uintptr_t page = align_down(fault->addr, page_size());
        struct uf_space *space;

        if (!is_open(batch, i) || (batch->fate[i] == TO_WAIT && !may_wait))
            continue;
        space = pin_space_of(handler->engine, fault);
        if (!space) {
            /* Destroyed since: who waited looks again, and gets SIGSEGV. */
            batch->fate[i] = DEALT_WITH;
            install_wake(&handler->channel->uffd,
                         (struct range){page, page + page_size()});
            continue;
        }
        if (batch->fate[i] == TO_SERVE)
            batch->fate[i] =
                serve_at_once(handler, space, batch, i) ? DEALT_WITH : TO_WAIT;
        if (may_wait)
            batch_part(handler);
        if (batch->fate[i] == TO_WAIT && may_wait) {
            batch->fate[i] = DEALT_WITH;
            serve_with_user_code(handler, space, fault, batch, i + 1);
        }
        all = all && !is_open(batch, i);
        space_unpin(space);
    }
    return all && !handler->server.parting;
}

bool batch_serve_at_once(struct handler *handler, struct batch *batch)
{
    return serve_each(handler, batch, false);
}

void batch_serve(struct handler *handler, struct batch *batch)
{
    serve_each(handler, batch, true);
}

void batch_hand_on(struct handler *handler, struct batch *batch)
{
    hand_on(handler->channel, batch, 0, NO_PAGE);
}

void batch_part(struct handler *handler)
{
    pager_unref(handler->server.parting);
    handler->server.parting = NULL;
}
