/* SPDX-License-Identifier: MIT */
/*
 * The zero pager: anonymous memory. Read this one first.
 *
 * A pager answers "which bytes are at this offset?". Here the answer is always
 * "zeros", and that makes two short cuts possible that the fault layer takes
 * when it sees is_zero:
 *
 *   - a read fault needs no bytes at all: UFFDIO_ZEROPAGE maps the kernel's
 *     one shared page of zeros, read-only; memory is spent only when somebody
 *     writes (the kernel then copies that page by itself);
 *   - a write fault would pay twice that way (the zero page first, the copy a
 *     moment later), so it gets a private zeroed page at once: UFFDIO_COPY from
 *     a source of zeros that never changes, and needs no fill either.
 *
 * A pager of your own has a fill instead; it would look like this one.
 */
#include <string.h>

#include "pager/pager.h"

static ssize_t zero_fill(void *context, const struct uf_fill *request)
{
    (void)context;
    memset(request->buffer, 0, request->len_bytes);
    return (ssize_t)request->len_bytes;
}

static struct uf_pager the_zero_pager = {
    .ops = {.size = sizeof(struct uf_pager_ops),
            .name = "zero",
            .fill = zero_fill},
    .is_zero = true,
    .is_static = true,
    .name = "zero",
};

struct uf_pager *pager_zero(void)
{
    return &the_zero_pager;
}
