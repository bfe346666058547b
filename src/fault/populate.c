/* SPDX-License-Identifier: MIT */
/*
 * Pages made resident by a call and not by a touch: uf_populate, locked spaces,
 * and the page of zeros that frees a handler thread from its own fault.
 *
 * The same steps as a fault, in the calling thread, with nobody asleep.
 */
#include "fault/fault.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#include "base/check.h"
#include "base/sys.h"
#include "base/thread_id.h"
#include "fault/install.h"
#include "fault/window.h"
#include "mm/advice.h"
#include "mm/map.h"
#include "pager/pager.h"

/* Drops the page of zeros if its VMA should have had other bytes. */
static void take_back(struct self_touch_page *given)
{
    struct uf_space *space = given->space;
    uintptr_t start = align_down(given->addr, page_size());
    struct range page = {start, start + page_size()};
    struct vma *vma;

    rwlock_take_write(&space->map_lock);
    vma = vma_set_lookup(&space->vmas, start);
    if (given->given && vma && !vma->pager->is_zero &&
        region_drop(&space->region, page) == 0)
        GAUGE_SUB(space->counters, resident,
                  resident_clear(&space->resident, page));
    rwlock_release(&space->map_lock);
}

static void forget_note(struct self_touch_page *note)
{
    if (note->space) {
        take_back(note);
        space_unpin(note->space);
    }
    note->space = NULL;
}

/* The place for the next note; the oldest makes room for it. */
static struct self_touch_page *next_note(struct self_touch *touch)
{
    unsigned n = atomic_load(&touch->count);
    struct self_touch_page *note = &touch->pages[n % SELF_TOUCH_PAGES];

    if (n >= SELF_TOUCH_PAGES)
        forget_note(note);
    return note;
}

bool fault_release_self_touch(struct self_touch *touch, struct uf_space *space,
                              uintptr_t addr)
{
    uintptr_t page = align_down(addr, page_size());
    struct install what = {
        .uffd = space->region.uffd,
        .window = {page, page + page_size()},
        .touched = addr,
        .write = true,
    };
    struct install_result r = {.verdict = INSTALL_STALE};
    struct self_touch_page *note = next_note(touch);

    space_pin(space);
    *note = (struct self_touch_page){space, addr, true};
    atomic_fetch_add(&touch->count, 1);
    rwlock_take_read(&space->map_lock);
    atomic_fetch_add(&space->unsettled, 1);
    if (!atomic_load(&space->dying) && vma_set_lookup(&space->vmas, addr)) {
        r = install_pages(&what);
        if (r.verdict == INSTALL_DONE)
            COUNT_ADD(space->counters, resident,
                      resident_set(&space->resident, what.window));
    }
    /* A page that was there is the program's, and not taken back. */
    note->given = r.verdict == INSTALL_DONE;
    rwlock_release(&space->map_lock);
    if (r.verdict != INSTALL_BUSY && r.verdict != INSTALL_REFUSED)
        return true;
    /* Still asleep: noted when it is tried again. */
    atomic_fetch_sub(&touch->count, 1);
    fault_settle(space);
    forget_note(note);
    return false;
}

/* Takes back what was given and empties the notes into ret[SELF_TOUCH_PAGES],
 * still pinned. Returns how many. */
static unsigned collect_notes(struct self_touch *touch,
                              struct self_touch_page *ret)
{
    unsigned n = atomic_load(&touch->count), kept = 0;

    for (unsigned i = 0; i < n && i < SELF_TOUCH_PAGES; i++) {
        if (!touch->pages[i].space)
            continue;
        take_back(&touch->pages[i]);
        ret[kept++] = touch->pages[i];
    }
    atomic_store(&touch->count, 0);
    return kept;
}

bool fault_revoke_self_touch(struct self_touch *touch, const char *pager)
{
    struct self_touch_page pages[SELF_TOUCH_PAGES];
    struct fault fault = {.tid = 0};
    unsigned n;

    if (!touch || atomic_load(&touch->count) == 0)
        return false;
    n = collect_notes(touch, pages);
    fault.tid = thread_id();
    for (unsigned i = 0; i < n; i++) {
        fault.addr = pages[i].addr;
        fault_report(pages[i].space, UF_ERROR_SELF_TOUCH, -EDEADLK, &fault,
                     pager, "a handler thread touched memory of a space");
        space_unpin(pages[i].space);
    }
    /* What the error hook itself touched is counted, and not told to it: that
     * might have no end. */
    n = collect_notes(touch, pages);
    for (unsigned i = 0; i < n; i++)
        space_unpin(pages[i].space);
    return true;
}

/* ---- Populating a range ------------------------------------------------ */

/* A mapping's part of the range, good without the lock. */
struct part {
    struct range range;
    uint32_t flags; /* VMA_* */
};

/* The first mapping in [left), with the neighbours that are one with it but for
 * how the host came by them: what stops one stops all. */
static bool find_part(struct uf_space *space, struct range left,
                      struct part *ret)
{
    const struct vma *v;
    rwlock_take_read(&space->map_lock);
    v = vma_set_find_intersection(&space->vmas, left);
    if (v) {
        struct range run = {v->start, map_run_end(space, v)};

        *ret = (struct part){range_clip(run, left), v->flags};
    }
    rwlock_release(&space->map_lock);
    return v != NULL;
}

/* The first page of [range) that is not resident, or range.end. -EFAULT: it is
 * a guard, which nothing populates. */
static int next_absent(struct uf_space *space, struct range range,
                       uintptr_t *ret_addr)
{
    uintptr_t addr = range.start;
    int err = 0;

    rwlock_take_read(&space->map_lock);
    while (addr < range.end && resident_test(&space->resident, addr))
        addr += page_size();
    if (addr < range.end && space->has_guards &&
        resident_test(&space->guards, addr))
        err = -EFAULT;
    rwlock_release(&space->map_lock);
    *ret_addr = addr;
    return err;
}

