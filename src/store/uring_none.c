/* SPDX-License-Identifier: MIT */
/* See uring.h: no io_uring. */
#include <errno.h>

#include "base/check.h"
#include "store/uring.h"

int uring_create(struct uf_store *store, struct uring **ret)
{
    (void)store;
    (void)ret;
    return -ENOSYS;
}

void uring_destroy(struct uring *ring)
{
    CHECK(!ring);
}

bool uring_pin(struct uring *ring, void *base, size_t len_bytes)
{
    (void)ring;
    (void)base;
    (void)len_bytes;
    return false;
}

void uring_add(struct uring *ring, struct store_io *io)
{
    (void)ring;
    (void)io;
}

unsigned uring_wait(struct uring *ring, struct io_list *done, unsigned min)
{
    (void)ring;
    (void)done;
    (void)min;
    return 0;
}

bool uring_is_broken(const struct uring *ring)
{
    (void)ring;
    return false;
}
