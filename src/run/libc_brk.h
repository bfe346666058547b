/* SPDX-License-Identifier: MIT */
/*
 * libc_brk: libc's own brk, led to ours.
 *
 *     malloc ─► sbrk ─► brk ──► jmp ─► heap_brk          this file
 *     bare system call ─► seccomp filter ─► session ─► agent ─► heap_brk
 *
 * The filter alone would do but for two things. A notified call is a signal's
 * prey until the session has received it: a handler without SA_RESTART ends it
 * with EINTR, which brk never returns natively and glibc takes for a break. And
 * it costs two thread switches. So the first bytes of libc's brk, an
 * instruction sequence without any branch into it, are overwritten with a jump.
 *
 * (Replacing the symbol brk would not do: malloc and sbrk inside libc do not go
 * through symbols.) What is not recognised is left as it is: the filter serves
 * it then.
 */
#ifndef UF_RUN_LIBC_BRK_H
#define UF_RUN_LIBC_BRK_H

#include <stdbool.h>

/* Requires: the calling thread is the only one. True: done. */
bool libc_brk_redirect(void);

#endif
