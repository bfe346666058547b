/* SPDX-License-Identifier: MIT */
/*
 * engine: how first touches arrive and who answers them.
 *
 *     touching threads             channel: userfaultfd  its handler threads
 *     touch ─► asleep in kernel ─► queue of faults  ──►  T0: reads, serves
 *                                                        T1: reads next
 *
 * An engine has one channel or several; of a space each then serves a part
 * (host/uffd_parts.h), beside the others and independent of them.
 *
 * A channel's handlers take turns at reading: the one that holds the reader
 * token waits on the descriptor and takes a batch; it hands the token on
 * before it serves the batch, so reading never waits for serving. Code that is
 * not ours (a pager's fill, a hook) runs only while at least one other handler
 * thread is outside such code; so there is always one that can read, and a
 * fault raised by a handler itself is seen and refused, never waited for.
 *
 * What cannot be answered now goes to a queue (deferred.h) that the reader
 * looks at whenever its wait ends; what waits there too long is refused.
 *
 * Life of an engine:
 *   engine_create ─► engine_attach, engine_detach, any number ─►
 *   engine_destroy
 */
#ifndef UF_FAULT_ENGINE_H
#define UF_FAULT_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "fault/deferred.h"
#include "fault/fault.h"
#include "fault/flight.h"
#include "fault/near.h"
#include "host/uffd_parts.h"
#include "mm/space.h"

#define ENGINE_MAGIC        0x7566656eu /* "ufen" */
#define ENGINE_HANDLERS_MAX 64
/* The fewest for a space with pagers: one reads, one is in a fill or lands what
 * has been read, and one is left for the fill that this one may wait for. */
#define ENGINE_HANDLERS_PAGED 3
#define HANDLER_PRESENT       16
#define ENGINE_BATCH          64
#define ENGINE_FEW_SPACES     8
#define ENGINE_SPARE_BUFFERS  4

struct uf_engine;
struct background;
struct batch;

struct handler {
    struct uf_engine *engine;
    struct channel *channel; /* whose faults it serves; NULL: background's */
    pthread_t thread;
    _Atomic uint32_t gate; /* handlers.c: whether it may begin */
    _Atomic pid_t tid;     /* 0 until it runs */
    struct fault_server server;
    struct self_touch self_touch;
    struct batch *batch;           /* what it serves; batch.h */
    struct near *near;             /* it is the near handler; else NULL */
    struct background *background; /* it is background's; else NULL */
    /* Pages of late faults that were found to be there, by their number: one
     * more fault means that waking alone does not help. */
    uintptr_t present[HANDLER_PRESENT];
    struct handler *next_by_tid;
    struct handler *next_made; /* engine_start_handlers */
};

/* A descriptor, and who answers what is read from it. */
struct channel {
    struct uf_engine *engine;
    struct uffd uffd;
    int stop_fd;        /* eventfd: ends the reader's wait */
    atomic_bool nudged; /* stop_fd was written for the queue's sake */

    struct handler *handlers[ENGINE_HANDLERS_MAX]; /* engine->starting */
    atomic_uint nhandlers;                         /* started */

    struct near *_Atomic near; /* near.h; NULL if there is none */
    atomic_uint nfar;          /* times that others than it served */
    struct lock reader;        /* the token */
    bool read_next; /* the descriptor is looked at before the queue; reader */
    uint64_t watched_ns; /* the reader's last look at the near handler */
    struct deferred_queue deferred;
    struct flights flights;
};

struct uf_engine {
    _Atomic uint32_t magic;
    struct uf_engine_opts opts;
    struct channel *channels[UFFD_PARTS_MAX];
    unsigned nchannels;
    bool signals;     /* UF_ENGINE_SIGNAL: trap_install is ours to undo */
    bool private_fds; /* descriptors are not in the forked child's table */
    /* No thread serves it and none will: the descriptor failed, or this is a
     * forked child. */
    atomic_bool broken;
    atomic_bool broken_reported;
    int broken_err;
    atomic_bool stopping;

    struct lock lock; /* guards the spaces */
    /* Sorted, the highest first: the kernel places what is new below the rest,
     * so that nearly all of them come and go at the end. */
    struct uf_space **spaces;
    size_t nspaces;
    size_t capacity;
    struct uf_space *few_spaces[ENGINE_FEW_SPACES]; /* before slab_pages */

    /* Guards the handlers. Not held while a thread is started: pthread_create
     * calls the program's malloc. */
    struct lock starting;
    bool has_buffers; /* each can hold what a pager fills */
    /* A signal engine's, for pagers that its touching threads run. */
    void *_Atomic spare_buffers[ENGINE_SPARE_BUFFERS];
    atomic_bool has_spare_buffers;
    struct background *_Atomic background; /* NULL until there is a need */
    atomic_bool is_faulting; /* a fault came since the background looked */
    struct uf_engine *next;  /* all engines; registry lock */
};

/* Checks, opens and starts; see uf_engine_create. `opts` may be NULL. */
int engine_create(const struct uf_engine_opts *opts,
                  struct uf_engine **ret_engine);

/* Testing: the same around descriptors that are already made, as many as opts
 * ask for; takes them over, also when it fails. */
int engine_create_on(const struct uf_engine_opts *opts,
                     const struct uffd *uffds, struct uf_engine **ret_engine);

/* See uf_engine_destroy. */
int engine_destroy(struct uf_engine *engine);

/* Registers the space's mapped range and begins to serve it. 0 or -errno. */
int engine_attach(struct uf_engine *engine, struct uf_space *space);

