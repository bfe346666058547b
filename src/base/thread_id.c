/* SPDX-License-Identifier: MIT */
/* See thread_id.h. */
#include "base/thread_id.h"

#include <sys/syscall.h>
#include <unistd.h>

static __thread pid_t known;

pid_t thread_id(void)
{
    if (known == 0)
        known = (pid_t)syscall(SYS_gettid);
    return known;
}

void thread_id_forget(void)
{
    known = 0;
}
