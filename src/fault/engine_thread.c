/* SPDX-License-Identifier: MIT */
/*
 * What a handler thread does all day: read in turn, serve.
 *
 *        ┌───────────────────────────────────────────────────────────┐
 *        ▼                                                           │
 *   take token ─► due deferred faults? ─no─► wait ─► read batch      │
 *                      │ yes                             │           │
 *                      └────────► give token back ◄──────┘           │
 *                                      │                             │
 *                                 serve each ────────────────────────┘
 */
#include "fault/engine.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault/batch.h"
#include "fault/resolution.h"
#include "host/uffd_abi.h"

void engine_nudge_reader(struct channel *channel)
{
    uint64_t one = 1;
    ssize_t ignored;

    if (atomic_exchange(&channel->nudged, true))
        return;
    ignored = write(channel->stop_fd, &one, sizeof(one));
    (void)ignored;
}

/* The reader has been woken: the next wait starts afresh. */
static void take_nudge(struct channel *channel, int ready)
{
    uint64_t value;
    ssize_t ignored;

    if (ready > 0 && !atomic_load(&channel->nudged))
        return;
    /* In this order: a nudge that comes in between leaves the descriptor
     * readable or meets a reader that has yet to look at the queue. */
    ignored = read(channel->stop_fd, &value, sizeof(value));
    (void)ignored;
    atomic_store(&channel->nudged, false);
}

static void take_due(struct channel *channel, struct batch *batch)
{
    uint64_t now = fault_clock_ns();

    batch->deferred = true;
    memset(batch->fate, TO_SERVE, sizeof(batch->fate));
    while (batch->count < ENGINE_BATCH &&
           deferred_take_due(&channel->deferred, now,
                             &batch->faults[batch->count]))
        batch->count++;
}

/* The descriptor is of no use any more, and the engine without it neither: half
 * a space that is served would be worse. */
static void give_up(struct channel *channel, int err)
{
    struct uf_engine *engine = channel->engine;

    engine->broken_err = err;
    atomic_store(&engine->broken, true);
    for (unsigned i = 0; i < engine->nchannels; i++)
        if (engine->channels[i] != channel)
            engine_nudge_reader(engine->channels[i]);
}

/* Tells every space's hook that its engine has given up. No lock is held in a
 * hook: each space is found by address, after the one before. */
static void report_broken(struct uf_engine *engine)
{
    struct uf_space *space;
    uintptr_t after = 0;

    while ((space = engine_pin_next_space(engine, after))) {
        after = space->resident.range.end;
        fault_report(space, UF_ERROR_ENGINE, engine->broken_err, NULL, NULL,
                     "the userfaultfd was closed or failed; touches are not "
                     "served any more");
        space_unpin(space);
    }
}

static uint32_t kind_of(uint32_t flags)
{
    if (flags & UFFD_PAGEFAULT_FLAG_WP)
        return UF_FAULT_WRITE | FAULT_PROTECTED;
    return (flags & UFFD_PAGEFAULT_FLAG_WRITE) ? UF_FAULT_WRITE : 0;
}

/* Not written to by who only waits: its page takes no memory until a fault. */
static void empty(struct batch *batch)
{
    if (batch->count)
        batch->count = 0;
}

static void read_faults(struct channel *channel, struct batch *batch)
{
    struct uffd_fault raw[ENGINE_BATCH];
    int n = channel->uffd.ops->read(&channel->uffd, raw, ENGINE_BATCH);
    uint64_t now;

    batch->deferred = false;
    if (n < 0) {
        if (resolve(OP_READ, n, 0).step != STEP_POLL_AGAIN)
            give_up(channel, n);
        return;
    }
    now = fault_clock_ns();
    memset(batch->fate, TO_SERVE, sizeof(batch->fate));
    for (int i = 0; i < n; i++)
        batch->faults[i] = (struct fault){
            .addr = raw[i].addr,
            .flags = kind_of(raw[i].flags),
            .tid = raw[i].tid,
            .received_ns = now,
        };
    batch->count = n;
}

