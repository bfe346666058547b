/* SPDX-License-Identifier: MIT */
/* See deferred.h. */
#include "fault/deferred.h"

#include <errno.h>

#include "base/check.h"
#include "base/slab.h"

int deferred_init(struct deferred_queue *q)
{
    q->slots = slab_pages(sizeof(*q->slots));
    if (!q->slots)
        return -ENOMEM;
    lock_init(&q->lock, LOCK_RANK_QUEUE);
    return 0;
}

void deferred_destroy(struct deferred_queue *q)
{
    lock_destroy(&q->lock);
    slab_pages_free(q->slots, sizeof(*q->slots));
}

void deferred_fork_child(struct deferred_queue *q)
{
    lock_fork_child(&q->lock);
    q->ntimed = 0;
    q->nwaiting = 0;
    q->inside = 0;
}

bool deferred_put(struct deferred_queue *q, const struct fault *fault,
                  uint64_t due_ns)
{
    bool room;

    lock_take(&q->lock);
    room = q->ntimed < DEFERRED_MAX;
    if (room)
        q->slots->timed[q->ntimed++] = (struct deferred_entry){*fault, due_ns};
    lock_release(&q->lock);
    return room;
}

bool deferred_take_due(struct deferred_queue *q, uint64_t now_ns,
                       struct fault *ret)
{
    bool found = false;

    lock_take(&q->lock);
    for (unsigned i = 0; i < q->ntimed && !found; i++) {
        if (q->slots->timed[i].due_ns > now_ns)
            continue;
        *ret = q->slots->timed[i].fault;
        q->slots->timed[i] = q->slots->timed[--q->ntimed];
        found = true;
    }
    lock_release(&q->lock);
    return found;
}

int64_t deferred_wait_ns(struct deferred_queue *q)
{
    uint64_t first = UINT64_MAX, now_ns;

    if (q->ntimed == 0)
        return -1;
    now_ns = fault_clock_ns();
    lock_take(&q->lock);
    for (unsigned i = 0; i < q->ntimed; i++)
        if (q->slots->timed[i].due_ns < first)
            first = q->slots->timed[i].due_ns;
    lock_release(&q->lock);
    if (first == UINT64_MAX)
        return -1;
    return first > now_ns ? (int64_t)(first - now_ns) : 0;
}

/* For one more inside, so that one stays outside. */
static bool has_room_locked(const struct deferred_queue *q, unsigned nthreads)
{
    return q->inside + 1 < nthreads;
}

enum deferred_enter deferred_enter(struct deferred_queue *q, unsigned nthreads,
                                   const struct fault *fault)
{
    enum deferred_enter answer = ENTER_FULL;
    unsigned last;

    lock_take(&q->lock);
    if (has_room_locked(q, nthreads)) {
        q->inside++;
        answer = ENTER_YES;
    } else if (q->nwaiting < DEFERRED_MAX) {
        last = (q->first_waiting + q->nwaiting++) % DEFERRED_MAX;
        q->slots->waiting[last] = *fault;
        answer = ENTER_LATER;
    }
    lock_release(&q->lock);
    return answer;
}

bool deferred_has_room(struct deferred_queue *q, unsigned nthreads)
{
    bool room;

    lock_take(&q->lock);
    room = has_room_locked(q, nthreads);
    lock_release(&q->lock);
    return room;
}

bool deferred_leave(struct deferred_queue *q, struct fault *ret)
{
    bool found;

    lock_take(&q->lock);
    CHECK(q->inside > 0);
    found = q->nwaiting > 0;
    if (found) {
        *ret = q->slots->waiting[q->first_waiting];
        q->first_waiting = (q->first_waiting + 1) % DEFERRED_MAX;
        q->nwaiting--;
    } else {
        q->inside--;
    }
    lock_release(&q->lock);
    return found;
}
