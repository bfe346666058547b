/* SPDX-License-Identifier: MIT */
/*
 * ufault/copy.h: touching a guest's memory on behalf of the guest.
 *
 * A runtime that serves its guest's system calls is to the guest what the
 * kernel is to a process: it gets addresses that it must not trust. These are
 * its copy_from_user, copy_to_user, strnlen_user and fault_in_readable: an
 * address that the guest itself could not use is -EFAULT, never a signal, no
 * matter what other threads unmap or protect meanwhile.
 *
 *     if (uf_copy_in(space, &request, guest_pointer, sizeof(request), NULL))
 *         return -EFAULT;
 *
 * Absent pages are brought in by the calling thread, as a touch of the guest
 * would bring them in. So it works in the tier UF_TIER_USER_MODE too, in which
 * a system call that is handed an absent page fails.
 *
 * The copy is made by process_vm_readv(2) on this process, or, while
 * uf_trap_install is in force (x86-64), by the processor under the eyes of its
 * handler, which costs no system call.
 */
#ifndef UFAULT_COPY_H
#define UFAULT_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;

/*
 * uf_copy_in, uf_copy_out: copy len_bytes from the guest's memory at `from`
 * into `to`, or from `from` into the guest's memory at `to`. The guest's side
 * may be any address; it must be mapped in the space with PROT_READ (in) or
 * PROT_WRITE (out). The other side is the caller's own memory, accessed as by
 * memcpy(3), and does not overlap it.
 *
 * *copied_bytes, if not NULL, is always set: how many bytes were copied, from
 * the start. After an error what lies behind them is as it was. Like a store
 * by the guest itself, a copy is not atomic against other threads.
 *
 * Return 0 or
 *   -EFAULT  part of the guest's side is not in the space, not mapped, its
 *            protection forbids it, or its page cannot be had (a pager failed,
 *            a file ends before it, a guard)
 *   -EINVAL  no live space; the caller's side is NULL and len_bytes is not 0
 *   -EDEADLK called from a handler thread
 *   -ENOMEM  no memory for what a pager is to fill
 *   -EMFILE, -ENFILE  process_vm_readv(2) is refused to this process, and there
 *            is no descriptor left for a pipe in its place
 *   -ENOSYS  pipes are refused as well
 * Threads: any; also in a forked child. See also: process_vm_readv(2).
 */
int uf_copy_in(struct uf_space *space, void *to, uintptr_t from,
               size_t len_bytes, size_t *copied_bytes);
int uf_copy_out(struct uf_space *space, uintptr_t to, const void *from,
                size_t len_bytes, size_t *copied_bytes);

/*
 * uf_strnlen: the length of the guest's string at `string` without its NUL, or
 * max_bytes if there is no NUL in its first max_bytes bytes, as strnlen(3).
 * Nothing behind the NUL, or behind max_bytes, need be accessible.
 *
 * Returns the length, or what uf_copy_in returns.
 */
ssize_t uf_strnlen(struct uf_space *space, uintptr_t string, size_t max_bytes);

/*
 * uf_populate_read, uf_populate_write: make sure that [address, address +
 * len_bytes) can be read, or written, and that its pages are there, so that a
 * system call can be handed the memory itself: the kernel's fault_in_readable
 * and fault_in_writeable. Any alignment. Unlike uf_madvise with
 * MADV_POPULATE_READ and _WRITE every obstacle is -EFAULT; the pages before it
 * are there.
 *
 * Return 0 or
 *   -EFAULT  as uf_copy_in and uf_copy_out
 *   -EINVAL  no live space
 *   -EDEADLK called from a handler thread
 *   -ENOMEM  no memory for what a pager is to fill, or for the pages
 */
int uf_populate_read(struct uf_space *space, uintptr_t address,
                     size_t len_bytes);
int uf_populate_write(struct uf_space *space, uintptr_t address,
                      size_t len_bytes);

#ifdef __cplusplus
}
#endif

#endif
