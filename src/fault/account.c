/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a fault is counted, once, and told to whoever listens: the
 * counters and the thread's record before anybody wakes, the hooks after.
 */
#include "fault/engine.h"
#include "fault/fault.h"

void fault_report(const struct uf_space *space, enum uf_error_kind kind,
                  int err, const struct fault *fault, const char *pager,
                  const char *message)
{
    struct uf_error error = {
        .size = sizeof(error),
        .kind = kind,
        .error = err,
        .address = fault ? fault->addr : 0,
        .tid = fault ? fault->tid : 0,
        .pager = pager,
        .message = message,
    };

    if (space->config.on_error)
        space->config.on_error(space->config.hook_data, &error);
}

static void count_outcome(struct counters *c, enum uf_outcome outcome)
{
    switch (outcome) {
    case UF_OUTCOME_INSTALLED:
        COUNT(c, installed);
        break;
    case UF_OUTCOME_PRESENT:
        COUNT(c, present);
        break;
    case UF_OUTCOME_STALE:
        COUNT(c, stale);
        break;
    case UF_OUTCOME_REFUSED:
        COUNT(c, refused);
        break;
    case UF_OUTCOME_FOLDED:
        COUNT(c, folded);
        break;
    case UF_OUTCOME_DEFERRED:
        break;
    }
}

static void call_fault_hook(struct uf_space *space, const struct fault *fault,
                            const struct fault_result *result,
                            uint64_t service_ns)
{
    struct uf_fault_event event = {
        .size = sizeof(event),
        .address = fault->addr,
        .tid = fault->tid,
        .flags = fault->flags,
        .outcome = result->outcome,
        .start = result->installed.start,
        .end = result->installed.end,
        .received_ns = fault->received_ns,
        .service_ns = service_ns,
    };

    space->config.on_fault(space->config.hook_data, &event);
}

/* Read before it is written: it is shared by all who fault. */
static void tell_background(struct uf_engine *engine)
{
    if (engine &&
        !atomic_load_explicit(&engine->is_faulting, memory_order_relaxed))
        atomic_store_explicit(&engine->is_faulting, true, memory_order_relaxed);
}

void fault_receive(struct uf_space *space, struct fault *fault)
{
    struct counters *c = space->counters;

    if (fault->serial)
        return;
    tell_background(space->engine);
    fault->serial = space->serial;
    COUNT(c, faults);
    COUNT_ADD(c, pending, 1);
    if (fault->flags & UF_FAULT_WRITE)
        COUNT(c, faults_write);
    else
        COUNT(c, faults_read);
}

bool fault_answer_self_touch(struct self_touch *touch, struct uf_space *space,
                             uintptr_t addr)
{
    if (!fault_release_self_touch(touch, space, addr))
        return false;
    COUNT(space->counters, self_touches);
    COUNT(space->counters, refused);
    GAUGE_SUB(space->counters, pending, 1);
    fault_settle(space);
    return true;
}

void fault_count(struct uf_space *space, const struct fault *fault,
                 struct fault_result *result)
{
    uint64_t service_ns = fault_clock_ns() - fault->received_ns;
    struct thread_record *thread =
        thread_table_get(&space->threads, fault->tid);
    struct counters *c = space->counters;

    result->service_ns = service_ns;
    count_outcome(c, result->outcome);
    GAUGE_SUB(c, pending, 1);
    COUNT_ADD(c, fault_ns, service_ns);
    if (result->npages > 1)
        COUNT_ADD(c, pages_prefetched, result->npages - 1);
    histogram_add(&c->fault_time, service_ns);

    if (fault->flags & UF_FAULT_WRITE)
        COUNT(thread, faults_write);
    else
        COUNT(thread, faults_read);
    COUNT_ADD(thread, pages_installed, result->npages);
    COUNT_ADD(thread, fault_ns, service_ns);
}

void fault_trace(struct uf_space *space, const struct fault *fault,
                 const struct fault_result *result)
{
    if (space->config.on_fault)
        call_fault_hook(space, fault, result, result->service_ns);
}
