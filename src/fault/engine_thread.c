/* SPDX-License-Identifier: MIT */
/*
 * The handler threads: reading, serving, and knowing each other.
 *
 *        ┌───────────────────────────────────────────────────────────┐
 *        ▼                                                           │
 *   take token ─► due deferred faults? ─no─► wait ─► read batch      │
 *                      │ yes                             │           │
 *                      └────────► give token back ◄──────┘           │
 *                                      │                             │
 *                                 serve each ────────────────────────┘
 *
 * A batch is served front to back. What one fault's window has answered need
 * not be answered again: later faults of the batch inside it are folded.
 */
#include "fault/engine.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "fault/install.h"
#include "fault/resolution.h"
#include "host/uffd_abi.h"

#define HANDLER_STACK_BYTES ((size_t)256 << 10)
#define SELF_TOUCH_RETRY_NS 100000u

static struct slab_cache handlers =
    SLAB_CACHE("handler", sizeof(struct handler));

static _Thread_local bool is_handler_thread;

bool engine_is_handler_thread(void)
{
    return is_handler_thread;
}

/* ------------------------------------------------ handlers by thread id -- */

#define TID_BUCKETS 256

/* A table of all engines' handlers, asked for the tid of every fault; the
 * bucket's head is read without the lock, since it is nearly always empty. */
static struct handler *_Atomic tid_buckets[TID_BUCKETS];
static pthread_mutex_t tid_lock = PTHREAD_MUTEX_INITIALIZER;

static struct handler *_Atomic *tid_bucket(pid_t tid)
{
    return &tid_buckets[(unsigned)tid % TID_BUCKETS];
}

static void tid_add(struct handler *handler)
{
    struct handler *_Atomic *bucket = tid_bucket(handler->tid);

    pthread_mutex_lock(&tid_lock);
    handler->next_by_tid = atomic_load(bucket);
    atomic_store(bucket, handler);
    pthread_mutex_unlock(&tid_lock);
}

static void tid_remove(struct handler *handler)
{
    struct handler *_Atomic *bucket = tid_bucket(handler->tid);
    struct handler *h;

    pthread_mutex_lock(&tid_lock);
    h = atomic_load(bucket);
    if (h == handler) {
        atomic_store(bucket, handler->next_by_tid);
    } else {
        while (h && h->next_by_tid != handler)
            h = h->next_by_tid;
        if (h)
            h->next_by_tid = handler->next_by_tid;
    }
    pthread_mutex_unlock(&tid_lock);
}

struct handler *engine_find_handler(pid_t tid)
{
    struct handler *h;

    if (tid == 0 || !atomic_load(tid_bucket(tid)))
        return NULL;
    pthread_mutex_lock(&tid_lock);
    h = atomic_load(tid_bucket(tid));
    while (h && atomic_load(&h->tid) != tid)
        h = h->next_by_tid;
    pthread_mutex_unlock(&tid_lock);
    return h;
}

void engine_forget_handlers(void)
{
    for (unsigned i = 0; i < TID_BUCKETS; i++)
        atomic_store(&tid_buckets[i], NULL);
    pthread_mutex_init(&tid_lock, NULL);
}

/* ---------------------------------------------------------------- serving --
 */

/* A fault that cannot be kept for later: its thread is woken and comes back. */
static void send_back(struct uf_engine *engine, struct uf_space *space,
                      const struct fault *fault)
{
    struct fault_result result = {.outcome = UF_OUTCOME_STALE};
    uintptr_t page = align_down(fault->addr, page_size());

    fault_count(space, fault, &result);
    install_wake(&engine->uffd, (struct range){page, page + page_size()});
}

/* Has the reader look at the queue again: its wait began before the fault that
 * was just put there, and may have no end. */
static void nudge_reader(struct uf_engine *engine)
{
    uint64_t one = 1;
    ssize_t ignored;

    if (atomic_load(&engine->nhandlers) < 2 ||
        atomic_exchange(&engine->nudged, true))
        return;
    ignored = write(engine->stop_fd, &one, sizeof(one));
    (void)ignored;
}

/* The reader has been woken: the next wait starts afresh. */
static void take_nudge(struct uf_engine *engine)
{
    uint64_t value;
    ssize_t ignored;

    if (!atomic_load(&engine->nudged))
        return;
    atomic_store(&engine->nudged, false);
    ignored = read(engine->stop_fd, &value, sizeof(value));
    (void)ignored;
}

