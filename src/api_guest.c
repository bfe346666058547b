/* SPDX-License-Identifier: MIT */
/*
 * The public functions of a runtime that has guests: touching their memory for
 * them (ufault/copy.h), and being told of what they may not touch
 * (ufault/trap.h). As api.c: validate, call down; its functions leave the
 * shared library.
 */
#include "ufault/ufault.h"

#include <errno.h>

#include "api.h"
#include "fault/copy.h"
#include "fault/trap.h"
#include "fault/trap_table.h"

/* ---- User copies ------------------------------------------------------- */

static int copy(struct uf_space *space, enum copy_way way, void *own,
                uintptr_t managed, size_t len_bytes, size_t *copied_bytes)
{
    size_t copied = 0;
    int err = !own && len_bytes > 0 ? -EINVAL : api_may_call(space);

    if (!err)
        err = copy_user(space, way, own, managed, len_bytes, &copied);
    if (copied_bytes)
        *copied_bytes = copied;
    return err;
}

int uf_copy_in(struct uf_space *space, void *to, uintptr_t from,
               size_t len_bytes, size_t *copied_bytes)
{
    return copy(space, COPY_IN, to, from, len_bytes, copied_bytes);
}

int uf_copy_out(struct uf_space *space, uintptr_t to, const void *from,
                size_t len_bytes, size_t *copied_bytes)
{
    void *own = (void *)(uintptr_t)from; /* and only read */

    return copy(space, COPY_OUT, own, to, len_bytes, copied_bytes);
}

ssize_t uf_strnlen(struct uf_space *space, uintptr_t string, size_t max_bytes)
{
    int err = api_may_call(space);

    return err ? err : copy_strnlen(space, string, max_bytes);
}

int uf_populate_read(struct uf_space *space, uintptr_t address,
                     size_t len_bytes)
{
    int err = api_may_call(space);

    return err ? err : copy_populate(space, COPY_IN, address, len_bytes);
}

int uf_populate_write(struct uf_space *space, uintptr_t address,
                      size_t len_bytes)
{
    int err = api_may_call(space);

    return err ? err : copy_populate(space, COPY_OUT, address, len_bytes);
}

/* ---- Trap hook --------------------------------------------------------- */

int uf_trap_install(void)
{
    return trap_install();
}

int uf_trap_remove(void)
{
    return trap_remove();
}

int uf_space_set_trap(struct uf_space *space, uf_trap_hook hook, void *data)
{
    return api_is_live(space) ? trap_table_set_hook(space, hook, data)
                              : -EINVAL;
}
