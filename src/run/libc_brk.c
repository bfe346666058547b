/* SPDX-License-Identifier: MIT */
/* See libc_brk.h. */
#include "run/libc_brk.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "run/heap.h"
#include "run/libc_patch.h"

static void **libc_curbrk; /* where libc keeps the break, for sbrk */

/* As glibc's own (sysdeps/unix/sysv/linux/brk.c). */
static int replaced_brk(void *address)
{
    uintptr_t now = heap_brk((uintptr_t)address);

    if (now != 0)
        *libc_curbrk = (void *)now; /* NOLINT: addresses are numbers here */
    if (now == 0 || now < (uintptr_t)address) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

bool libc_brk_redirect(void)
{
    struct libc_call call = {"brk", (void (*)(void))replaced_brk, SYS_brk};

    libc_curbrk = libc_symbol("__curbrk");
    return libc_curbrk && libc_patch(&call);
}
