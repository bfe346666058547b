/* SPDX-License-Identifier: MIT */
/*
 * Runs a list of operations on one side and records, after each, all that a
 * program could see: the answer, the break, which pages are resident, what is
 * in them, how much is mapped, and the signal that a touch got.
 */
#include "model/brk_twin.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/range.h"

static sigjmp_buf touched_nothing;

static void on_signal(int sig)
{
    siglongjmp(touched_nothing, sig);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static uint64_t now_at(struct side *side)
{
    return side->brk(side, 0);
}

/* The break at which one of the limits binds. */
static uintptr_t data_limit_at(const struct side *side)
{
    return side->start + side->limit_data - side->config.extra_bytes;
}

static uintptr_t pages_limit_at(const struct side *side, uint64_t limit,
                                uint64_t others)
{
    return side->start + (limit / page_size() - others) * (uint64_t)page_size();
}

static uintptr_t resolve(struct side *side, const struct brk_op *op)
{
    uintptr_t end = side->start + AREA_PAGES * page_size();
    uintptr_t base = 0;

    switch ((enum place)op->place) {
    case FROM_START:
        base = side->start;
        break;
    case FROM_BRK:
        base = now_at(side);
        break;
    case FROM_BRK_PAGE:
        base = align_up(now_at(side), page_size());
        break;
    case FROM_FOREIGN:
        base = side->foreign ? side->foreign : end;
        break;
    case FROM_END:
        base = end;
        break;
    case FROM_DATA_LIMIT:
        base = data_limit_at(side);
        break;
    case FROM_DATA_PAGES:
        base = pages_limit_at(side, side->limit_data, side->config.data_pages);
        break;
    case FROM_AS_LIMIT:
        base = pages_limit_at(side, side->limit_as, side->config.total_pages);
        break;
    case FROM_ZERO:
    case PLACES:
        break;
    }
    return base + (uintptr_t)op->delta;
}

/* ----------------------------------------------------------------- looking --
 */

/* Of one page; 0 if it is all zeros. */
static uint64_t page_print(uintptr_t page)
{
    const uint64_t *word = (const uint64_t *)page;
    size_t nwords = page_size() / sizeof(word[0]);
    uint64_t print = 1;

    /* memcmp of the page with itself, a word further on: fast where nearly all
     * pages are zeros. */
    if (word[0] == 0 && memcmp(word, word + 1, page_size() - 8) == 0)
        return 0;
    for (size_t i = 0; i < nwords; i++)
        print = (print ^ word[i]) * 0x9fb21c651e98df25u;
    return print;
}

static uint64_t look_at_pages(struct side *side, struct brk_record *record)
{
    static unsigned char vec[AREA_PAGES];
    uintptr_t heap_end = align_up(side->start + record->brk, page_size());
    size_t npages = (heap_end - side->start) / page_size();
    uint64_t count = 0;

    record->bytes = 0;
    memset(record->resident, 0, sizeof(record->resident));
    if (npages > AREA_PAGES ||
        (npages > 0 &&
         mincore((void *)side->start, npages * page_size(), vec) < 0)) {
        record->wrong = __LINE__;
        return 0;
    }
    for (size_t i = 0; i < npages; i++) {
        uint64_t state;

        if (!(vec[i] & 1))
            continue;
        count++;
        record->resident[i / BITS] |= (uint64_t)1 << (i % BITS);
        state = page_print(side->start + i * page_size());
        if (state) {
            state += i;
            record->bytes += random_next(&state);
        }
    }
    return count;
}

static void look(struct side *side, struct brk_record *record,
                 uint64_t mapped_before)
{
    uint64_t resident;

    record->brk = now_at(side) - side->start;
    record->mapped = side->mapped(side) - mapped_before;
    resident = look_at_pages(side, record);
    if (!record->wrong)
        record->wrong = side->self_check(side, resident);
}

/* ------------------------------------------------------------------ acting --
 */

static void touch(struct side *side, const struct brk_op *op,
                  struct brk_record *record)
{
    uintptr_t at = resolve(side, op);
    int sig;

    /* Nothing below the heap nor beyond the area is ours to touch. */
    if (at < side->start)
        at = side->start;
    if (at >= side->start + AREA_PAGES * page_size())
        return;
    sig = sigsetjmp(touched_nothing, 1);
    if (sig) {
        record->signal = (uint32_t)sig;
        return;
    }
    if (op->kind == OP_READ) {
        record->seen = page_print(align_down(at, page_size()));
        return;
    }
    for (size_t i = 0; i < op->len; i++)
        ((volatile unsigned char *)at)[i] = op->fill;
}

static void put_foreign(struct side *side, const struct brk_op *op,
                        struct brk_record *record)
{
    uintptr_t at = resolve(side, op);

    if (side->foreign)
        side->foreign_take(side, side->foreign);
    side->foreign = 0;
    if (at >= side->start + AREA_PAGES * page_size())
        return;
    if (side->foreign_put(side, at) == 0)
        side->foreign = at;
    else
        record->wrong = __LINE__;
}

/* A limit in bytes, such that it binds at a place of the heap. */
static void limit(struct side *side, const struct brk_op *op)
{
    uint64_t heap = resolve(side, op) - side->start;
    uint64_t beside = op->kind == OP_LIMIT_AS
                          ? side->config.total_pages * page_size()
                      : op->fill ? side->config.data_pages * page_size()
                                 : side->config.extra_bytes;
    uint64_t bytes =
        op->place == FROM_ZERO ? (uint64_t)op->delta : beside + heap;

    if (op->kind == OP_LIMIT_AS)
        side->limit_as = bytes;
    else
        side->limit_data = bytes;
    side->limit(side);
}

static void act(struct side *side, const struct brk_op *op,
                struct brk_record *record)
{
    uintptr_t target;

    switch ((enum op_kind)op->kind) {
    case OP_BRK:
        target = resolve(side, op);
        /* 0 asks, and is the same place on both sides as any other number
         * below the start. */
        record->answer = side->brk(side, target) - side->start;
        break;
    case OP_SBRK:
        target = resolve(side, op);
        if (op->place != FROM_ZERO)
            target -= now_at(side);
        record->answer = side->sbrk(side, (intptr_t)target);
        if (record->answer != ANSWER_ENOMEM)
            record->answer -= side->start;
        break;
    case OP_WRITE:
    case OP_READ:
        touch(side, op, record);
        break;
    case OP_FOREIGN_PUT:
        put_foreign(side, op, record);
        break;
    case OP_FOREIGN_TAKE:
        if (side->foreign)
            side->foreign_take(side, side->foreign);
        side->foreign = 0;
        break;
    case OP_LIMIT_DATA:
    case OP_LIMIT_AS:
        limit(side, op);
        break;
    case OP_KINDS:
        break;
    }
}

/* ----------------------------------------------------------------- running --
 */

static int begin(struct side *side, struct exchange *exchange)
{
    struct belongings *belongings = &exchange->belongings[side->id];
    int err;

    side->config = exchange->config;
    side->foreign = 0;
    side->limit_data = side->limit_as = UINT64_MAX;
    catch_signals();
    err = side->begin(side);
    if (!err)
        err = process_belongings(belongings);
    if (!err && side->pads && side->config.limits)
        err = process_pad(&side->config);
    /* Last, so that it is the heap alone that is locked. Sanitizers make a
     * no-op of libc's mlockall. */
    if (!err && side->id == SIDE_KERNEL && side->config.locked &&
        syscall(SYS_mlockall, MCL_FUTURE) < 0)
        err = -errno;
    return err;
}

static void end(struct side *side)
{
    if (side->foreign)
        side->foreign_take(side, side->foreign);
    side->foreign = 0;
    side->end(side);
}

void side_run(struct side *side, struct exchange *exchange)
{
    struct brk_record *records = exchange->records[side->id];
    uint64_t mapped_before;

    exchange->drifted[side->id] = false;
    exchange->done[side->id] = 0;
    exchange->error[side->id] = begin(side, exchange);
    if (exchange->error[side->id])
        return;
    mapped_before = side->mapped(side);
    for (uint32_t i = 0; i < exchange->nops; i++) {
        records[i] = (struct brk_record){0};
        act(side, &exchange->ops[i], &records[i]);
        look(side, &records[i], mapped_before);
        exchange->done[side->id] = i + 1;
    }
    /* Nothing but the heap and the foreign page may have come or gone. */
    side->limit_data = side->limit_as = UINT64_MAX;
    side->limit(side);
    side->brk(side, side->start);
    exchange->drifted[side->id] =
        side->mapped(side) != mapped_before + (side->foreign != 0);
    end(side);
}
