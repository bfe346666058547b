/* SPDX-License-Identifier: MIT */
/* See copy.h. */
#include "fault/copy.h"

#include <errno.h>
#include <string.h>

#include "fault/fault.h"
#include "fault/trap.h"
#include "host/context.h"

/* Looked at and copied in one go. */
#define CHUNK_BYTES ((size_t)256 << 10)

/* How often in a row a page may be brought in and be absent again, and how
 * often a copy may fail although the page is there: a guard, the end of a file,
 * or bad luck. */
#define TRIES_ABSENT  1000
#define TRIES_PRESENT 4

/* A string is read in parts of this size. */
#define STRING_BYTES 256

struct copying {
    struct uf_space *space;
    enum copy_way way;
    struct fault_server server; /* its buffer is made when it is needed */
    /* Since the last byte that was copied: */
    unsigned tries_absent;
    unsigned tries_present;
    uint64_t stale_ns; /* when the mapping first changed while its page was
                          brought in; 0: it did not */
    bool by_kernel;    /* the last look: not ours to bring in */
};

static struct copying begin(struct uf_space *space, enum copy_way way)
{
    return (struct copying){.space = space,
                            .way = way,
                            .server = {.defer_limit_ns = 10000000000ull}};
}

static void end(struct copying *c)
{
    fault_server_destroy(&c->server);
}

/* Something went well. */
static void start_over(struct copying *c)
{
    c->tries_absent = 0;
    c->tries_present = 0;
    c->stale_ns = 0;
}

static bool vma_allows(const struct vma *vma, enum copy_way way)
{
    return (vma->flags & (way == COPY_IN ? VMA_READ : VMA_WRITE)) != 0;
}

static bool is_by_kernel(const struct uf_space *space, const struct vma *vma)
{
    return !space->region.uffd || vma_flags_by_kernel(vma->flags);
}

/* Is there work to do before the page can be copied? */
static bool is_absent(const struct uf_space *space, const struct vma *vma,
                      uintptr_t addr)
{
    return !is_by_kernel(space, vma) && !resident_test(&space->resident, addr);
}

static bool is_guard(const struct uf_space *space, uintptr_t addr)
{
    return space->has_guards && resident_test(&space->guards, addr);
}

/* May a touch of addr, where nothing is mapped, make a stack grow? */
static bool may_grow(const struct uf_space *space, uintptr_t addr)
{
    return space->region.uffd && space->pages.stack > 0 &&
           range_contains(space->region.range, addr);
}

/*
 * How many bytes of [addr, addr + len_bytes) can be copied now, as far as we
 * know: > 0; 0 if the page of addr is absent; -EFAULT if it is not the guest's
 * to access.
 */
static ssize_t look(struct copying *c, uintptr_t addr, size_t len_bytes)
{
    struct uf_space *space = c->space;
    uintptr_t limit = addr + len_bytes;
    uintptr_t at = addr;
    const struct vma *vma = NULL;
    bool stale = c->stale_ns > 0;
    ssize_t ready = -EFAULT;

    c->by_kernel = false;
    rwlock_take_read(&space->map_lock);
    for (; at < limit; at = align_down(at, page_size()) + page_size()) {
        if (!vma || at >= vma->end)
            vma = vma_set_lookup(&space->vmas, at);
        if (!vma && !stale && may_grow(space, at))
            ready = 0;
        if (!vma || !vma_allows(vma, c->way) || is_guard(space, at))
            break;
        ready = 0;
        if (at == addr)
            c->by_kernel = is_by_kernel(space, vma);
        if (is_absent(space, vma, at) && !(stale && at == addr))
            break;
    }
    rwlock_release(&space->map_lock);
    if (at > addr)
        ready = (ssize_t)((at < limit ? at : limit) - addr);
    return ready;
}

static int try_again(unsigned *tries, unsigned max)
{
    return ++*tries > max ? -EFAULT : 0;
}

/*
 * The mapping changed meanwhile. As a toucher: look again and, if it is mapped
 * still, try, since the page may be out of our hands. That ends when the
 * changes do, or when a fault would have been deferred for too long.
 */
static int try_again_stale(struct copying *c)
{
    uint64_t now = fault_clock_ns();

    if (c->stale_ns == 0)
        c->stale_ns = now;
    return now - c->stale_ns > c->server.defer_limit_ns ? -EFAULT : 0;
}

/* Has the page of addr brought in, by what a touch of the guest would do.
 * 0, -EFAULT or -ENOMEM. */
