/* SPDX-License-Identifier: MIT */
/*
 * context: what a signal's ucontext_t says about the access behind it, and the
 * one piece of code that may be resumed after it.
 *
 * The only file that knows registers. Unknown processors say "unknown", and
 * have no guarded copy: the callers have another way for both.
 */
#ifndef UF_HOST_CONTEXT_H
#define UF_HOST_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ufault/trap.h"

/* Address of the interrupted instruction; 0 if that is not known. */
uintptr_t context_pc(const void *context);

/* The kind of access to `addr` that raised the signal. */
enum uf_trap_access context_access(const void *context, uintptr_t addr);

/*
 * guarded_copy: memcpy(3) that may fault: the kernel's copy_from_user, with its
 * exception table of one entry. Returns how many bytes at the end are not
 * copied. Requires: a handler of SIGSEGV and SIGBUS that calls
 * guarded_copy_fix, and guarded_copy_is_known.
 */
size_t guarded_copy(void *to, const void *from, size_t len_bytes);

/* True if this processor has one. */
bool guarded_copy_is_known(void);

/* If guarded_copy was interrupted: has it return, and true. */
bool guarded_copy_fix(void *context);

#endif
