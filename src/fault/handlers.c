/* SPDX-License-Identifier: MIT */
/*
 * handlers: the threads of engines. Starting and stopping them, and knowing
 * one by its thread id when it touches a space itself.
 */
#include "fault/engine.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/slab.h"
#include "fault/background.h"
#include "fault/batch.h"

#define HANDLER_STACK_BYTES ((size_t)256 << 10)

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

/* ------------------------------------------------------------- threads -- */

/* A new thread waits at its gate until it is known to be wanted. */
enum gate { GATE_CLOSED, GATE_OPEN, GATE_NEVER };

static bool pass_gate(struct handler *handler)
{
    while (atomic_load(&handler->gate) == GATE_CLOSED)
        syscall(SYS_futex, &handler->gate, FUTEX_WAIT_PRIVATE, GATE_CLOSED,
                NULL, NULL, 0);
    return atomic_load(&handler->gate) == GATE_OPEN;
}

static void set_gate(struct handler *handler, enum gate gate)
{
    atomic_store(&handler->gate, (uint32_t)gate);
    syscall(SYS_futex, &handler->gate, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

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
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (!pass_gate(handler))
        return NULL;
    is_handler_thread = true;
    atomic_store(&handler->tid, (pid_t)syscall(SYS_gettid));
    tid_add(handler);
    prctl(PR_SET_NAME, "ufault-handler");
    bind_to_cpu(handler->engine->opts.cpu_plus_one);
    if (handler->near)
        sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    if (handler->background)
        background_run(handler);
    else
        engine_read_and_serve(handler);
    tid_remove(handler);
    return NULL;
}

void *(*engine_take_stack)(size_t len_bytes);

static void set_stack(pthread_attr_t *attr)
{
    void *stack = NULL;

    if (engine_take_stack)
        stack = engine_take_stack(HANDLER_STACK_BYTES);
    if (stack)
        pthread_attr_setstack(attr, stack, HANDLER_STACK_BYTES);
    else
        pthread_attr_setstacksize(attr, HANDLER_STACK_BYTES);
}

/* Signal engines there are. Their memory, touched by a pager or a hook, raises a
 * signal that must not be blocked. */
static atomic_uint signal_engines;

void engine_note_signals(bool more)
{
    if (more)
        atomic_fetch_add(&signal_engines, 1);
    else
        atomic_fetch_sub(&signal_engines, 1);
}

bool engine_enter_user_code(void)
{
    sigset_t set;

    if (atomic_load(&signal_engines) == 0)
        return false;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return true;
}

void engine_leave_user_code(bool entered)
{
    sigset_t all;

    if (!entered)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

/* Signals that an instruction raises. */
static const int instruction_signals[] = {SIGBUS, SIGSEGV, SIGILL,
                                          SIGFPE, SIGTRAP, SIGSYS};

/* Not for a moment is one of the process's signals the new thread's; where libc
 * has no such attribute, it is until handler_main. */
static void block_in_thread(pthread_attr_t *attr)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    sigset_t all;

    sigfillset(&all);
    pthread_attr_setsigmask_np(attr, &all);
#else
    (void)attr;
#endif
}

/*
 * Starts the thread with signals blocked, so that none of the program's
 * handlers runs on it. Those that an instruction raises it blocks itself:
 * pthread_create allocates, and the program's malloc may live on a space of
 * ours. For the same reason no lock is held.
 */
static int start_thread(struct handler *handler)
{
    pthread_attr_t attr;
    sigset_t set, before;
    int err;

    CHECK(lock_none_held());
    sigfillset(&set);
    for (size_t i = 0;
         i < sizeof(instruction_signals) / sizeof(instruction_signals[0]); i++)
        sigdelset(&set, instruction_signals[i]);
    pthread_attr_init(&attr);
    set_stack(&attr);
    block_in_thread(&attr);
    pthread_sigmask(SIG_BLOCK, &set, &before);
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

/* Makes a handler, whose thread waits at its gate. 0 or -errno. */
static int make_handler(const struct handler *what,
                        struct handler **ret_handler)
{
    struct handler *handler = slab_alloc(&handlers);
    const struct uf_engine *engine = what->engine;
    int err = 0;

    if (!handler)
        return -ENOMEM;
    handler->engine = what->engine;
    handler->channel = what->channel;
    handler->near = what->near;
    handler->background = what->background;
    handler->server.self_touch = &handler->self_touch;
    if (what->channel && !what->near) /* which never waits */
        handler->server.flights = &what->channel->flights;
    handler->server.defer_limit_ns =
        (uint64_t)engine->opts.defer_limit_ms * 1000000u;
    /* Pages of its own, so that an idle handler's stack stays small. */
    if (what->channel) {
        handler->batch = slab_pages(sizeof(*handler->batch));
        err = handler->batch ? 0 : -ENOMEM;
    }
    if (!err)
        err = start_thread(handler);
    if (err)
        free_handler(handler);
    else
        *ret_handler = handler;
    return err;
}

static int give_buffer(struct handler *handler)
{
    return handler->server.buffer ? 0 : fault_server_init(&handler->server);
}

/* Before its gate is opened. 0 or -ENOMEM. */
static int equip_locked(struct handler *handler)
{
    return handler->engine->has_buffers ? give_buffer(handler) : 0;
}

/* Another thread started one meanwhile, or it cannot be equipped. */
static void dismiss(struct handler *handler)
{
    set_gate(handler, GATE_NEVER);
    engine_join_handler(handler);
}

int engine_start_near(struct channel *channel, struct near *near)
{
    struct uf_engine *engine = channel->engine;
    struct handler what = {.engine = engine, .channel = channel, .near = near};
    struct near *none = NULL;
    struct handler *handler;
    int err = make_handler(&what, &handler);

    if (err)
        return err;
    lock_take(&engine->starting);
    err = equip_locked(handler);
    near->handler = handler; /* before others find it */
    /* for engine_give_buffers */
    if (!err && !atomic_compare_exchange_strong(&channel->near, &none, near))
        err = -EEXIST;
    if (!err)
        set_gate(handler, GATE_OPEN);
    lock_release(&engine->starting);
    if (err)
        dismiss(handler);
    return err;
}

int engine_start_background(struct background *background,
                            struct uf_engine *engine)
{
    struct handler what = {.engine = engine, .background = background};
    struct handler *handler;
    int err = make_handler(&what, &handler);

    if (err)
        return err;
    lock_take(&engine->starting);
    err = equip_locked(handler);
    if (!err && !background_give_handler(background, handler))
        err = -EEXIST;
    if (!err)
        set_gate(handler, GATE_OPEN);
    lock_release(&engine->starting);
    if (err)
        dismiss(handler);
    return err == -EEXIST ? 0 : err;
}

void engine_join_handler(struct handler *handler)
{
    pthread_join(handler->thread, NULL);
    free_handler(handler);
}

static int give_buffers_locked(struct channel *channel)
{
    struct near *near = atomic_load(&channel->near);
    unsigned n = atomic_load(&channel->nhandlers);
    int err = near ? give_buffer(near->handler) : 0;

    for (unsigned i = 0; !err && i < n; i++)
        err = give_buffer(channel->handlers[i]);
    return err;
}

int engine_give_buffers(struct uf_engine *engine)
{
    struct background *background;
    struct handler *handler;
    int err = 0;

    lock_take(&engine->starting);
    /* Nobody looks at a buffer before a space with such a pager is attached. */
    for (unsigned i = 0; !err && i < engine->nchannels; i++)
        err = give_buffers_locked(engine->channels[i]);
    background = atomic_load(&engine->background);
    handler = background ? background_handler(background) : NULL;
    if (!err && handler)
        err = give_buffer(handler);
    if (!err)
        engine->has_buffers = true;
    lock_release(&engine->starting);
    /* For MADV_WILLNEED, which starts none. It does with none. */
    if (!err)
        background_start(engine);
    return err;
}

unsigned engine_handlers_for(const struct uf_space *space)
{
    if (atomic_load(&space->has_pagers))
        return ENGINE_HANDLERS_PAGED;
    return fault_calls_hooks(space) ? 2 : 1;
}

/* With threads that wait, as many as the channels are short of. */
static int make_missing(struct uf_engine *engine, unsigned count,
                        struct handler **made)
{
    int err = 0;

    for (unsigned i = 0; !err && i < engine->nchannels; i++) {
        struct handler what = {.engine = engine,
                               .channel = engine->channels[i]};
        unsigned n = atomic_load(&what.channel->nhandlers);

        for (; !err && n < count; n++) {
            struct handler *handler;

            err = make_handler(&what, &handler);
            if (err)
                break;
            handler->next_made = *made;
            *made = handler;
        }
    }
    return err;
}

/* Those that are still wanted begin; the others stay in the list. */
static void admit_locked(struct handler **made, unsigned count)
{
    while (*made) {
        struct handler *handler = *made;
        struct channel *channel = handler->channel;
        unsigned n = atomic_load(&channel->nhandlers);

        if (n >= count) {
            made = &handler->next_made;
            continue;
        }
        *made = handler->next_made;
        channel->handlers[n] = handler; /* before it runs: it may look there */
        atomic_store(&channel->nhandlers, n + 1);
        set_gate(handler, GATE_OPEN);
    }
}

int engine_start_handlers(struct uf_engine *engine, unsigned count)
{
    struct handler *made = NULL, *next;
    int err;

    CHECK(count <= ENGINE_HANDLERS_MAX);
    err = make_missing(engine, count, &made);
    lock_take(&engine->starting);
    for (next = made; !err && next; next = next->next_made)
        err = equip_locked(next);
    if (!err)
        admit_locked(&made, count);
    lock_release(&engine->starting);
    for (; made; made = next) {
        next = made->next_made;
        dismiss(made);
    }
    return err;
}

unsigned engine_count_handlers(const struct uf_engine *engine)
{
    unsigned count = 0;

    for (unsigned i = 0; i < engine->nchannels; i++) {
        count += atomic_load(&engine->channels[i]->nhandlers);
        count += atomic_load(&engine->channels[i]->near) != NULL;
    }
    return count;
}

/* Its handlers are told to stop. */
static void join_handlers(struct channel *channel)
{
    unsigned n = atomic_load(&channel->nhandlers);

    for (unsigned i = 0; i < n; i++)
        engine_join_handler(channel->handlers[i]);
    near_stop(channel);
    atomic_store(&channel->nhandlers, 0);
}

void engine_stop_handlers(struct uf_engine *engine)
{
    uint64_t one = 1;
    ssize_t ignored;

    atomic_store(&engine->stopping, true);
    for (unsigned i = 0; i < engine->nchannels; i++) {
        ignored = write(engine->channels[i]->stop_fd, &one, sizeof(one));
        (void)ignored;
    }
    for (unsigned i = 0; i < engine->nchannels; i++)
        join_handlers(engine->channels[i]);
    background_stop(engine);
}
