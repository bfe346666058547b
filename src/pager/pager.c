/* SPDX-License-Identifier: MIT */
/* See pager.h. */
#include "pager/pager.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/range.h"
#include "base/slab.h"

static struct slab_cache pagers = SLAB_CACHE("pager", sizeof(struct uf_pager));

#define REDZONE_BYTE 0xa5

int pager_create(const struct uf_pager_ops *ops, void *context,
                 struct uf_pager **ret_pager)
{
    struct uf_pager *pager;

    if (!ops || !ret_pager || ops->size != sizeof(*ops) || !ops->name ||
        !ops->fill || (ops->flags & ~UF_PAGER_SIGNAL_SAFE))
        return -EINVAL;
    pager = slab_alloc(&pagers);
    if (!pager)
        return -ENOMEM;
    pager->ops = *ops;
    pager->context = context;
    snprintf(pager->name, sizeof(pager->name), "%s", ops->name);
    pager->ops.name = pager->name;
    atomic_init(&pager->refs, 1);
    *ret_pager = pager;
    return 0;
}

struct uf_pager *pager_ref(struct uf_pager *pager)
{
    if (pager && !pager->is_static)
        atomic_fetch_add_explicit(&pager->refs, 1, memory_order_relaxed);
    return pager;
}

void pager_unref(struct uf_pager *pager)
{
    unsigned long before;

    if (!pager || pager->is_static)
        return;
    before = atomic_fetch_sub_explicit(&pager->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;
    if (pager->ops.release)
        pager->ops.release(pager->context);
    slab_free(&pagers, pager);
}

bool pager_unref_unless_last(struct uf_pager *pager)
{
    unsigned long refs;

    if (!pager || pager->is_static)
        return true;
    refs = atomic_load(&pager->refs);
    CHECK(refs > 0);
    while (refs > 1)
        if (atomic_compare_exchange_weak(&pager->refs, &refs, refs - 1))
            return true;
    return false;
}

bool pager_ref_unless_gone(struct uf_pager *pager)
{
    unsigned long refs = atomic_load(&pager->refs);

    while (refs > 0)
        if (atomic_compare_exchange_weak(&pager->refs, &refs, refs + 1))
            return true;
    return false;
}

bool pager_runs_in_signals(const struct uf_pager *pager)
{
    return pager->is_zero || (pager->ops.flags & UF_PAGER_SIGNAL_SAFE);
}

bool pager_uses_offsets(const struct uf_pager *pager)
{
    return !pager->is_zero;
}

static bool redzone_is_intact(const unsigned char *redzone)
{
    for (size_t i = 0; i < PAGER_REDZONE; i++)
        if (redzone[i] != REDZONE_BYTE)
            return false;
    return true;
}

/* How the answer `got` breaks the contract, or NULL if it keeps it. */
static const char *broken_promise(const struct uf_fill *request, ssize_t got)
{
    if (got < -4095)
        return "returned neither a length nor an -errno";
    if (got == 0)
        return "returned 0: no bytes and no error";
    if (got > 0 && (size_t)got > request->len_bytes)
        return "returned more bytes than were asked for";
    if (got > 0 && !is_aligned((uintptr_t)got, request->page_bytes))
        return "returned a length that is not whole pages";
    return NULL;
}

/* Has `fill` of the pager fill, and checks what it did. */
static enum fill_verdict
fill_checked(ssize_t (*fill)(void *context, const struct uf_fill *request),
             void *context, const struct uf_fill *request, size_t *ret_len,
             int *ret_err, const char **ret_why)
{
    unsigned char *redzone =
        (unsigned char *)request->buffer + request->len_bytes;
    const char *why;
    ssize_t got;

    memset(redzone, REDZONE_BYTE, PAGER_REDZONE);
    got = fill(context, request);

    why = redzone_is_intact(redzone) ? broken_promise(request, got)
                                     : "wrote past the end of the buffer";
    if (why) {
        *ret_why = why;
        return FILL_LIED;
    }
    if (got == -EAGAIN)
        return FILL_AGAIN;
    if (got < 0) {
        *ret_err = (int)got;
        return FILL_FAILED;
    }
    *ret_len = (size_t)got;
    return FILL_OK;
}

enum fill_verdict pager_fill(struct uf_pager *pager,
                             const struct uf_fill *request, size_t *ret_len,
                             int *ret_err, const char **ret_why)
{
    CHECK(lock_none_held());
    return fill_checked(pager->ops.fill, pager->context, request, ret_len,
                        ret_err, ret_why);
}

enum fill_verdict pager_fill_at_once(struct uf_pager *pager,
                                     const struct uf_fill *request,
                                     size_t *ret_len, int *ret_err,
                                     const char **ret_why)
{
    CHECK(lock_none_held_after(LOCK_RANK_READER));
    if (!pager->fill_at_once)
        return FILL_AGAIN;
    return fill_checked(pager->fill_at_once, pager->context, request, ret_len,
                        ret_err, ret_why);
}
