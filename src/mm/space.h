/* SPDX-License-Identifier: MIT */
/*
 * space: one reservation, its mappings, break, limits and accounting; the
 * mm_struct of ufault.
 *
 *     base                                                         base + len
 *     |  heap VMA, open (RW)  |  closed (PROT_NONE)  | mmap |   closed | mmap |
 *     start_brk               brk, rounded up to a page
 *
 * Invariants (space_is_valid checks them in checking builds):
 *   S1. Every VMA lies inside the region; no two overlap; none is empty.
 *   S2. The heap is what is mapped in [start_brk, align_up(brk)): as in the
 *       kernel it is a range, and a program may unmap parts of it.
 *   S3. total_vm, data_vm, ... and map_count agree with the VMAs.
 *   S4. A page outside every VMA is not resident and not open, but for the
 *       pages below a stack that a touch may make it grow to (stack.c).
 *   S5. brk >= start_brk.
 *
 * A change is prepare (reserve records), host call (the one step that may
 * fail), commit (cannot fail), all under the exclusive map lock. Faults look up
 * and install under the shared one, so no page appears in a range after the
 * call that removed it has returned.
 */
#ifndef UF_MM_SPACE_H
#define UF_MM_SPACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/range.h"
#include "base/resident.h"
#include "host/region.h"
#include "mm/vma_set.h"
#include "trace/counters.h"
#include "trace/threads.h"
#include "ufault/ufault.h"

#define SPACE_MAGIC 0x75667370u /* "ufsp" */

/* Hooks and the like: fixed when the space is made. */
struct space_config {
    uint32_t window_pages;
    uint32_t flags; /* UF_SPACE_* */
    enum uf_fork fork;
    bool zero_only; /* UF_FORK_ZERO was asked for: no other pager */
    uf_error_hook on_error;
    uf_fault_hook on_fault;
    void *hook_data;
};

/* Pages mapped, as mm_struct counts them. */
struct vm_pages {
    size_t total;
    size_t data; /* private, writable, no stack */
    size_t exec; /* executable, not writable, no stack */
    size_t stack;
    size_t shared;
    size_t locked;
};

/* Who wants to know what was written (fault/dirty.h). */
enum space_watcher {
    WATCH_USER,  /* uf_dirty_*  */
    WATCH_IMAGE, /* image/: since the last image of the space */
    WATCH_RESET, /* image/: since the last reset to one */
    SPACE_WATCHERS
};

struct ahead;
struct uf_pool;
struct background;
struct compare;
struct recording;
struct shared_note;
struct stream_slot;

/* What a space was made from, and goes back to. */
struct space_origin {
    /* As uf_space_reset. Requires: no lock held. */
    int (*reset)(struct uf_space *space);
    /* The space is gone. */
    void (*release)(void *made_from);
};

struct uf_space {
    _Atomic uint32_t magic;
    struct space_config config;
    struct region region;
    struct uf_pager *heap_pager; /* one reference */
    /* Some mapping has, or had, a pager with a fill: serving a fault may run
     * code that is not ours. Set before the mapping is made, never cleared. */
    atomic_bool has_pagers;
    /* Some mapping is, or was, of a pager's cache. Never cleared. */
    atomic_bool has_shared;
    /* Some page was poisoned: what is not resident may not be empty. */
    atomic_bool has_refused;

    struct rwlock map_lock; /* guards from here to `resident` */
    struct vma_set vmas;
    uintptr_t start_brk;
    uintptr_t brk;
    uint64_t generation; /* the last one given to a VMA */
    uint64_t limit_data; /* bytes */
    uint64_t limit_as;   /* bytes */
    uint64_t limit_stack;
    uint64_t limit_memlock;
    uint64_t limit_map_count; /* mappings */
    uint64_t data_extra;      /* bytes of static data that RLIMIT_DATA counts */
    struct vm_pages pages;
    uint32_t def_flags; /* VMA_LOCK_MASK: what mlockall(FUTURE) asked for */
    bool has_guards;    /* guards is in use */
    bool stack_refused; /* a limit kept a stack from growing: stack.c */
    /* Callers of space_mmap and the like have not the engine's descriptor:
     * what they populate the kernel touches for them. */
    bool populates_by_kernel;

    struct resident resident; /* set under the shared, cleared under the
                                 exclusive map lock */
    /* Refused pages, where the kernel does not say of a touch that it was
     * refused before (UF_ENGINE_SIGNAL); no words if not in use. Set under the
     * shared lock. */
    struct resident refused;
    struct resident guards; /* pages with a guard marker (MADV_GUARD_INSTALL):
                               no install may go over them */
    /* Pages that are not what they were when a watcher began, as far as is
     * known (fault/dirty.h); no words if it does not watch. Set under the shared
     * lock. */
    struct resident changed[SPACE_WATCHERS];
    bool watched; /* some of `changed` is in use */
    int written;  /* 1 + a pagemap of scan.h, where the kernel keeps a record */
    struct compare *compare; /* fault/compare.h; NULL: pages are protected */
    uint8_t image_id[16];    /* that changed[WATCH_IMAGE] is about; image/ */
    uintptr_t changed_from;  /* what is below was collected; 0: all was */
    struct uf_pool *_Atomic lent_by; /* that it is out of; snapshot/clones.c */
    /* The fault layer's: what is noted of each touch, or NULL. */
    struct recording *recording; /* fault/recording.h */
    struct ahead *ahead;         /* fault/ahead.h */
    struct shared_note *closed;  /* shared.h: to be written back, unlocked */
    struct counters *counters;
    struct counters *own_counters; /* NULL if the caller supplied them */
    struct thread_table threads;

