/* SPDX-License-Identifier: MIT */
/* See default_space.h. */
#include "posix/default_space.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fault/background.h"
#include "fault/engine.h"
#include "ufault/ufault.h"

#define LEN_MAX_BYTES ((size_t)1 << 40)
#define LEN_MIN_BYTES ((size_t)4 << 20)

static struct uf_space *_Atomic default_space;
/* The process of which a thread is making it; 0: none. */
static _Atomic pid_t maker;
static _Thread_local bool making;

struct uf_space *default_space_now(void)
{
    struct uf_space *space = atomic_load(&default_space);

    return space && uf_space_len(space) != 0 ? space : NULL;
}

bool default_space_is_not_for_me(void)
{
    return making || engine_is_handler_thread();
}

/* The limit on `resource`, `none` if there is none. */
static uint64_t limit_of(int resource, uint64_t none)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return none;
    return limit.rlim_cur;
}

/* Half of what the address space may be, so that as much is left for others;
 * then whatever there is room for. */
static int create(struct uf_space **ret_space)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts),
        .len_bytes = LEN_MAX_BYTES,
        .limit_stack = limit_of(RLIMIT_STACK, UF_UNLIMITED),
    };
    uint64_t half = limit_of(RLIMIT_AS, UINT64_MAX) / 2;
    int err;

    while (opts.len_bytes > half && opts.len_bytes > LEN_MIN_BYTES)
        opts.len_bytes /= 2;
    while ((err = uf_space_create(&opts, ret_space)) == -ENOMEM &&
           opts.len_bytes > LEN_MIN_BYTES)
        opts.len_bytes /= 2;
    if (err)
        return err;
    if (uf_engine_tier(uf_space_engine(*ret_space)) == UF_TIER_USER_MODE) {
        uf_space_destroy(*ret_space);
        return -EPERM;
    }
    background_start(uf_space_engine(*ret_space)); /* for uf_posix_madvise */
    return 0;
}

/* Puts `space` in the place of `before`, which is NULL or dead. */
static bool publish(struct uf_space *before, struct uf_space *space)
{
    return atomic_compare_exchange_strong(&default_space, &before, space);
}

/* Requires: this thread is the maker. */
static int make(void)
{
    struct uf_space *before = atomic_load(&default_space), *space;
    int err;

    if (default_space_now())
        return 0; /* while we came to be the maker */
    making = true;
    err = create(&space);
    if (!err && !publish(before, space))
        uf_space_destroy(space); /* uf_posix_set_space was faster */
    making = false;
    return err;
}

int default_space_get(struct uf_space **ret_space)
{
    while (!(*ret_space = default_space_now())) {
        pid_t me = getpid(), other = atomic_load(&maker);
        int err;

        if (other == me) {
            sched_yield(); /* some milliseconds, once in a process */
            continue;
        }
        if (!atomic_compare_exchange_strong(&maker, &other, me))
            continue;
        err = make();
        atomic_store(&maker, 0);
        if (err)
            return err;
    }
    return 0;
}

int default_space_set(struct uf_space *space)
{
    struct uf_space *before = atomic_load(&default_space);

    if (!space || uf_space_len(space) == 0)
        return -EINVAL;
    return !default_space_now() && publish(before, space) ? 0 : -EBUSY;
}

void default_space_forget(struct uf_space *space)
{
    atomic_compare_exchange_strong(&default_space, &space, NULL);
}
