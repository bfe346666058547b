/* SPDX-License-Identifier: MIT */
/*
 * parts: the bytes of a window as they arrive, from a store that has several
 * reads in flight. What somebody waits for is set off first:
 *
 *     window   | 128 KiB | 128 KiB | 128 KiB |    wanted: in the third
 *     in flight     2nd       3rd       1st
 */
#ifndef UF_PAGER_PARTS_H
#define UF_PAGER_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"
#include "ufault/pager.h"

#define PARTS_MAX       16
#define PARTS_MAX_BYTES ((size_t)2 << 20) /* of a window that lies anywhere */

struct fill_parts {
    struct store_channel *channel;
    struct uf_fill want;
    struct store_io pieces[PARTS_MAX];
    unsigned count;
    unsigned reaped;
    bool settled; /* all have come; they are given out once more, in order */
    struct store_stamp stamp; /* of the store, before what is read ahead was */
};

/* Bytes of the window, whole pages; what follows in the same piece cannot be
 * had. */
struct fill_part {
    unsigned piece; /* the number of it */
    size_t at;      /* from the start of the window */
    size_t len;     /* of the piece, in bytes */
    size_t good;    /* whole pages that are there */
    int err;        /* why not more; 0: good is len */
};

/*
 * Sets off the reads of a window that begins at `offset` of the store. NULL:
 * it is too short to be worth it, or the store has no channel left, or no
 * memory. `anywhere`: the bytes need not be in want->buffer; where they are,
 * the want of what is returned says. Requires: `wanted` is a byte of the window;
 * want->buffer may be NULL if it is to be anywhere (and then it has to be).
 */
struct fill_parts *parts_begin(struct uf_store *store, uint64_t offset,
                               const struct uf_fill *want, size_t wanted,
                               bool anywhere);

/* Waits for the next part. False: all have come. */
bool parts_next(struct fill_parts *parts, struct fill_part *ret);

/* Waits for all of them. Returns how many bytes from the start of the window
 * are there; *ret_err: as in struct store_io, of the piece that ends them. */
size_t parts_all(struct fill_parts *parts, int *ret_err);

/* Waits until all have come, and nothing is the kernel's any more: from here on
 * any thread may have them, and parts_next waits for nothing. Requires: parts_next
 * was not called. */
void parts_settle(struct fill_parts *parts);

/* Where in the store the window begins. */
uint64_t parts_offset(const struct fill_parts *parts);

/* What was read for nobody is now the window of `want`, whose bytes it has; but
 * they stay where they are. Requires: settled; the same start, and no longer. */
void parts_adopt(struct fill_parts *parts, const struct uf_fill *want);

/* False in a forked child, for what its parent has begun: that may only be
 * ended. */
bool parts_are_ours(const struct fill_parts *parts);

/* Waits for what is under way, and frees it. NULL is allowed. */
void parts_end(struct fill_parts *parts);

#endif
