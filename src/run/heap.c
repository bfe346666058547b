/* SPDX-License-Identifier: MIT */
/* See heap.h. */
#include "run/heap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "fault/engine.h"
#include "mm/space.h"
#include "run/kernel_heap.h"
#include "run/mapping.h"
#include "run/raw.h"
#include "run/registrar.h"
#include "run/wiped.h"

/* Guards all that follows. */
static pthread_mutex_t moving = PTHREAD_MUTEX_INITIALIZER;
static struct kernel_heap kernel;
static struct uf_engine *engine;
static struct uf_space *space;
static struct run_slot *slot;

/* The engine's descriptor is in the agent's table alone. A number in another
 * thread's table would be something else: never use it there. The registrar
 * does, if it runs. */
static _Thread_local bool has_descriptors;
static struct uffd_ops guarded_ops;
static struct uffd_result (*real_register)(struct uffd *u, struct range range);

bool heap_is_served(void)
{
    return wiped_get(WIPED_HEAP_SERVED) != 0;
}

unsigned heap_handler_count(void)
{
    return engine_count_handlers(engine) + (registrar_runs() ? 1 : 0);
}

struct uf_engine *heap_engine(void)
{
    return engine;
}

/* --------------------------------------------------------------- adopting --
 */

static struct uffd_result guarded_register(struct uffd *u, struct range range)
{
    if (!has_descriptors && registrar_runs())
        return registrar_do(real_register, u, range);
    if (!has_descriptors)
        return (struct uffd_result){.err = -EBADF};
    return real_register(u, range);
}

static void guard_descriptor(struct uffd *uffd)
{
    guarded_ops = *uffd->ops;
    real_register = guarded_ops.regist;
    guarded_ops.regist = guarded_register;
    uffd->ops = &guarded_ops;
}

static int start_engine(const struct run_welcome *welcome)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .nhandlers = 1,
                                  .cpu_plus_one = welcome->cpu_plus_one,
                                  .tier_plus_one = welcome->tier + 1};
    int err = engine_create(&opts, &engine);

    if (err)
        return err;
    engine->private_fds = true;
    if (welcome->cpu_plus_one == 0)
        near_start(engine); /* slower without, not less right */
    has_descriptors = true;
    guard_descriptor(&engine->channels[0]->uffd);
    return 0;
}

static int make_space(const struct run_welcome *welcome)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .fork = UF_FORK_ZERO,
                                 .window_pages = welcome->window_pages};
    struct space_params params = {
        .opts = &opts, .native = true, .counters = &slot->counters};
    int err = kernel_heap_read(&kernel);

    if (err)
        return err;
    params.native_range = kernel_heap_reach(&kernel);
    params.native_brk = kernel.map.brk;
    params.native_data_extra = kernel.map.end_data - kernel.map.start_data;
    err = space_create(&params, &space);
    if (err)
        return err;
    thread_table_lend(&space->threads, slot->threads, RUN_THREAD_CHUNKS);
    err = engine_attach(engine, space);
    if (err) {
        space_destroy(space);
        space = NULL;
    }
    return err;
}

int heap_adopt(const struct run_welcome *welcome, struct run_slot *new_slot,
               enum run_stage *ret_stage)
{
    int err;

    slot = new_slot;
    *ret_stage = RUN_STAGE_ENGINE;
    err = start_engine(welcome);
    if (err)
        return err;
    *ret_stage = RUN_STAGE_HEAP;
    err = make_space(welcome);
    if (err) {
        engine_destroy(engine);
        engine = NULL;
        return err;
    }
    *ret_stage = RUN_STAGE_READY;
    wiped_set(WIPED_HEAP_SERVED, 1);
    return 0;
}

/* ----------------------------------------------------------------- moving --
 */

/* RLIMIT_DATA as the program has it now; the address-space limit is the
 * kernel's to check, since it makes every mapping. */
static void refresh_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_DATA, &limit) < 0)
        return;
    space_set_limit(space, UF_LIMIT_DATA,
                    limit.rlim_cur == RLIM_INFINITY ? UF_UNLIMITED
                                                    : limit.rlim_cur);
}

static uintptr_t move_locked(uintptr_t brk)
{
    uintptr_t before = COUNTER_GET(&slot->counters, brk);
    struct range grown;
    uintptr_t now;

    refresh_limit();
    now = space_brk(space, brk, &grown);
    if (now > before)
        near_come(engine->channels[0]);
    if (now != before)
        kernel_heap_set_brk(&kernel, now);
    return now;
}

static uintptr_t brk_here(uintptr_t brk)
{
    int saved = errno;
    uint64_t mask = raw_block_signals();
    uintptr_t now;

    pthread_mutex_lock(&moving);
    now = move_locked(brk);
    pthread_mutex_unlock(&moving);
    raw_restore_signals(mask);
    errno = saved;
    return now;
}

uintptr_t heap_brk_by_agent(uintptr_t brk)
{
    return brk_here(brk);
}

/* The kernel's notification is what reaches the agent. While it is not yet
 * received, a signal's handler would end the call with EINTR. */
static uintptr_t brk_through_agent(uintptr_t brk)
{
    sigset_t all, before;
    uintptr_t now;
    int saved = errno;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    now = kernel_brk(brk);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return now;
}

/* A signal's handler may touch the heap and must find it servable, so signals
 * wait. What fails here for want of the descriptor (the first pages of an empty
 * heap, memory locked by the program) the agent can do. */
uintptr_t heap_brk(uintptr_t brk)
{
    uintptr_t now;

    if (!heap_is_served())
        return brk_through_agent(brk);
    now = brk_here(brk);
    if (now < brk)
        now = brk_through_agent(brk);
    return now;
}

/* ------------------------------------------------------------------- fork --
 */

void heap_fork_prepare(void)
{
    pthread_mutex_lock(&moving);
    mapping_fork_prepare();
    engine_fork_prepare();
}

void heap_fork_parent(void)
{
    engine_fork_parent();
    mapping_fork_parent();
    pthread_mutex_unlock(&moving);
}

/* The slot is the parent's: what is left of its engine counts into memory of
 * our own while it is taken down. */
static void let_go_of_slot(void)
{
    void *p = sys->mmap(slot, RUN_SLOT_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    (void)p; /* over a mapping of our own: cannot fail but for lack of memory */
}

void heap_fork_child(void)
{
    pthread_mutex_init(&moving, NULL);
    if (slot)
        let_go_of_slot();
    registrar_fork_child();
    engine_fork_child();
    mapping_fork_child();
    if (space)
        space_destroy(space);
    if (engine)
        engine_destroy(engine);
    if (slot)
        sys->munmap(slot, RUN_SLOT_BYTES);
    space = NULL;
    engine = NULL;
    slot = NULL;
}

/* A fault is counted as answered after its thread was woken, and that thread
 * may be this one. Exits that run no destructors may leave one uncounted. */
static void await_counts(void)
{
    for (int i = 0; i < 1000 && COUNTER_GET(&slot->counters, pending) > 0; i++)
        sched_yield();
}

void heap_note_exit(void)
{
    struct rusage usage;

    if (!heap_is_served())
        return;
    await_counts();
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        atomic_store(&slot->minflt_at_exit, (uint64_t)usage.ru_minflt);
}
