/* SPDX-License-Identifier: MIT */
/*
 * See install.h.
 *
 * Zeros for a write come from a range of our own that was only ever read: the
 * kernel backs all of it by its one zero page, so the source of every copy is
 * the same 4 KiB, always in the nearest cache, and the cost is that of filling
 * the destination.
 */
#include "fault/install.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "base/check.h"
#include "base/slab.h"
#include "fault/window.h"

static const char *zeros;

size_t install_zeros_max(void)
{
    return WINDOW_PAGES_MAX * page_size();
}

/* Not huge: one huge zero page would be 2 MiB to read through. */
static const char *make_zeros(void)
{
    size_t len = install_zeros_max();
    char *p = slab_pages(len);

    if (!p)
        return NULL;
    sys->madvise(p, len, MADV_NOHUGEPAGE);
    sys->mprotect(p, len, PROT_READ);
    return p;
}

/* Without a lock, which a child forked meanwhile would find taken. */
int install_zeros_init(void)
{
    const char *none = NULL, *made;

    if (__atomic_load_n(&zeros, __ATOMIC_ACQUIRE))
        return 0;
    made = make_zeros();
    if (!made)
        return -ENOMEM;
    if (!__atomic_compare_exchange_n(&zeros, &none, made, false,
                                     __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        slab_pages_free((void *)(uintptr_t)made, install_zeros_max());
    return 0;
}

/* An install on its way. */
struct progress {
    const struct install *what;
    struct install_result result;
    enum uffd_op op;
    struct range left; /* not yet dealt with */
};

static struct uffd_result call(struct progress *p)
{
    const struct install *w = p->what;
    const char *from = w->bytes ? (const char *)w->bytes : zeros;

    p->result.calls++;
    if (p->op == OP_MOVE)
        return w->uffd->ops->move(w->uffd, p->left,
                                  (char *)w->source +
                                      (p->left.start - w->window.start));
    if (p->op != OP_COPY)
        return w->uffd->ops->zeropage(w->uffd, p->left);
    if (w->bytes)
        from += p->left.start - w->window.start;
    if (w->protect)
        return w->uffd->ops->copy_protected(w->uffd, p->left, from);
    return w->uffd->ops->copy(w->uffd, p->left, from);
}

/* The first len_bytes of what was left are in. */
static void went_in(struct progress *p, size_t len_bytes)
{
    struct range part = {p->left.start, p->left.start + len_bytes};
    struct install_result *r = &p->result;

    if (range_is_empty(r->done))
        r->done = part;
    r->done.end = part.end;
    r->npages += len_bytes / page_size();
    if (p->op == OP_MOVE)
        r->npages_moved += len_bytes / page_size();
    if (p->op == OP_MOVE ? !p->what->write : p->op != OP_COPY)
        r->npages_zero += len_bytes / page_size();
    if (range_contains(part, p->what->touched))
        r->verdict = INSTALL_DONE;
    p->left.start = part.end;
}

/* What zeros are put in by that cannot be moved. */
static enum uffd_op instead_of_move(const struct install *what)
{
    return what->write ? OP_COPY : OP_ZEROPAGE;
}

/* Where a move has met a page, another thread was faster, and most likely with
 * all of the block: what is left to see to is the touched page. */
static void rest_with_touched(struct progress *p)
{
    uintptr_t page = align_down(p->what->touched, page_size());

    p->op = instead_of_move(p->what);
    if (page >= p->left.start)
        p->left = (struct range){page, page + page_size()};
    else
        p->left.start = p->left.end;
}

/* The first page of what was left is there already. */
static void step_over(struct progress *p)
{
    struct range page = {p->left.start, p->left.start + page_size()};

    p->result.present = page;
    p->result.skipped = true;
    if (range_contains(page, p->what->touched))
        p->result.verdict = INSTALL_PRESENT;
    p->left.start = page.end;
    if (p->op == OP_MOVE)
        rest_with_touched(p);
}

/* True if the touched page is still to be dealt with. */
static bool touched_is_left(const struct progress *p)
{
    return p->what->touched >= p->left.start;
}

/* Gives up on what is left; `verdict` holds for the touched page if it has not
 * been dealt with. */
static void stop(struct progress *p, enum install_verdict verdict, int err,
                 const char *why)
{
    if (touched_is_left(p)) {
        p->result.verdict = verdict;
        p->result.err = err;
        p->result.why = why;
    }
    p->left.start = p->left.end;
}

/* The mapping is not what it was: once more with the touched page alone. */
static void narrow(struct progress *p, int err, const char *why)
{
    uintptr_t page = align_down(p->what->touched, page_size());
    struct range alone = {page, page + page_size()};

    if (!touched_is_left(p) || range_len(p->left) == page_size()) {
        stop(p, INSTALL_STALE, err, why);
        return;
    }
    p->left = alone;
    p->result.skipped = true;
    p->result.retries++;
}

static void take_step(struct progress *p, struct resolution res,
                      struct uffd_result got)
{
    switch (res.step) {
    case STEP_DONE:
        went_in(p, range_len(p->left));
        break;
    case STEP_RETRY_REST:
        went_in(p, (size_t)got.done);
        p->result.retries++;
        break;
    case STEP_WAKE:
        step_over(p);
        break;
    case STEP_COPY_INSTEAD:
        p->op = p->op == OP_MOVE ? instead_of_move(p->what) : OP_COPY;
        p->result.retries++;
        break;
    case STEP_LOOK_AGAIN:
        narrow(p, got.err, res.why);
        break;
    case STEP_DEFER:
        stop(p, INSTALL_BUSY, got.err, res.why);
        break;
    case STEP_TEARDOWN:
        stop(p, INSTALL_GONE, got.err, res.why);
        break;
    default:
        stop(p, INSTALL_REFUSED, got.err, res.why);
        break;
    }
}

static enum uffd_op first_op(const struct install *what)
{
    if (what->source && !what->protect)
        return OP_MOVE;
    if (what->bytes || what->write)
        return OP_COPY;
    return what->again ? OP_ZEROPAGE_AGAIN : OP_ZEROPAGE;
}

void install_wake(struct uffd *uffd, struct range range)
{
    if (!range_is_empty(range))
        uffd->ops->wake(uffd, range);
}

/* Has r->wake woken, unless the caller does it. `must`: the calls themselves
 * have not. */
static void wake_or_hold(struct uffd *uffd, struct install_result *r,
                         struct range range, bool must)
{
    if (uffd->hold_wakes)
        r->wake = range;
    else if (must)
        install_wake(uffd, range);
}

struct install_result install_pages(const struct install *what)
{
    struct progress p = {.what = what,
                         .op = first_op(what),
                         .left = what->window,
                         .result = {.verdict = INSTALL_STALE}};

    CHECK(range_contains(what->window, what->touched));
    CHECK(what->bytes || range_len(what->window) <= install_zeros_max());
    while (!range_is_empty(p.left)) {
        struct uffd_result got = call(&p);

        /* A partial result is never trusted beyond what was asked for. */
        if (got.done > 0 && (size_t)got.done >= range_len(p.left) && got.err)
            got.done = 0;
        if (got.done > 0 && !is_aligned((uintptr_t)got.done, page_size()))
            got.done = 0;
        take_step(&p, resolve(p.op, got.err, got.done), got);
    }
    if (p.result.skipped || p.result.verdict == INSTALL_STALE ||
        p.result.verdict == INSTALL_GONE)
        wake_or_hold(what->uffd, &p.result, what->window, true);
    else
        wake_or_hold(what->uffd, &p.result, p.result.done, false);
    return p.result;
}

struct install_result install_refusal(struct uffd *uffd, struct range page)
{
    struct uffd_result got = uffd->ops->poison(uffd, page);
    struct resolution res = resolve(OP_POISON, got.err, got.done);
    struct install_result result = {.calls = 1, .err = got.err, .why = res.why};

    switch (res.step) {
    case STEP_DONE:
        result.verdict = INSTALL_DONE;
        wake_or_hold(uffd, &result, page, false);
        return result;
    case STEP_DEFER:
        result.verdict = INSTALL_BUSY;
        return result; /* still asleep: asked again */
    case STEP_WAKE:
        result.verdict = INSTALL_PRESENT;
        break;
    case STEP_LOOK_AGAIN:
        result.verdict = INSTALL_STALE;
        break;
    case STEP_TEARDOWN:
        result.verdict = INSTALL_GONE;
        break;
    default:
        result.verdict = INSTALL_REFUSED; /* cannot be poisoned */
        return result;
    }
    wake_or_hold(uffd, &result, page, true);
    return result;
}
