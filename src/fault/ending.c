/* SPDX-License-Identifier: MIT */
/* See ending.h. */
#include "fault/ending.h"

#include "fault/install.h"
#include "fault/lookup.h"
#include "mm/shared.h"
#include "pager/pager.h"

#define NS_PER_MS 1000000ull

/* Pauses between tries of a deferred fault: doubling, within these. */
#define RETRY_FIRST_NS 50000ull
#define RETRY_LAST_NS  (10 * NS_PER_MS)

/* The pause before the next try: longer each time. */
static uint64_t retry_pause(const struct fault *fault)
{
    uint32_t doublings = fault->attempts < 8 ? fault->attempts : 8;
    uint64_t pause = RETRY_FIRST_NS << doublings;

    return pause < RETRY_LAST_NS ? pause : RETRY_LAST_NS;
}

/* Put off, if it has not been put off for too long. */
static bool may_defer(const struct fault_server *server,
                      const struct fault *fault)
{
    return fault->deferred_ns == 0 ||
           fault_clock_ns() - fault->deferred_ns < server->defer_limit_ns;
}

static struct fault_result deferred(struct uf_space *space,
                                    const struct fault *fault)
{
    if (fault->piece == 0)
        COUNT(space->counters, deferred);
    return (struct fault_result){.outcome = UF_OUTCOME_DEFERRED,
                                 .retry_ns = retry_pause(fault)};
}

/* The end of a fault that installed nothing: its thread is to look again, or to
 * find the refusal. */
struct fault_result end_without(const struct fault *fault,
                                enum uf_outcome outcome, int err)
{
    return (struct fault_result){
        .outcome = outcome, .err = err, .wake = lookup_page(fault)};
}

/* SIGBUS for the touched page. If the kernel cannot poison, the page is closed
 * instead, and the thread gets SIGSEGV. Takes no lock: either call is
 * harmless on a mapping that has changed since. */
struct fault_result end_refused(struct uf_space *space,
                                const struct fault *fault, int err)
{
    struct uffd *uffd = space->region.uffd;
    struct range page = lookup_page(fault);
    const struct vma *vma;
    struct install_result r;

    rwlock_take_read(&space->map_lock);
    fault_unsettle(space);
    if (fault->piece) {
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_STALE, err);
    }
    vma = vma_set_lookup(&space->vmas, fault->addr);
    if (atomic_load(&space->dying) || !vma) {
        rwlock_release(&space->map_lock);
        return end_without(fault, UF_OUTCOME_STALE, 0);
    }
    atomic_store(&space->has_refused, true);
    if (space->refused.words)
        resident_set(&space->refused, page);
    /* Where a page is protected that is not there, nothing else can be. */
    if ((vma->flags & VMA_CACHE) && shared_is_exact(space, vma->pager))
        uffd->ops->protect(uffd, page, false);
    r = install_refusal(uffd, page);
    if (r.verdict == INSTALL_REFUSED)
        region_forbid(&space->region, page);
    rwlock_release(&space->map_lock);

    switch (r.verdict) {
    case INSTALL_BUSY:
        fault_settle(space);
        return deferred(space, fault);
    case INSTALL_PRESENT:
        return end_without(fault, UF_OUTCOME_PRESENT, 0);
    case INSTALL_STALE:
    case INSTALL_GONE:
        return end_without(fault, UF_OUTCOME_STALE, 0);
    default:
        return end_without(fault, UF_OUTCOME_REFUSED, err);
    }
}

struct fault_result end_put_off(struct uf_space *space,
                                struct fault_server *server,
                                const struct fault *fault, int err,
                                const char *why)
{
    if (may_defer(server, fault))
        return deferred(space, fault);
    if (fault->piece == 0)
        fault_report(space, UF_ERROR_INSTALL, err, fault, NULL, why);
    return end_refused(space, fault, err);
}

/* From what the install came to, to what becomes of the fault. */
struct fault_result end_installed(struct uf_space *space,
                                  struct fault_server *server,
                                  const struct fault *fault,
                                  struct range window,
                                  const struct install_result *r)
{
    struct fault_result result = {
        .err = r->err, .npages = r->npages, .wake = r->wake};

    switch (r->verdict) {
    case INSTALL_DONE:
        result.outcome = UF_OUTCOME_INSTALLED;
        break;
    case INSTALL_PRESENT:
        result.outcome = UF_OUTCOME_PRESENT;
        break;
    case INSTALL_STALE:
    case INSTALL_GONE:
        result.outcome = UF_OUTCOME_STALE;
        return result;
    case INSTALL_BUSY:
        fault_settle(space);
        fault_wake(space, &result); /* whose pages did go in */
        return end_put_off(space, server, fault, r->err, r->why);
    case INSTALL_REFUSED:
        fault_settle(space);
        fault_wake(space, &result);
        if (fault->piece == 0)
            fault_report(space, UF_ERROR_INSTALL, r->err, fault, NULL, r->why);
        return end_refused(space, fault, r->err);
    }
    result.installed = r->done;
    result.answered = r->skipped ? window : r->done;
    return result;
}

/* Not at once. */
struct fault_result end_waiting(const struct found *found)
{
    return (struct fault_result){
        .outcome = UF_OUTCOME_DEFERRED, .waits = true, .window = found->window};
}
