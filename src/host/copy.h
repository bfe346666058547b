/* SPDX-License-Identifier: MIT */
/*
 * host_copy: between memory of our own and managed memory, with an errno where
 * a plain copy would raise a signal.
 *
 * process_vm_readv(2) on this very process does that: the kernel allows it
 * whatever ptrace's rules are, since the address space is the caller's. Where a
 * filter refuses it, or the kernel was built without it, the bytes go through
 * a pipe: several times slower, and right. Not /proc/self/mem, which disregards
 * protection.
 *
 * The process is asked for its id each time: one remembered from before a bare
 * clone(2) would name the parent, whose memory must not be written.
 */
#ifndef UF_HOST_COPY_H
#define UF_HOST_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum copy_way { COPY_IN, COPY_OUT };

/*
 * Copies up to len_bytes (> 0) from managed memory at `managed` to `own`
 * (COPY_IN) or the other way round (COPY_OUT). Returns how many were copied,
 * from the start, > 0, or
 *   -EFAULT  not one: either side is not accessible
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOSYS  no way to copy
 */
ssize_t host_copy(enum copy_way way, void *own, uintptr_t managed,
                  size_t len_bytes);

/*
 * Has the kernel bring in the whole pages of [addr, addr + len_bytes) for
 * reading (COPY_IN) or writing, as far as it serves them: MADV_POPULATE_READ
 * and _WRITE. Requires: addr is page-aligned. 0 (also before Linux 5.14, which
 * cannot), -ENOMEM, or -EFAULT: one of them cannot be had.
 */
int host_populate(enum copy_way way, uintptr_t addr, size_t len_bytes);

#endif
