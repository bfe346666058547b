/* SPDX-License-Identifier: MIT */
/*
 * Calls that the program makes past libc, on memory of the region: the filter
 * has them sent to the agent, who makes them here in the program's stead.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "mm/space.h"
#include "run/mapping_calls.h"

static void *at(uintptr_t address)
{
    return (void *)address; /* NOLINT: addresses are numbers here */
}

static void *ptr(uint64_t arg)
{
    return at((uintptr_t)arg);
}

/* A descriptor is in the program's table, not in the agent's: the kernel maps
 * it, over a place that is kept for it, unless it must be free. */
static intptr_t keep_place(const uint64_t *a, bool *ret_pass)
{
    intptr_t where;

    if (!(a[3] & MAP_FIXED))
        return -EEXIST;
    where = uf_mmap(mapping.space, a[0], a[1], (int)a[2],
                    MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    *ret_pass = where >= 0;
    return where;
}

static intptr_t make_call(const struct run_call *call, bool *ret_pass)
{
    const uint64_t *a = call->args;

    switch (call->number) {
    case SYS_munmap:
        return mapping_munmap(ptr(a[0]), a[1]);
    case SYS_mprotect:
        return mapping_mprotect(ptr(a[0]), a[1], (int)a[2]);
    case SYS_pkey_mprotect:
        return mapping_pkey_mprotect(ptr(a[0]), a[1], (int)a[2], (int)a[3]);
    case SYS_madvise:
        return mapping_madvise(ptr(a[0]), a[1], (int)a[2]);
    case SYS_mlock:
        return mapping_mlock(ptr(a[0]), a[1]);
    case SYS_mlock2:
        return mapping_mlock2(ptr(a[0]), a[1], (unsigned)a[2]);
    case SYS_munlock:
        return mapping_munlock(ptr(a[0]), a[1]);
    case SYS_mremap:
        return (intptr_t)mapping_mremap(ptr(a[0]), a[1], a[2], (int)a[3],
                                        ptr(a[4]));
    case SYS_mmap:
        if (a[3] & MAP_ANONYMOUS)
            return (intptr_t)mapping_mmap(ptr(a[0]), a[1], (int)a[2], (int)a[3],
                                          -1, (off_t)a[5]);
        return keep_place(a, ret_pass);
    default:
        *ret_pass = true;
        return 0;
    }
}

intptr_t mapping_call_by_agent(const struct run_call *call, bool *ret_pass)
{
    intptr_t result;

    *ret_pass = !mapping.space;
    if (*ret_pass)
        return 0;
    mapping_pass_set(false);
    errno = 0;
    result = make_call(call, ret_pass);
    mapping_pass_set(true);
    return result == -1 && errno != 0 ? -errno : result;
}