static void put_off(struct uf_engine *engine, struct uf_space *space,
                    const struct fault *fault, uint64_t pause_ns)
{
    struct fault later = *fault;
    uint64_t now = fault_clock_ns();

    if (later.deferred_ns == 0)
        later.deferred_ns = now;
    later.attempts++;
    if (deferred_put(&engine->deferred, &later, now + pause_ns))
        nudge_reader(engine);
    else
        send_back(engine, space, fault);
}

/* The same thread at the same page that "was there" a moment ago. */
static bool comes_back(struct handler *handler, const struct fault *fault)
{
    return handler->last_present_addr == fault->addr &&
           handler->last_present_tid == fault->tid && fault->tid != 0;
}

static void note_present(struct handler *handler, const struct fault *fault,
                         enum uf_outcome outcome)
{
    bool present = outcome == UF_OUTCOME_PRESENT;

    handler->last_present_addr = present ? fault->addr : 0;
    handler->last_present_tid = present ? fault->tid : 0;
}

enum fate {
    TO_SERVE,
    FOLDED, /* counted, and not told to the trace hook yet */
    DEALT_WITH
};

/* What one read, or one look at the queue, has brought. */
struct batch {
    struct fault faults[ENGINE_BATCH];
    unsigned char fate[ENGINE_BATCH];          /* enum fate */
    struct fault_result results[ENGINE_BATCH]; /* of folded faults */
    int count;
    bool deferred; /* they come from the queue and are counted already */
};

/* Counts a fault as received; once, however often it is put off. */
static void count_received(struct uf_space *space, struct fault *fault)
{
    struct counters *c = space->counters;

    fault->serial = space->serial;

    COUNT(c, faults);
    COUNT_ADD(c, pending, 1);
    if (fault->flags & UF_FAULT_WRITE)
        COUNT(c, faults_write);
    else
        COUNT(c, faults_read);
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

        if (batch->fate[i] != TO_SERVE ||
            !range_contains(answered, fault->addr))
            continue;
        batch->fate[i] = DEALT_WITH;
        if (is_orphan(space, fault))
            continue;
        if (!batch->deferred)
            count_received(space, fault);
        batch->results[i] = (struct fault_result){.outcome = UF_OUTCOME_FOLDED};
        fault_count(space, fault, &batch->results[i]);
        batch->fate[i] = FOLDED;
        any = true;
    }
    return any;
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

/* One fault to its end, or to the queue. `batch`: the faults from `next` on may
 * be folded into it; NULL: it came alone. Everything is counted before anybody
 * wakes, and told to hooks after. */
static void serve_here(struct handler *handler, struct uf_space *space,
                       struct fault *fault, struct batch *batch, int next)
{
    struct fault_result result;
    bool folded = false;

    if (fault->attempts == 0 && comes_back(handler, fault))
        fault->attempts = 1;
    result = fault_resolve(space, &handler->server, fault);
    if (result.outcome == UF_OUTCOME_DEFERRED) {
        put_off(handler->engine, space, fault, result.retry_ns);
        return;
    }
    note_present(handler, fault, result.outcome);
    fault_count(space, fault, &result);
    if (batch)
        folded = fold(space, batch, next, result.answered);
    fault_settle(space);
    fault_wake(space, &result);
    fault_trace(space, fault, &result);
    if (folded)
        trace_folded(space, batch, next);
}

/* Foreign code is over; serves what waited for it to be. */
static void leave_user_code(struct handler *handler)
{
    struct uf_engine *engine = handler->engine;
    struct fault next;

    fault_revoke_self_touch(&handler->self_touch, NULL);
    while (deferred_leave(&engine->deferred, &next)) {
        struct uf_space *space = pin_space_of(engine, &next);

        if (!space)
            continue; /* destroyed: its threads were let go */
        serve_here(handler, space, &next, NULL, 0);
        space_unpin(space);
        fault_revoke_self_touch(&handler->self_touch, NULL);
    }
}

/* Foreign code may block, and must keep nobody waiting but the threads at its
 * page: what else was read with it goes to the queue, for any handler to take
 * at once. */
static void hand_on(struct uf_engine *engine, struct batch *batch, int next,
                    uintptr_t page)
{
    bool any = false;

    for (int i = next; i < batch->count; i++) {
        struct fault *fault = &batch->faults[i];
        struct uf_space *space;

        if (batch->fate[i] != TO_SERVE ||
            align_down(fault->addr, page_size()) == page)
            continue;
        space = pin_space_of(engine, fault);
        if (!space)
            continue;
        batch->fate[i] = DEALT_WITH;
        any = true;
        if (!batch->deferred)
            count_received(space, fault);
        if (!deferred_put(&engine->deferred, fault, fault->received_ns))
            send_back(engine, space, fault);
        space_unpin(space);
    }
    if (any)
        nudge_reader(engine);
}

