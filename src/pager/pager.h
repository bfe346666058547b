/* SPDX-License-Identifier: MIT */
/*
 * pager: the inside of struct uf_pager, and the checker of its promises.
 *
 * A pager either has a fill (ops.fill) or is the zero pager, for which the
 * fault layer needs no buffer at all: the kernel can map zeros by itself.
 * pager_fill is the only caller of a user's fill: what comes back is checked
 * here (invariant 11), so the rest of the library may trust it.
 */
#ifndef UF_PAGER_PAGER_H
#define UF_PAGER_PAGER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ufault/pager.h"

#define PAGER_NAME_MAX 32

/* uf_fill.flags, of a pager of ours: the bytes are for its cache (cache.h). */
#define FILL_FOR_CACHE 0x80000000u

/* Bytes behind a fill buffer that must still hold the pattern afterwards. */
#define PAGER_REDZONE 64

struct fill_parts;

struct uf_pager {
    struct uf_pager_ops ops;
    void *context;
    bool is_zero;   /* filled by the kernel, never through ops.fill */
    bool is_static; /* not counted */
    /* As ops.fill, of a pager of ours that can: what is at hand. It does not
     * sleep, nor call foreign code, nor touch a space; -EAGAIN: it would have
     * to. NULL: there is none. */
    ssize_t (*fill_at_once)(void *context, const struct uf_fill *fill);
    /* The bytes of a fill where they are already, for the kernel to copy from;
     * NULL: they are not. NULL: there are none such. */
    const void *(*view)(void *context, const struct uf_fill *want);
    /* Of a pager of ours whose windows arrive in parts (parts.h): sets one off.
     * NULL: not so this time, or never so. */
    struct fill_parts *(*begin_parts)(void *context, const struct uf_fill *want,
                                      size_t wanted);
    /* Such a window is being used: sets off what may be wanted next. NULL:
     * nothing. It is given back by park, settled, or by parts_end. */
    struct fill_parts *(*read_on)(void *context, const struct fill_parts *now);
    void (*park)(void *context, struct fill_parts *next);
    atomic_ulong refs;
    char name[PAGER_NAME_MAX];
};

/* What a fill came to. */
enum fill_verdict {
    FILL_OK,     /* *ret_len bytes are good */
    FILL_AGAIN,  /* asked for a pause */
    FILL_FAILED, /* an honest -errno, in *ret_err */
    FILL_LIED    /* promise broken; *ret_why says how */
};

/* Public functions' bodies; see ufault/pager.h. */
int pager_create(const struct uf_pager_ops *ops, void *context,
                 struct uf_pager **ret_pager);
struct uf_pager *pager_zero(void);
struct uf_pager *pager_ref(struct uf_pager *pager);
void pager_unref(struct uf_pager *pager);

/* Drops a reference, but never the last one: false, and it is kept. Calls no
 * code of the user's, so it may be called under any lock. */
bool pager_unref_unless_last(struct uf_pager *pager);

/* One more reference, unless the last one has gone: then false. Requires: it is
 * not freed yet. */
bool pager_ref_unless_gone(struct uf_pager *pager);

/* The touching thread itself may have it fill, in a signal handler. */
bool pager_runs_in_signals(const struct uf_pager *pager);

/* False when any page of the pager is as good as any other (zeros), so that
 * neighbours merge whatever their offsets. */
bool pager_uses_offsets(const struct uf_pager *pager);

/*
 * Calls fill and checks the answer. Requires: no lock held; request->buffer
 * has PAGER_REDZONE writable bytes behind len_bytes. Exactly one of the
 * outputs is set, by the verdict.
 */
enum fill_verdict pager_fill(struct uf_pager *pager,
                             const struct uf_fill *request, size_t *ret_len,
                             int *ret_err, const char **ret_why);

/* The same without sleeping; the reader token may be held. FILL_AGAIN: that
 * cannot be. */
enum fill_verdict pager_fill_at_once(struct uf_pager *pager,
                                     const struct uf_fill *request,
                                     size_t *ret_len, int *ret_err,
                                     const char **ret_why);

#endif