static int bring_in(struct copying *c, uintptr_t addr)
{
    uint32_t flags = c->way == COPY_OUT ? UF_FAULT_WRITE : 0;
    int err = 0;

    if (c->by_kernel)
        return try_again(&c->tries_present, TRIES_PRESENT);
    if (!c->server.buffer && fault_runs_user_code(c->space))
        err = fault_server_init(&c->server);
    if (err)
        return err;
    switch (fault_bring_in(c->space, &c->server, addr, flags)) {
    case UF_OUTCOME_REFUSED:
        return -EFAULT;
    case UF_OUTCOME_STALE:
        return try_again_stale(c);
    case UF_OUTCOME_INSTALLED:
        return try_again(&c->tries_absent, TRIES_ABSENT);
    default: /* it was there */
        return try_again(&c->tries_present, TRIES_PRESENT);
    }
}

/* Accesses the caller's side as the caller would: it may be absent memory of a
 * space itself, which the kernel may not bring in. */
static void touch_own(enum copy_way way, void *own, size_t len_bytes)
{
    volatile char *p = own;

    for (size_t i = 0; i < len_bytes;
         i += page_size() - (((uintptr_t)p + i) & (page_size() - 1))) {
        char byte = p[i];

        if (way == COPY_IN)
            p[i] = byte;
    }
}

/* Copies what is ready. How many bytes, or -errno. */
static ssize_t move(enum copy_way way, void *own, uintptr_t managed,
                    size_t len_bytes)
{
    size_t left = len_bytes;

    if (trap_enter_guarded()) {
        left = way == COPY_IN
                   ? guarded_copy(own, (const void *)managed, len_bytes)
                   : guarded_copy((void *)managed, own, len_bytes);
        trap_leave_guarded();
    }
    if (left < len_bytes)
        return (ssize_t)(len_bytes - left);
    return host_copy(way, own, managed, len_bytes);
}

/* One step: copies something (> 0), or makes it possible (0). */
static ssize_t step(struct copying *c, void *own, uintptr_t managed,
                    size_t len_bytes)
{
    ssize_t n =
        look(c, managed, len_bytes < CHUNK_BYTES ? len_bytes : CHUNK_BYTES);

    if (n < 0)
        return n;
    if (n > 0) {
        size_t part = (size_t)n;

        n = move(c->way, own, managed, part);
        if (n > 0)
            start_over(c);
        if (n != -EFAULT)
            return n;
        touch_own(c->way, own, part);
    }
    return bring_in(c, managed);
}

int copy_user(struct uf_space *space, enum copy_way way, void *own,
              uintptr_t managed, size_t len_bytes, size_t *ret_copied)
{
    struct copying c = begin(space, way);
    size_t done = 0;
    ssize_t n = 0;

    /* In front of the region, behind it, or around the end of all addresses:
     * no VMA is found there, and that ends it before an address wraps. */
    while (done < len_bytes && n >= 0) {
        n = step(&c, (char *)own + done, managed + done, len_bytes - done);
        if (n > 0)
            done += (size_t)n;
    }
    end(&c);
    *ret_copied = done;
    return n < 0 ? (int)n : 0;
}

ssize_t copy_strnlen(struct uf_space *space, uintptr_t string, size_t max_bytes)
{
    struct copying c = begin(space, COPY_IN);
    char bytes[STRING_BYTES];
    size_t done = 0;
    ssize_t n = 0;

    while (done < max_bytes && n >= 0) {
        size_t part = max_bytes - done;
        const char *nul;

        n = step(&c, bytes, string + done,
                 part < sizeof(bytes) ? part : sizeof(bytes));
        nul = n > 0 ? memchr(bytes, '\0', (size_t)n) : NULL;
        if (nul) {
            done += (size_t)(nul - bytes);
            break;
        }
        if (n > 0)
            done += (size_t)n;
    }
    end(&c);
    return n < 0 ? n : (ssize_t)done;
}

/* One step of making pages ready: so many bytes are (> 0), or look again. */
static ssize_t populate_step(struct copying *c, uintptr_t addr,
                             size_t len_bytes)
{
    uintptr_t page = align_down(addr, page_size());
    ssize_t n =
        look(c, addr, len_bytes < CHUNK_BYTES ? len_bytes : CHUNK_BYTES);
    int err;

    if (n < 0)
        return n;
    if (n > 0) {
        if (host_populate(c->way, page, addr + (size_t)n - page) == 0)
            return n;
        /* One of them cannot be had: is it this one? */
        err = host_populate(c->way, page, page_size());
        if (err == 0)
            return (ssize_t)(page + page_size() - addr);
        if (err == -ENOMEM)
            return err;
    }
    return bring_in(c, addr);
}

int copy_populate(struct uf_space *space, enum copy_way way, uintptr_t addr,
                  size_t len_bytes)
{
    struct copying c = begin(space, way);
    size_t done = 0;
    ssize_t n = 0;

    while (done < len_bytes && n >= 0) {
        n = populate_step(&c, addr + done, len_bytes - done);
        if (n > 0) {
            c.tries_absent = c.tries_present = 0;
            done += (size_t)n;
        }
    }
    end(&c);
    return n < 0 ? (int)n : 0;
}
