/* SPDX-License-Identifier: MIT */
/*
 * ufault/posix.h: the mmap family with libc's own signatures, return values and
 * errno, on a space that the process has by default. Existing code moves over
 * without a change, in one of three ways (uf_posix(3) has the exact flags):
 *
 *     source       cc -Dmmap=uf_posix_mmap -Dmunmap=uf_posix_munmap ...
 *     object file  objcopy --redefine-syms=PREFIX/share/ufault/posix.syms x.o
 *     program      link with ufault::wrap (-lufault_wrap, --wrap=mmap,...)
 *
 * What is mapped without MAP_FIXED, anonymous memory as well as files, comes
 * into the default space. Calls on addresses outside it are passed to the
 * kernel by system call, and calls on both are split at its ends, lowest
 * address first; so a program may unmap what libc or the loader mapped. A call
 * that fails at one part leaves what the parts before it did.
 *
 * Where the answers differ from the kernel's own, and on purpose:
 *
 *   - MAP_32BIT and MAP_HUGETLB: the kernel maps them, outside the space;
 *   - mremap moves nothing into or out of the space (EINVAL);
 *   - mlockall is over the default space alone: the reservation around it is
 *     not to be locked;
 *   - brk, sbrk: a break of the space's own; libc's stays where it is;
 *   - handler threads (pagers, hooks) map outside the space, and change
 *     nothing in it (EDEADLK).
 *
 * The default space is made by the first call that needs it: mmap, brk, sbrk,
 * mlockall, uf_posix_space. It has 1 TiB, or half of RLIMIT_AS, or the largest
 * half of that for which there is room; RLIMIT_STACK for MAP_GROWSDOWN; an
 * engine of its own; a forked child has a copy, served by the kernel
 * (UF_FORK_ZERO). If it cannot be made, these calls fail with errno
 *
 *     EPERM     userfaultfd is refused, or granted for user mode only: a system
 *               call on untouched memory would fail. uf_posix_set_space a space
 *               to go on in that mode
 *     ENOSYS, ENOTSUP  the kernel has no (such) userfaultfd
 *     EMFILE, ENFILE   no descriptor left
 *     ENOMEM, EAGAIN   no room, no thread
 *
 * and the next call tries again. `any` below stands for these.
 *
 * An allocator that is moved over asks for memory while it holds its locks, and
 * must find the space made: link with -Wl,-u,uf_posix_early -lufault_wrap.
 *
 * Threads: all functions, from any thread; first use, too. Not from a signal
 * handler. While a thread is making the default space others wait; what that
 * thread itself maps meanwhile (its malloc may live here) the kernel maps.
 *
 * See also: uf_posix(3), ufault/mman.h, ufault/posix_names.h.
 */
#ifndef UFAULT_POSIX_H
#define UFAULT_POSIX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;

/*
 * uf_posix_space: the default space; made now if there is none. For stats,
 * limits and uf_space_walk. NULL with errno `any` if it cannot be made.
 */
struct uf_space *uf_posix_space(void);

/*
 * uf_posix_set_space: has `space` be the default one, with what size, engine,
 * window and limits the caller gave it. Before first use, or after the default
 * space was destroyed: then there is none, until it is set or made again.
 *
 * Returns 0 or
 *   -EINVAL  not a live space
 *   -EBUSY   there is a default space already
 */
int uf_posix_set_space(struct uf_space *space);

/*
 * uf_posix_mmap: as mmap(2) and uf_mmap. MAP_FIXED outside the space is the
 * kernel's; across its ends, split.
 *
 * Returns the address, or MAP_FAILED with errno any or
 *   EINVAL     len 0; offset or fixed address unaligned; wrong flags
 *   ENOMEM     no room in the space; a limit
 *   EEXIST     MAP_FIXED_NOREPLACE, and something is mapped there
 *   EBADF, EACCES, ENODEV, EOVERFLOW, EPERM, EAGAIN  as uf_mmap
 */
void *uf_posix_mmap(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
/* What code for _FILE_OFFSET_BITS=64 calls: the same. */
void *uf_posix_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                      off_t offset);

