/* SPDX-License-Identifier: MIT */
/*
 * raw: the system calls on memory, made past libc's functions.
 *
 * Under --mmap libc's functions are led to us (libc_calls.h), so whatever is
 * the kernel's is asked of it here. Answers and errno are as libc gives them.
 * An argument that the call does not use holds a cookie, by which the filter
 * knows that it is not the program's.
 */
#ifndef UF_RUN_RAW_H
#define UF_RUN_RAW_H

#include <stdint.h>

#include "base/sys.h"

extern const struct sys_calls raw_calls;

int raw_pkey_mprotect(void *addr, size_t len, int prot, int pkey);

/* Blocks every signal, libc's own two too; the mask from before. For what runs
 * under our locks: where stacks are served, also makes as much of this thread's
 * resident as that may need, since its faults would wait for those locks. */
uint64_t raw_block_signals(void);

/* Stacks may be served, from now on. */
void raw_expect_served_stacks(void);
void raw_restore_signals(uint64_t mask);

#endif