static void pause_ns(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    nanosleep(&ts, NULL);
}

enum uf_outcome fault_bring_in(struct uf_space *space,
                               struct fault_server *server, uintptr_t addr,
                               uint32_t flags)
{
    struct fault fault = {.addr = addr, .flags = flags};
    struct fault_result r;

    for (;;) {
        r = fault_resolve(space, server, &fault);
        if (r.outcome != UF_OUTCOME_DEFERRED)
            break;
        if (fault.deferred_ns == 0)
            fault.deferred_ns = fault_clock_ns();
        fault.attempts++;
        pause_ns(r.retry_ns);
    }
    fault_settle(space);
    fault_wake(space, &r);
    COUNT_ADD(space->counters, pages_prefetched, r.npages);
    return r.outcome;
}

/* False: what is there is a refusal (UFFDIO_POISON), and no page. */
static bool is_resident(struct uf_space *space, uintptr_t addr)
{
    bool resident;

    rwlock_take_read(&space->map_lock);
    resident = resident_test(&space->resident, addr);
    rwlock_release(&space->map_lock);
    return resident;
}

/* One page (and its window) as a touch would bring it in. */
static int populate_one(struct uf_space *space, struct fault_server *server,
                        uintptr_t addr, bool write)
{
    switch (fault_bring_in(space, server, addr, write ? UF_FAULT_WRITE : 0)) {
    case UF_OUTCOME_REFUSED:
        return -EFAULT;
    case UF_OUTCOME_STALE:
        return -ENOMEM; /* unmapped meanwhile */
    case UF_OUTCOME_PRESENT:
        return is_resident(space, addr) ? 0 : -EFAULT;
    default:
        return 0;
    }
}

/* MADV_POPULATE_READ wants a mapping that may be read, mm_populate does not:
 * mlock(2) populates as that does. */
static int populate_unreadable(const struct part *part)
{
    void *p = (void *)part->range.start;
    size_t len = range_len(part->range);
    int err = sys->mlock2(p, len, 0) == 0 ? 0 : -EFAULT;

    if (part->flags & VMA_LOCKED)
        sys->mlock2(p, len, MLOCK_ONFAULT);
    else
        sys->munlock(p, len);
    return err;
}

/* What the kernel serves, or may finish: a shared page of zeros becomes a page
 * of its own under MADV_POPULATE_WRITE. */
static int populate_by_kernel(const struct part *part, bool write)
{
    if (!write && !(part->flags & VMA_READ))
        return populate_unreadable(part);
    if (sys->madvise((void *)part->range.start, range_len(part->range),
                     write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0)
        return 0;
    return errno == EINVAL ? -EFAULT : -errno;
}

static int populate_part(struct uf_space *space, struct fault_server *server,
                         const struct part *part, bool write)
{
    uintptr_t addr = part->range.start;
    int err;

    if (!space->region.uffd || space->populates_by_kernel ||
        vma_flags_by_kernel(part->flags))
        return populate_by_kernel(part, write);
    for (;;) {
        struct range left = {addr, part->range.end};

        err = next_absent(space, left, &addr);
        if (err || addr >= part->range.end)
            break;
        err = populate_one(space, server, addr, write);
        if (err)
            return err;
        addr += page_size();
    }
    if (!err && write)
        populate_by_kernel(part, true); /* as well as it can */
    return err;
}

/* How `mode` touches a mapping. 0, or the -errno of what it may not. */
static int decide(const struct part *part, enum populate_mode mode,
                  bool *ret_write)
{
    uint32_t flags = part->flags;

    switch (mode) {
    case POPULATE_AUTO:
    case POPULATE_LOCKED:
        /* populate_vma_page_range: a private page is copied now, not later. */
        *ret_write = (flags & (VMA_WRITE | VMA_SHARED)) == VMA_WRITE;
        return (flags & VMA_PROT) ? 0 : -EFAULT;
    case POPULATE_READ:
        *ret_write = false;
        return (flags & VMA_READ) ? 0 : -EINVAL;
    case POPULATE_WRITE:
        *ret_write = true;
        return (flags & VMA_WRITE) ? 0 : -EINVAL;
    }
    return -EINVAL;
}

static int populate_range(struct uf_space *space, struct fault_server *server,
                          struct range range, enum populate_mode mode,
                          bool go_on)
{
    bool by_advice = mode == POPULATE_READ || mode == POPULATE_WRITE;
    struct range left = range;
    struct part part;
    int err;

    for (; find_part(space, left, &part); left.start = part.range.end) {
        bool write;

        if (by_advice && part.range.start > left.start)
            return -ENOMEM;
        if (!by_advice && (part.flags & VMA_LOCKONFAULT))
            continue;
        if (mode == POPULATE_LOCKED && !(part.flags & VMA_LOCKED))
            continue;
        err = decide(&part, mode, &write);
        if (!err)
            err = populate_part(space, server, &part, write);
        if (err && !go_on)
            return err;
    }
    return by_advice && left.start < range.end ? -ENOMEM : 0;
}

int fault_populate(struct uf_space *space, struct range range,
                   enum populate_mode mode, bool go_on)
{
    struct fault_server server = {.defer_limit_ns = 10000000000ull};
    int err;

    if (space->region.uffd && fault_runs_user_code(space) &&
        !space->populates_by_kernel) {
        err = fault_server_init(&server);
        if (err)
            return err;
    }
    err = populate_range(space, &server, range, mode, go_on);
    fault_server_destroy(&server);
    return err;
}