/* Before a mapping of the space gets `pager`: handlers that can run its fill. 0
 * or -errno. */
int engine_ready_for_pager(struct uf_space *space, struct uf_pager *pager);

/*
 * Stops serving: when it returns no fault of the space is under way, a
 * RESERVED region is unmapped (threads that waited get SIGSEGV), a NATIVE one
 * is left to the kernel.
 */
void engine_detach(struct uf_space *space);

/* Opens the descriptors of an engine's channels, `ndescriptors` of them. 0 or
 * -errno as uf_engine_create, nothing is open. */
int engine_open_uffds(const struct uf_engine_opts *opts,
                      enum uf_engine_kind kind, struct uffd *ret);

/* Gives them to the channels. 0 or -errno of eventfd(2); they are the engine's either way. */
int engine_open_channels(struct uf_engine *engine, const struct uffd *uffds);

/* Gives the space's region what it is to be registered with, and takes it away.
 * 0 or -ENOMEM. */
int engine_lend_descriptor(struct uf_engine *engine, struct uf_space *space);
void engine_return_descriptor(struct uf_space *space);

/* The space that holds addr, pinned; NULL if none. */
struct uf_space *engine_pin_space(struct uf_engine *engine, uintptr_t addr);

/* The first space that ends above addr, pinned; NULL if none. */
struct uf_space *engine_pin_next_space(struct uf_engine *engine,
                                       uintptr_t addr);

bool engine_is_live(const struct uf_engine *engine);

/* How its faults arrive; never UF_ENGINE_AUTO. */
enum uf_engine_kind engine_kind(const struct uf_engine *engine);

/* -------------------------------------------------- engine_thread.c -- */

/* Has the reader look around: at the queue, at the near handler. */
void engine_nudge_reader(struct channel *channel);

/* The life of a handler thread, until the engine stops or breaks. */
void engine_read_and_serve(struct handler *handler);

/* -------------------------------------------------- engine_signal.c -- */

/*
 * In a signal handler: the calling thread touched addr, and the kernel has no
 * page for it. True: it has one now, or is to look again. False: the touch is
 * not for the engine to answer, or was refused.
 * Requires: the space is pinned; the interrupted code holds no lock of ours.
 */
bool engine_serve_signal(struct uf_space *space, uintptr_t addr, bool write);

/* Buffers for pagers that touching threads run. 0 or -ENOMEM. */
int engine_make_spare_buffers(struct uf_engine *engine);
void engine_free_spare_buffers(struct uf_engine *engine);

/* ------------------------------------------------------- handlers.c -- */

/* The fewest that each channel needs for the space. */
unsigned engine_handlers_for(const struct uf_space *space);

/* Starts handlers until each channel has `count`. 0, or -errno and none was.
 * Requires: no lock held, since pthread_create allocates. */
int engine_start_handlers(struct uf_engine *engine, unsigned count);

/* Where the stacks of handlers lie, if not where libc puts them, which may be
 * memory that they are to serve: whole pages, or NULL to leave it to libc. */
extern void *(*engine_take_stack)(size_t len_bytes);

/* Gives every handler, now and later, a buffer for pagers to fill: 2 MiB that
 * an engine without such pagers does not take. 0 or -ENOMEM. */
int engine_give_buffers(struct uf_engine *engine);

/* Makes near->handler and publishes the near handler. 0 or -errno: -EEXIST, the
 * channel has one. Requires: no lock held. */
int engine_start_near(struct channel *channel, struct near *near);

/* All of the engine's threads that read faults, the near ones included. */
unsigned engine_count_handlers(const struct uf_engine *engine);

/* Gives `background` a thread, unless it has one. 0 or -errno. Requires: no
 * lock held. */
int engine_start_background(struct background *background,
                            struct uf_engine *engine);

/* A signal engine comes, or goes. */
void engine_note_signals(bool more);

/* Around code that is not ours, by a handler thread: SIGBUS and SIGSEGV are not
 * blocked if a signal engine may raise them. What enter returns is for leave. */
bool engine_enter_user_code(void);
void engine_leave_user_code(bool entered);

/* Waits for a handler's end and frees it. */
void engine_join_handler(struct handler *handler);

/* Stops and joins all of them. */
void engine_stop_handlers(struct uf_engine *engine);

/* True if the calling thread is a handler of any engine. */
bool engine_is_handler_thread(void);

/* The handler, of any engine, that is thread `tid`; NULL if none. */
struct handler *engine_find_handler(pid_t tid);

/* Forked child: no handler of the parent exists here. */
void engine_forget_handlers(void);

/* --------------------------------------------------------- tiers.c -- */

/* Opens the best descriptor there is, or the tier asked for. 0 or -errno as
 * uf_engine_create documents. */
int engine_open_uffd(uint32_t tier_plus_one, enum uf_engine_kind kind,
                     struct uffd *ret);

/* ---------------------------------------------------------- fork.c -- */

/* The registry of engines, for fork handlers. */
void engine_register(struct uf_engine *engine);
void engine_unregister(struct uf_engine *engine);

/* All spaces that an engine serves, each pinned; the registry is held. */
void engine_visit_spaces(void (*visit)(void *arg, struct uf_space *space),
                         void *arg);

/* Whoever calls these three from fork handlers of its own says so first, and
 * none are installed for it. */
void engine_fork_is_mine(void);
void engine_fork_prepare(void);
void engine_fork_parent(void);
void engine_fork_child(void);

#endif
