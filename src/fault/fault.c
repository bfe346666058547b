/* SPDX-License-Identifier: MIT */
/* See fault.h. */
#include "fault/fault.h"

#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/slab.h"
#include "fault/ahead.h"
#include "fault/dirty.h"
#include "fault/ending.h"
#include "fault/flight.h"
#include "fault/huge.h"
#include "fault/install.h"
#include "fault/lookup.h"
#include "fault/recording.h"
#include "fault/window.h"
#include "mm/shared.h"
#include "pager/cache.h"
#include "pager/pager.h"

uint64_t fault_clock_ns(void)
{
    return clock_ns();
}

size_t fault_buffer_bytes(void)
{
    return WINDOW_PAGES_MAX * page_size() + page_size();
}

int fault_server_init(struct fault_server *server)
{
    server->buffer_bytes = fault_buffer_bytes();
    server->buffer = slab_pages(server->buffer_bytes);
    if (server->buffer && server->flights && flight_init(server) != 0)
        fault_server_destroy(server);
    return server->buffer ? 0 : -ENOMEM;
}

void fault_server_destroy(struct fault_server *server)
{
    flight_destroy(server);
    slab_pages_free(server->buffer, server->buffer_bytes);
    server->buffer = NULL;
}

bool fault_calls_hooks(const struct uf_space *space)
{
    return space->config.on_error || space->config.on_fault;
}

bool fault_runs_user_code(const struct uf_space *space)
{
    return fault_calls_hooks(space) || atomic_load(&space->has_pagers);
}

void fault_unsettle(struct uf_space *space)
{
    atomic_fetch_add(&space->unsettled, 1);
}

void fault_settle(struct uf_space *space)
{
    atomic_fetch_sub(&space->unsettled, 1);
}

void fault_wake(struct uf_space *space, const struct fault_result *result)
{
    install_wake(space->region.uffd, result->wake);
}

static void count_install(struct uf_space *space,
                          const struct install_result *r)
{
    struct counters *c = space->counters;
    size_t fresh = 0;

    COUNT_ADD(c, installs, r->calls);
    if (r->retries)
        COUNT_ADD(c, install_retries, r->retries);
    if (!range_is_empty(r->present))
        fresh += resident_set(&space->resident, r->present);
    if (r->npages > 0) {
        COUNT_ADD(c, pages_installed, r->npages);
        if (r->npages_zero)
            COUNT_ADD(c, pages_zero, r->npages_zero);
        fresh += resident_set(&space->resident, r->done);
    }
    if (fresh)
        gauge_peak(&c->resident_peak, COUNT_ADD(c, resident, fresh) + fresh);
}

/* Installs under the shared map lock; the caller holds it. */
static struct install_result install_locked(struct uf_space *space,
                                            const struct fault *fault,
                                            const struct found *found,
                                            struct range window,
                                            const void *bytes)
{
    struct uffd *uffd = space->region.uffd;
    bool protect = found->is_shared ? found->is_exact : dirty_protects(space);
    struct install what = {
        .uffd = uffd,
        .window = window,
        .touched = fault->addr,
        .bytes = bytes,
        /* The page of zeros cannot go in protected; the kernel's own record
         * knows what takes its place. */
        .write = (fault->flags & UF_FAULT_WRITE) ||
                 (protect && !uffd->protects_async),
        .again = fault->attempts > 0,
        .protect = protect,
    };
    struct install_result r = install_pages(&what);

    count_install(space, &r);
    return r;
}

/* For whom asks which pages are touched. */
static void note_touch_locked(struct uf_space *space, const struct fault *fault,
                              enum install_verdict verdict)
{
    if (fault->piece)
        return;
    if (space->recording && verdict == INSTALL_DONE)
        recording_note(space->recording, fault->addr);
    if (space->ahead && verdict == INSTALL_DONE)
        ahead_note(space->ahead, fault->addr);
    if (space->ahead && verdict == INSTALL_PRESENT)
        ahead_note_there(space->ahead, fault->addr);
}

/* Zeros for memory with the huge policy. */
static struct install_result install_huge_locked(struct uf_space *space,
                                                 const struct fault *fault,
                                                 const struct found *found)
{
    struct install what = {
        .uffd = space->region.uffd,
        .window = found->window,
        .touched = fault->addr,
        .write = (fault->flags & UF_FAULT_WRITE) != 0,
        .protect = dirty_protects(space),
    };
    bool huge;
    struct install_result r = huge_install_locked(space, &what, &huge);

    count_install(space, &r);
    if (!huge)
        huge_note_locked(space, found->vma, r.done);
    return r;
}