/*
 * uf_posix_munmap: as munmap(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL   addr unaligned; len 0; beyond the address space
 *   ENOMEM   the limit of mappings
 *   EDEADLK  called from a handler thread, on the space
 */
int uf_posix_munmap(void *addr, size_t len);

/*
 * uf_posix_mprotect: as mprotect(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL   addr unaligned; unknown prot
 *   ENOMEM   part of the range is not mapped; a limit
 *   EACCES   a file that was not opened for that
 *   EDEADLK  called from a handler thread, on the space
 */
int uf_posix_mprotect(void *addr, size_t len, int prot);

/*
 * uf_posix_mremap: as mremap(2); the fifth argument, void *new_address, counts
 * with MREMAP_FIXED and MREMAP_DONTUNMAP.
 *
 * Returns the address, or MAP_FAILED with errno
 *   EINVAL   old_addr unaligned; new_len 0; flags; the new range overlaps the
 *            old one, or lies on the other side of the space's ends
 *   EFAULT   nothing is mapped there, or not all of it in one place; the old
 *            range crosses the space's ends
 *   ENOMEM   cannot grow, and may not or cannot move; a limit
 *   EAGAIN   the limit of locked memory
 *   EDEADLK  called from a handler thread, on the space
 */
void *uf_posix_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                      ...);

/*
 * uf_posix_madvise: as madvise(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL   addr unaligned; unknown advice; not for this memory
 *   ENOMEM   part of the range is not mapped
 *   EPERM, EFAULT, EACCES, EBUSY, EAGAIN  as uf_madvise
 *   EDEADLK  called from a handler thread, on the space
 */
int uf_posix_madvise(void *addr, size_t len, int advice);

/*
 * uf_posix_mincore: as mincore(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL  addr unaligned
 *   ENOMEM  part of the range is not mapped
 *   EFAULT  vec cannot be written
 */
int uf_posix_mincore(void *addr, size_t len, unsigned char *vec);

/*
 * uf_posix_msync: as msync(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL  addr unaligned; unknown flags; MS_ASYNC with MS_SYNC
 *   ENOMEM  part of the range is not mapped
 *   EBUSY   MS_INVALIDATE on locked memory
 *   EIO, ENOSPC  as uf_msync
 */
int uf_posix_msync(void *addr, size_t len, int flags);

/*
 * uf_posix_mlock, uf_posix_mlock2: as mlock(2).
 *
 * Return 0, or -1 with errno
 *   EINVAL   the range wraps; unknown flags
 *   ENOMEM   part of the range is not mapped; the limit of locked memory
 *   EPERM    that limit is 0
 *   EAGAIN   as uf_mlock
 *   EDEADLK  called from a handler thread, on the space
 */
int uf_posix_mlock(const void *addr, size_t len);
int uf_posix_mlock2(const void *addr, size_t len, unsigned flags);

/*
 * uf_posix_munlock: as munlock(2).
 *
 * Returns 0, or -1 with errno
 *   EINVAL   the range wraps
 *   ENOMEM   part of the range is not mapped; the limit of mappings
 *   EDEADLK  called from a handler thread, on the space
 */
int uf_posix_munlock(const void *addr, size_t len);

/*
 * uf_posix_mlockall: as mlockall(2), over the default space alone.
 *
 * Returns 0, or -1 with errno any or
 *   EINVAL   no flag, an unknown one, or MCL_ONFAULT alone
 *   ENOMEM, EPERM  the space's limit of locked memory
 *   EDEADLK  called from a handler thread
 */
int uf_posix_mlockall(int flags);

/*
 * uf_posix_munlockall: as munlockall(2), over the default space alone.
 *
 * Returns 0, or -1 with errno
 *   EDEADLK  called from a handler thread
 */
int uf_posix_munlockall(void);

/*
 * uf_posix_brk: as brk(2) of libc: 0, or -1 with errno any or
 *   ENOMEM   the break cannot be there
 */
int uf_posix_brk(void *addr);

/*
 * uf_posix_sbrk: as sbrk(2): the break from before, or (void *)-1 with errno
 * any or
 *   ENOMEM   the break cannot be there
 */
void *uf_posix_sbrk(intptr_t increment);

#ifdef __cplusplus
}
#endif

#endif