    /* The fault layer's; mm only carries them. */
    struct stream_slot *_Atomic streams; /* fault/streams.h; NULL until used */
    /* fault/background.h: of the engine, as soon as some memory of the space
     * has the huge policy; else NULL. */
    struct background *_Atomic background;
    atomic_bool imaging; /* an image of it is being made; image/record.h */
    const struct space_origin *origin; /* or NULL */
    void *made_from;                   /* the origin's */
    size_t made_own;                   /* its pages at the first reset */
    uint64_t made_epoch;               /* a template's: mm/layout.h */
    struct uf_engine *engine;          /* NULL in a forked child without one */
    struct uf_engine *own_engine;      /* made for this space alone, or NULL */
    uint64_t serial;       /* of this attachment, never used again */
    _Atomic uint32_t pins; /* faults being served: destroy waits for 0 */
    /* Faults whose thread may have been woken and that are not counted yet;
     * space_stats waits for 0, so that a thread finds its own touches counted.
     * No foreign code runs meanwhile. */
    _Atomic uint32_t unsettled;
    atomic_bool dying; /* set under the exclusive map lock */
};

/* How to make a space beyond what the public options say. */
struct space_params {
    const struct uf_space_opts *opts; /* valid, see space_opts_check */
    /* Take over this process's own heap: a NATIVE region. opts->len_bytes and
     * opts->address are not used then. */
    bool native;
    struct range native_range;  /* from the kernel's start_brk, page-aligned */
    uintptr_t native_brk;       /* the break now: below it stays as it is */
    uint64_t native_data_extra; /* end_data - start_data, for RLIMIT_DATA */
    struct counters *counters;  /* where to count; NULL: own memory */
};

/* 0, or -EINVAL as uf_space_create documents. */
int space_opts_check(const struct uf_space_opts *opts);

/* 0 or -errno. The space serves no faults yet: fault/engine.h's
 * engine_attach is next. */
int space_create(const struct space_params *params,
                 struct uf_space **ret_space);

/* Requires: detached from its engine, no fault in flight. Unmaps (RESERVED) and
 * frees everything. */
void space_destroy(struct uf_space *space);

/* True if `space` looks like a live one. */
bool space_is_live(const struct uf_space *space);

/* The parts of the region that are mapped now and may take a userfaultfd: all
 * of a RESERVED one, the heap of a NATIVE one. May be empty. */
struct range space_registrable(const struct uf_space *space);

/* Registers all of that with region.uffd, but for what the kernel serves. 0 or
 * -errno. */
int space_register(struct uf_space *space);

/* Counts into `counters` from now on, zeroed memory that outlives this: gauges
 * as they are. Requires: nobody else about. */
void space_count_into(struct uf_space *space, struct counters *counters);

/* In a forked child, before it is served again: makes the space agree with what
 * the kernel has left of its memory. Requires: nobody else about. */
void space_inherit(struct uf_space *space);

/*
 * A pinned space is not freed: space_await_unpinned returns when the last pin
 * is gone. Pins are short, except where a pager blocks.
 */
void space_pin(struct uf_space *space);
void space_unpin(struct uf_space *space);
void space_await_unpinned(struct uf_space *space);

/* S1..S5. Requires: map lock held or nobody else about. */
bool space_is_valid(const struct uf_space *space);

/* -------------------------------------------------------------- brk.c -- */

/* uf_brk; *ret_grown is what was added (empty if nothing). */
uintptr_t space_brk(struct uf_space *space, uintptr_t brk,
                    struct range *ret_grown);

/* uf_sbrk. */
intptr_t space_sbrk(struct uf_space *space, intptr_t increment,
                    struct range *ret_grown);

/* ----------------------------------------------------------- limits.c -- */

int space_set_limit(struct uf_space *space, enum uf_limit which,
                    uint64_t bytes);
int space_get_limit(struct uf_space *space, enum uf_limit which,
                    uint64_t *ret_bytes);

/* check_data_rlimit of <linux/mm.h>: may the break be at `brk`? */
bool limits_allow_brk_locked(const struct uf_space *space, uintptr_t brk);

/* may_expand_vm of mm/vma.c: may npages more with these VMA_* be mapped? */
bool limits_allow_pages_locked(const struct uf_space *space, size_t npages,
                               uint32_t flags);

/* mlock_future_ok of mm/mmap.c: the same for locked memory. */
bool limits_allow_locking_locked(const struct uf_space *space, size_t npages,
                                 uint32_t flags);

/* can_do_mlock: false if nothing may be locked at all. */
bool limits_can_lock_locked(const struct uf_space *space);

/* Counts npages with these VMA_* as mapped / unmapped (negative); updates the
 * gauges. */
void limits_account_locked(struct uf_space *space, ssize_t npages,
                           uint32_t flags);
void limits_count_pages(struct vm_pages *pages, ssize_t npages, uint32_t flags);

/* ------------------------------------------------------------- show.h -- */

int space_walk(struct uf_space *space,
               int (*visit)(void *data, const struct uf_vma_info *vma),
               void *data);
ssize_t space_maps(struct uf_space *space, char *text, size_t len_bytes);
ssize_t space_smaps(struct uf_space *space, char *text, size_t len_bytes);
ssize_t space_status(struct uf_space *space, char *text, size_t len_bytes);
void space_stats(struct uf_space *space, struct uf_stats *stats);
size_t space_thread_stats(struct uf_space *space,
                          struct uf_thread_stats *threads, size_t max);

#endif
