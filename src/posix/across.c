/* SPDX-License-Identifier: MIT */
/* See across.h. */
#include "posix/across.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "ufault/ufault.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

/* One part of a fixed mapping. 0 or -errno. */
static int map_part(struct uf_space *space, const struct mapping *m,
                    struct range part, uintptr_t first, bool inside)
{
    off_t offset = m->offset + (off_t)(part.start - first);
    size_t len = range_len(part);
    intptr_t where;

    if (m->flags & MAP_ANONYMOUS)
        offset = m->offset;
    if (inside) {
        where =
            uf_mmap(space, part.start, len, m->prot, m->flags, m->fd, offset);
        return where < 0 ? (int)where : 0;
    }
    return sys->mmap(at(part.start), len, m->prot, m->flags, m->fd, offset) ==
                   MAP_FAILED
               ? -errno
               : 0;
}

static void unmap_part(struct uf_space *space, struct range part, bool inside)
{
    if (range_is_empty(part))
        return;
    if (inside)
        uf_munmap(space, part.start, range_len(part));
    else
        sys->munmap(at(part.start), range_len(part));
}

/* Maps the parts of a fixed mapping. 0 or -errno, and then what it mapped is
 * unmapped. (MAP_FIXED may have unmapped what was there, as in the kernel.)
 * From above, for munmap's reason. */
static int map_parts(struct uf_space *space, const struct mapping *m,
                     const struct parts *parts, uintptr_t first)
{
    const struct range part[3] = {parts->above, parts->inside, parts->below};
    int err = 0, done;

    for (done = 0; done < 3 && !err; done++)
        if (!range_is_empty(part[done]))
            err = map_part(space, m, part[done], first, done == 1);
    if (!err)
        return 0;
    for (done--; done-- > 0;)
        unmap_part(space, part[done], done == 1);
    return err;
}

/* The same where nothing may be mapped. The place is taken and given back, so
 * that what is there is found on either side before the rest is judged, as in
 * the kernel. */
static int map_parts_noreplace(struct uf_space *space, const struct mapping *m,
                               struct range whole, const struct parts *parts)
{
    const struct mapping nothing = {
        .flags =
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
        .fd = -1,
    };
    int err;

    if (!is_aligned((uintptr_t)m->offset, page_size()))
        return -EINVAL;
    if (!(m->flags & MAP_ANONYMOUS) && fcntl(m->fd, F_GETFD) < 0)
        return -EBADF;
    err = map_parts(space, &nothing, parts, whole.start);
    if (err)
        return err;
    unmap_part(space, parts->above, false);
    unmap_part(space, parts->inside, true);
    unmap_part(space, parts->below, false);
    return map_parts(space, m, parts, whole.start);
}

int map_across(struct uf_space *space, const struct mapping *m,
               const struct parts *parts)
{
    struct range whole = parts->inside;

    if (!range_is_empty(parts->below))
        whole.start = parts->below.start;
    if (!range_is_empty(parts->above))
        whole.end = parts->above.end;
    if (m->flags & MAP_FIXED_NOREPLACE)
        return map_parts_noreplace(space, m, whole, parts);
    return map_parts(space, m, parts, whole.start);
}