/* The near handler's turn: what the descriptor has now, and nothing else. Needs
 * no token, since it may never run to give one back. */
static void take_turn_near(struct handler *handler)
{
    struct channel *channel = handler->channel;

    near_rest(handler->near);
    if (channel->uffd.ops->wait(&channel->uffd, handler->near->stop_fd, -1) <=
            0 ||
        atomic_load(&handler->near->retired))
        return;
    if (near_begin(handler->near))
        engine_nudge_reader(channel); /* it is to look after us */
    read_faults(channel, handler->batch);
    /* It is on duty: what may sleep is for the others. */
    batch_serve_at_once(handler, handler->batch);
    batch_part(handler);
    batch_hand_on(handler, handler->batch);
    if (handler->batch->count > 0)
        near_follow(handler->near, handler->batch->faults[0].tid,
                    handler->batch->faults[0].received_ns);
    near_end(handler->near);
}

/* The reader's wait while the descriptor is the near handler's, which it looks
 * after however often it is disturbed. */
static void wait_aside(struct channel *channel, int64_t wait_ns)
{
    uint64_t now;
    struct pollfd stop = {.fd = channel->stop_fd, .events = POLLIN};
    struct timespec ts = {0, NEAR_PATIENCE_NS};

    if (wait_ns >= 0 && wait_ns < NEAR_PATIENCE_NS)
        ts.tv_nsec = wait_ns;
    ppoll(&stop, 1, &ts, NULL);
    take_nudge(channel, 0);
    now = fault_clock_ns();
    if (now - channel->watched_ns >= NEAR_PATIENCE_NS) {
        channel->watched_ns = now;
        near_watch(channel);
    }
}

/* Waits for something to serve and takes it. Requires: the reader token. */
static void collect(struct channel *channel, struct batch *batch)
{
    int64_t wait_ns = deferred_wait_ns(&channel->deferred);
    int ready;

    if (wait_ns == 0) {
        /* In turn with the descriptor, so that neither starves the other. */
        channel->read_next = !channel->read_next;
        if (channel->read_next)
            read_faults(channel, batch);
        if (batch->count == 0)
            take_due(channel, batch);
        return;
    }
    if (near_is_on_duty(channel)) {
        wait_aside(channel, wait_ns);
        return;
    }
    ready = channel->uffd.ops->wait(&channel->uffd, channel->stop_fd, wait_ns);
    take_nudge(channel, ready);
    if (ready > 0 && !near_is_on_duty(channel))
        read_faults(channel, batch);
    else if (ready < 0 && resolve(OP_POLL, ready, 0).step == STEP_TEARDOWN)
        give_up(channel, ready);
}

/* Keeps the token as long as it can serve at once what it takes, since handing
 * it on costs a thread switch; but not where the caller wants several that
 * serve. */
static void take_turn(struct handler *handler)
{
    struct uf_engine *engine = handler->engine;
    struct channel *channel = handler->channel;
    struct batch *batch = handler->batch;
    bool is_alone = engine->opts.nhandlers <= 1;
    bool all_served;

    lock_take(&channel->reader);
    do {
        empty(batch);
        all_served = false;
        if (atomic_load(&engine->stopping) || atomic_load(&engine->broken))
            break;
        collect(channel, batch);
        if (is_alone)
            all_served = batch_serve_at_once(handler, batch);
        if (batch->count > 0 && !batch->deferred &&
            ++channel->nfar % NEAR_LOOK == 0)
            near_look(channel, batch->faults[0].tid);
    } while (all_served);
    lock_release(&channel->reader);
    batch_part(handler);
    if (!all_served)
        batch_serve(handler, batch);
}

void engine_read_and_serve(struct handler *handler)
{
    struct uf_engine *engine = handler->engine;

    while (!atomic_load(&engine->stopping) && !atomic_load(&engine->broken)) {
        if (handler->near)
            take_turn_near(handler);
        else
            take_turn(handler);
        empty(handler->batch);
    }
    if (atomic_load(&engine->broken) &&
        !atomic_exchange(&engine->broken_reported, true))
        report_broken(engine);
}