static enum fill_verdict
ask(struct uf_space *space, struct fault_server *server,
    const struct fault *fault, const struct found *found, struct range part,
    size_t *ret_len, int *ret_err, const char **ret_why)
{
    struct uf_fill request = {
        .size = sizeof(request),
        .offset = found->offset + (part.start - found->window.start),
        .len_bytes = range_len(part),
        .buffer = server->buffer,
        .page_bytes = page_size(),
        .flags = ((fault->flags & UF_FAULT_WRITE) ? UF_FILL_WRITE : 0) |
                 (fault->piece ? UF_FILL_AHEAD : 0) |
                 (found->is_shared ? FILL_FOR_CACHE : 0),
        .tid = fault->tid,
    };
    uint64_t begun = fault_clock_ns();
    enum fill_verdict verdict =
        server->at_once
            ? pager_fill_at_once(found->pager, &request, ret_len, ret_err,
                                 ret_why)
            : pager_fill(found->pager, &request, ret_len, ret_err, ret_why);

    if (server->at_once && verdict == FILL_AGAIN)
        return verdict;
    COUNT(space->counters, pager_calls);
    COUNT_ADD(space->counters, pager_ns, fault_clock_ns() - begun);
    if (fault_revoke_self_touch(server->self_touch, found->pager->name)) {
        *ret_why = "touched memory of a space from its fill";
        return FILL_LIED;
    }
    if (verdict == FILL_OK)
        COUNT_ADD(space->counters, pager_bytes, *ret_len);
    if (verdict == FILL_FAILED)
        COUNT(space->counters, pager_failures);
    return verdict;
}

/*
 * Has the pager fill the buffer with pages that include the touched one: the
 * whole window first; from the touched page on if the answer stopped short of
 * it; the touched page alone if the window could not be had. *ret_part is what
 * the buffer holds.
 */
static enum fill_verdict fill(struct uf_space *space,
                              struct fault_server *server,
                              const struct fault *fault,
                              const struct found *found, struct range *ret_part,
                              int *ret_err, const char **ret_why)
{
    struct range page = lookup_page(fault);
    struct range part = found->window;
    enum fill_verdict verdict;
    size_t len;

    for (;;) {
        verdict =
            ask(space, server, fault, found, part, &len, ret_err, ret_why);
        if (verdict == FILL_OK && part.start + len > page.start)
            break;
        if (verdict == FILL_OK)
            part.start = page.start; /* stopped short */
        else if (verdict == FILL_FAILED && range_len(part) > page_size())
            part = page; /* perhaps it was a neighbour that failed */
        else
            return verdict;
    }
    *ret_part = (struct range){part.start, part.start + len};
    return FILL_OK;
}

/* Of a shared mapping, unless the file was cut off since the fill. */
static struct install_result install_shared_locked(struct uf_space *space,
                                                   const struct fault *fault,
                                                   const struct found *found,
                                                   struct range window,
                                                   const void *bytes)
{
    struct pager_cache *cache = cache_of(found->pager);
    struct install_result r = {.verdict = INSTALL_STALE,
                               .wake = lookup_page(fault)};

    if (!cache_begin_install(cache, found->cuts))
        return r;
    r = install_locked(space, fault, found, window, bytes);
    cache_end_install(cache);
    return r;
}

struct install_result fault_install(struct uf_space *space,
                                    const struct fault *fault,
                                    const struct found *found,
                                    const void *bytes, struct range *filled)
{
    struct install_result r = {.verdict = INSTALL_STALE};
    uintptr_t start = filled->start;

    rwlock_take_read(&space->map_lock);
    fault_unsettle(space);
    if (lookup_still_locked(space, fault, found, filled)) {
        r = (found->is_shared ? install_shared_locked : install_locked)(
            space, fault, found, *filled,
            (const char *)bytes + (filled->start - start));
        note_touch_locked(space, fault, r.verdict);
    } else {
        r.wake = lookup_page(fault);
    }
    rwlock_release(&space->map_lock);
    return r;
}

static struct fault_result
install_filled(struct uf_space *space, struct fault_server *server,
               const struct fault *fault, const struct found *found,
               const void *bytes, struct range filled)
{
    struct install_result r =
        fault_install(space, fault, found, bytes, &filled);

    return end_installed(space, server, fault, filled, &r);
}

/* Without a fill: from where the bytes are. False: they are not there, or not
 * any more. */
static bool install_viewed(struct uf_space *space, struct fault_server *server,
                           const struct fault *fault, const struct found *found,
                           struct fault_result *ret)
{
    struct uf_fill want = {.size = sizeof(want),
                           .offset = found->offset,
                           .len_bytes = range_len(found->window),
                           .page_bytes = page_size()};
    struct range part = found->window;
    struct install_result r;
    const void *bytes = NULL;

    if (found->pager->view && !found->is_shared)
        bytes = found->pager->view(found->pager->context, &want);
    if (!bytes)
        return false;
    r = fault_install(space, fault, found, bytes, &part);
    if (r.verdict == INSTALL_REFUSED && r.err == -EFAULT) {
        fault_settle(space);
        install_wake(space->region.uffd, r.wake); /* whose pages did go in */
        return false;
    }
    COUNT(space->counters, pager_calls);
    COUNT_ADD(space->counters, pager_bytes, want.len_bytes);
    *ret = end_installed(space, server, fault, part, &r);
    return true;
}

