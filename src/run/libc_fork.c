/* SPDX-License-Identifier: MIT */
/* See libc_fork.h. */
#include "run/libc_fork.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#include "run/libc_patch.h"
#include "run/raw.h"

static pid_t (*libc__Fork)(void);
static void (*before)(void);
static void (*in_parent)(void);
static void (*in_child)(void);

static pid_t our__Fork(void)
{
    uint64_t mask = raw_block_signals();
    int saved;
    pid_t pid;

    before();
    pid = libc__Fork();
    saved = errno;
    if (pid == 0)
        in_child();
    else
        in_parent();
    errno = saved;
    raw_restore_signals(mask);
    return pid;
}

bool libc_fork_lead(void (*prepare)(void), void (*parent)(void),
                    void (*child)(void))
{
    void *target = libc_symbol("_Fork");

    *(void **)&libc__Fork = target;
    before = prepare;
    in_parent = parent;
    in_child = child;
    return target &&
           libc_patch_calls("fork", target, (void (*)(void))our__Fork);
}