static void serve_with_user_code(struct handler *handler,
                                 struct uf_space *space, struct fault *fault,
                                 struct batch *batch, int next)
{
    struct uf_engine *engine = handler->engine;
    unsigned nthreads = atomic_load(&engine->nhandlers);

    switch (deferred_enter(&engine->deferred, nthreads, fault)) {
    case ENTER_YES:
        hand_on(engine, batch, next, align_down(fault->addr, page_size()));
        serve_here(handler, space, fault, batch, next);
        leave_user_code(handler);
        break;
    case ENTER_LATER:
        break;
    case ENTER_FULL:
        send_back(engine, space, fault);
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

    if (!fault_release_self_touch(&toucher->self_touch, space, fault->addr)) {
        put_off(handler->engine, space, fault, SELF_TOUCH_RETRY_NS);
        return;
    }
    COUNT(space->counters, self_touches);
    COUNT(space->counters, refused);
    GAUGE_SUB(space->counters, pending, 1);
    fault_settle(space);
    install_wake(space->region.uffd, page);
}

static void serve(struct handler *handler, struct uf_space *space,
                  struct batch *batch, int i)
{
    struct fault *fault = &batch->faults[i];
    struct handler *toucher = engine_find_handler(fault->tid);

    if (!batch->deferred)
        count_received(space, fault);
    if (toucher)
        answer_self_touch(handler, toucher, space, fault);
    else if (fault_runs_user_code(space))
        serve_with_user_code(handler, space, fault, batch, i + 1);
    else
        serve_here(handler, space, fault, batch, i + 1);
}

/* ---------------------------------------------------------------- reading --
 */

static void take_due(struct uf_engine *engine, struct batch *batch)
{
    uint64_t now = fault_clock_ns();

    batch->deferred = true;
    memset(batch->fate, TO_SERVE, sizeof(batch->fate));
    while (
        batch->count < ENGINE_BATCH &&
        deferred_take_due(&engine->deferred, now, &batch->faults[batch->count]))
        batch->count++;
}

/* The descriptor is of no use any more. */
static void give_up(struct uf_engine *engine, int err)
{
    engine->broken_err = err;
    atomic_store(&engine->broken, true);
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

static void read_faults(struct uf_engine *engine, struct batch *batch)
{
    struct uffd_fault raw[ENGINE_BATCH];
    int n = engine->uffd.ops->read(&engine->uffd, raw, ENGINE_BATCH);
    uint64_t now;

    batch->deferred = false;
    if (n < 0) {
        if (resolve(OP_READ, n, 0).step != STEP_POLL_AGAIN)
            give_up(engine, n);
        return;
    }
    now = fault_clock_ns();
    memset(batch->fate, TO_SERVE, sizeof(batch->fate));
    for (int i = 0; i < n; i++)
        batch->faults[i] = (struct fault){
            .addr = raw[i].addr,
            .flags =
                (raw[i].flags & UFFD_PAGEFAULT_FLAG_WRITE) ? UF_FAULT_WRITE : 0,
            .tid = raw[i].tid,
            .received_ns = now,
        };
    batch->count = n;
}

/* Waits for something to serve and takes it. Requires: the reader token. */
static void collect(struct uf_engine *engine, struct batch *batch)
{
    int64_t wait_ns = deferred_wait_ns(&engine->deferred);
    int ready;

    if (wait_ns == 0) {
        /* In turn with the descriptor, so that neither starves the other. */
        engine->read_next = !engine->read_next;
        if (engine->read_next)
            read_faults(engine, batch);
        if (batch->count == 0)
            take_due(engine, batch);
        return;
    }
    ready = engine->uffd.ops->wait(&engine->uffd, engine->stop_fd, wait_ns);
    take_nudge(engine);
    if (ready > 0)
        read_faults(engine, batch);
    else if (ready < 0 && resolve(OP_POLL, ready, 0).step == STEP_TEARDOWN)
        give_up(engine, ready);
}

static void serve_batch(struct handler *handler, struct batch *batch)
{
    struct uf_engine *engine = handler->engine;

    for (int i = 0; i < batch->count; i++) {
        uintptr_t addr = batch->faults[i].addr;
        uintptr_t page = align_down(addr, page_size());
        struct uf_space *space;

        if (batch->fate[i] != TO_SERVE)
            continue;
        space = pin_space_of(engine, &batch->faults[i]);
        if (space) {
            serve(handler, space, batch, i);
            space_unpin(space);
        } else {
            /* Destroyed since: who waited looks again, and gets SIGSEGV. */
            install_wake(&engine->uffd,
                         (struct range){page, page + page_size()});
        }
    }
}

/* ---------------------------------------------------------------- threads --
 */

static void bind_to_cpu(uint32_t cpu_plus_one)
{
    cpu_set_t set;

    if (cpu_plus_one == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu_plus_one - 1, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static void *handler_main(void *arg)
{
    struct handler *handler = arg;
    struct uf_engine *engine = handler->engine;
    struct batch *batch = handler->batch;

    is_handler_thread = true;
    atomic_store(&handler->tid, (pid_t)syscall(SYS_gettid));
    tid_add(handler);
    prctl(PR_SET_NAME, "ufault-handler");
    bind_to_cpu(engine->opts.cpu_plus_one);

    while (!atomic_load(&engine->stopping) && !atomic_load(&engine->broken)) {
        lock_take(&engine->reader);
        if (!atomic_load(&engine->stopping) && !atomic_load(&engine->broken))
            collect(engine, batch);
        lock_release(&engine->reader);
        serve_batch(handler, batch);
        if (batch->count)
            batch->count = 0;
    }
    if (atomic_load(&engine->broken) &&
        !atomic_exchange(&engine->broken_reported, true))
        report_broken(engine);
    tid_remove(handler);
    return NULL;
}

/* Starts the thread with every signal blocked, so that none of the program's
 * handlers runs on it. */
static int start_thread(struct handler *handler)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, HANDLER_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&handler->thread, &attr, handler_main, handler);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

static void free_handler(struct handler *handler)
{
    fault_server_destroy(&handler->server);
    slab_pages_free(handler->batch, sizeof(*handler->batch));
    slab_free(&handlers, handler);
}

static int start_one_locked(struct uf_engine *engine)
{
    unsigned n = atomic_load(&engine->nhandlers);
    struct handler *handler = slab_alloc(&handlers);
    int err = 0;

    if (!handler)
        return -ENOMEM;
    handler->engine = engine;
    handler->server.self_touch = &handler->self_touch;
    handler->server.defer_limit_ns =
        (uint64_t)engine->opts.defer_limit_ms * 1000000u;
    if (engine->has_buffers)
        err = fault_server_init(&handler->server);
    /* Pages of its own, so that an idle handler's stack stays small. */
    handler->batch = slab_pages(sizeof(*handler->batch));
    if (!err && !handler->batch)
        err = -ENOMEM;
    if (!err)
        err = start_thread(handler);
    if (err) {
        free_handler(handler);
        return err;
    }
    engine->handlers[n] = handler;
    atomic_store(&engine->nhandlers, n + 1);
    return 0;
}

int engine_give_buffers(struct uf_engine *engine)
{
    unsigned n;
    int err = 0;

    lock_take(&engine->starting);
    n = atomic_load(&engine->nhandlers);
    /* Nobody looks at a buffer before a space with such a pager is attached. */
    for (unsigned i = 0; !err && i < n; i++)
        if (!engine->handlers[i]->server.buffer)
            err = fault_server_init(&engine->handlers[i]->server);
    if (!err)
        engine->has_buffers = true;
    lock_release(&engine->starting);
    return err;
}

int engine_start_handlers(struct uf_engine *engine, unsigned count)
{
    int err = 0;

    CHECK(count <= ENGINE_HANDLERS_MAX);
    lock_take(&engine->starting);
    while (!err && atomic_load(&engine->nhandlers) < count)
        err = start_one_locked(engine);
    lock_release(&engine->starting);
    return err;
}

void engine_stop_handlers(struct uf_engine *engine)
{
    unsigned n = atomic_load(&engine->nhandlers);
    uint64_t one = 1;
    ssize_t ignored;

    atomic_store(&engine->stopping, true);
    if (n > 0)
        ignored = write(engine->stop_fd, &one, sizeof(one));
    (void)ignored;
    for (unsigned i = 0; i < n; i++) {
        pthread_join(engine->handlers[i]->thread, NULL);
        free_handler(engine->handlers[i]);
    }
    atomic_store(&engine->nhandlers, 0);
}