static struct fault_result resolve_by_pager(struct uf_space *space,
                                            struct fault_server *server,
                                            const struct fault *fault,
                                            const struct found *found)
{
    const char *name = found->pager->name;
    const char *why = NULL;
    struct range filled = {0, 0};
    struct fault_result result;
    int err = -EIO;

    if (install_viewed(space, server, fault, found, &result))
        return result;
    if (flight_begin(space, server, fault, found, &filled))
        return install_filled(space, server, fault, found,
                              flight_bytes(server->flight, filled), filled);
    switch (fill(space, server, fault, found, &filled, &err, &why)) {
    case FILL_OK:
        return install_filled(space, server, fault, found, server->buffer,
                              filled);
    case FILL_AGAIN:
        if (server->at_once)
            return end_waiting(found);
        return end_put_off(space, server, fault, -EAGAIN,
                           "the pager said -EAGAIN for too long");
    case FILL_FAILED:
        if (fault->piece)
            break;
        fault_report(space, UF_ERROR_PAGER_FAILED, err, fault, name,
                     "the pager could not supply the page");
        break;
    case FILL_LIED:
        COUNT(space->counters, pager_lies);
        fault_report(space, UF_ERROR_PAGER_LIED, -EPROTO, fault, name, why);
        break;
    }
    return end_refused(space, fault, err);
}

/* The other pages of a strided stream. What cannot be had is left to its own
 * touch. */
static void install_strided_locked(struct uf_space *space,
                                   const struct fault *fault,
                                   const struct found *found,
                                   struct install_result *sum)
{
    struct fault other = *fault;

    for (uint32_t i = 1; i < found->count; i++) {
        uintptr_t page = align_down(fault->addr, page_size()) +
                         (uintptr_t)(found->stride * (int64_t)i);
        struct range part = {page, page + page_size()};
        struct install_result r;

        if (!range_covers(found->vma, part) || part.end < part.start ||
            resident_test(&space->resident, page) ||
            (space->has_guards && resident_test(&space->guards, page)))
            return;
        other.addr = page;
        r = install_locked(space, &other, found, part, NULL);
        if (r.verdict != INSTALL_DONE)
            return;
        sum->npages += r.npages;
        /* Wakes whoever touched one of them meanwhile, and some in between for
         * nothing. */
        sum->wake = range_hull(sum->wake, r.wake);
    }
}

/* Of the zero pager; releases the map lock. */
static struct fault_result resolve_by_zeros(struct uf_space *space,
                                            struct fault_server *server,
                                            const struct fault *fault,
                                            const struct found *found)
{
    struct install_result installed;

    fault_unsettle(space);
    if (found->huge)
        installed = install_huge_locked(space, fault, found);
    else
        installed = install_locked(space, fault, found, found->window, NULL);
    if (found->has_policy && !found->huge)
        huge_note_locked(space, found->vma, installed.done);
    if (found->count > 1 && installed.verdict == INSTALL_DONE)
        install_strided_locked(space, fault, found, &installed);
    note_touch_locked(space, fault, installed.verdict);
    rwlock_release(&space->map_lock);
    return end_installed(space, server, fault, found->window, &installed);
}

struct fault_result fault_resolve(struct uf_space *space,
                                  struct fault_server *server,
                                  const struct fault *fault)
{
    struct install_result installed;
    struct fault_result result;
    struct found found;

    CHECK(lock_none_held_after(LOCK_RANK_READER));
    if (!lookup_begin(space, fault, &found)) {
        fault_unsettle(space);
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_STALE, 0);
    }
    if (found.pager->is_zero)
        return resolve_by_zeros(space, server, fault, &found);
    if (found.is_there) {
        installed = (struct install_result){.present = lookup_page(fault)};
        fault_unsettle(space);
        count_install(space, &installed);
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_PRESENT, 0);
    }
    /* Another handler was faster: no fill for what is there. If it is not there
     * after all, its thread comes back and `attempts` says so. */
    if (fault->attempts == 0 && fault->tid != 0 &&
        resident_test(&space->resident, fault->addr)) {
        fault_unsettle(space);
        note_touch_locked(space, fault, INSTALL_PRESENT);
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_PRESENT, 0);
    }
    /* The map has changed since the server was made for it: the toucher comes
     * again. */
    if (!server->buffer ||
        (server->in_signal && !pager_runs_in_signals(found.pager))) {
        fault_unsettle(space);
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_STALE, 0);
    }
    /* Nor may the last reference of a pager be dropped then that is foreign, or
     * has something to write back. */
    if (server->at_once &&
        (!found.pager->fill_at_once || cache_of(found.pager))) {
        rwlock_release(&space->map_lock);
        return end_waiting(&found);
    }
    pager_ref(found.pager);
    rwlock_release(&space->map_lock);
    result = resolve_by_pager(space, server, fault, &found);
    if (!server->at_once)
        pager_unref(found.pager);
    else if (!pager_unref_unless_last(found.pager))
        server->parting = found.pager;
    return result;
}
