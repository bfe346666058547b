/* SPDX-License-Identifier: MIT */
/*
 * ufault/mman.h: the mmap family on a space.
 *
 * Each function is the Linux system call of its name, limited to the space: the
 * same rounding, the same order of checks, the same -errno, the same partial
 * effects. Where kernels differ, Linux 6.18 is followed (mremap moves a range
 * of several mappings; MADV_GUARD_INSTALL; errno of MADV_POPULATE_*). The
 * space's end stands for the end of the address space (TASK_SIZE); nothing is
 * mapped below its base. Differences that are meant:
 *
 *   - nobody has capabilities in a space: limits bind everybody, and
 *     MADV_HWPOISON and MADV_SOFT_OFFLINE are -EPERM;
 *   - the mapping limit is the space's own (UF_LIMIT_MAP_COUNT); the host's
 *     may be reached first, and gives the same -ENOMEM;
 *   - MAP_HUGETLB finds an empty pool (-ENOMEM), MAP_32BIT no place (-ENOMEM);
 *   - MAP_UNINITIALIZED memory is zeroed, as by kernels with an MMU.
 *
 * Addresses are uintptr_t, ranges half-open; a length is rounded up to whole
 * pages. All functions may be called from any thread; not from a signal
 * handler, and not from a pager or hook (-EDEADLK). -EINVAL: also for a handle
 * that is no live space. The calling thread's stack may lie in the space, or in
 * another: then 16 KiB of it must be left. A signal handler may touch a space
 * only if it has not interrupted one of these functions on the same space.
 *
 * See also: ufault/posix.h for libc's own signatures; mmap(2) and the pages it
 * names.
 */
#ifndef UFAULT_MMAN_H
#define UFAULT_MMAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;
struct uf_pager;

/*
 * uf_mmap: maps [answer, answer + len_bytes), as mmap(2) (do_mmap,
 * mm/mmap.c). Anonymous private memory is paged by the space's engine; a
 * descriptor, and MAP_SHARED | MAP_ANONYMOUS, are served by the kernel's page
 * cache at an address inside the space. The address is searched top-down
 * (bottom-up with UF_SPACE_BOTTOM_UP); blocks of whole 2 MiB are aligned to
 * 2 MiB where there is room. No descriptor is kept: `fd` may be closed.
 *
 * Returns the address, or
 *   -EINVAL     len_bytes is 0; offset or, with MAP_FIXED, address unaligned;
 *               neither or an unknown one of MAP_PRIVATE, MAP_SHARED,
 *               MAP_SHARED_VALIDATE; MAP_GROWSDOWN on anything but anonymous
 *               private memory
 *   -ENOMEM     no room; a MAP_FIXED range not inside the space; a limit
 *               (address space, data, mappings); the host's refusal
 *   -EEXIST     MAP_FIXED_NOREPLACE and something is mapped there
 *   -EBADF      fd is not open
 *   -EACCES     fd is not open for what is asked
 *   -EPERM      PROT_EXEC on a file system mounted noexec; a sealed memfd;
 *               MAP_LOCKED with a locked limit of 0
 *   -EAGAIN     the limit of locked memory
 *   -EOVERFLOW  offset + len_bytes is beyond what the file may have
 *   -ENODEV     the file cannot be mapped: a directory, a pipe
 *   -ENOTSUP    MAP_SHARED_VALIDATE with a flag that the file does not have
 *   -ENFILE     anonymous shared memory: fs.file-max is reached
 *   -EDEADLK    called from a handler thread
 * and, for a device, what its driver answers.
 */
intptr_t uf_mmap(struct uf_space *space, uintptr_t address, size_t len_bytes,
                 int prot, int flags, int fd, off_t offset_bytes);

/*
 * uf_mmap_pager: as uf_mmap of anonymous private memory, but the pages come
 * from `pager`, which is asked for [offset_bytes, offset_bytes + len_bytes).
 * The mapping takes a reference. In a forked child the policy of the space
 * decides (enum uf_fork); where that is zeros by default, the mapping is not
 * inherited (as under MADV_DONTFORK; MADV_DOFORK is -EINVAL on it).
 *
 * MAP_SHARED: all such mappings of one pager are one memory, that of a file, and
 * what is written there is written back; see uf_pager_store in ufault/store.h,
 * whose pagers alone can be mapped so. PROT_WRITE, now or later, is for stores
 * that may be written. UF_FORK_ENGINE: a child's mapping is the same memory, and
 * the child writes back what it changed. MADV_REMOVE and MADV_GUARD_INSTALL are
 * refused; MADV_DONTNEED loses nothing.
 *
 * Returns the address, or as uf_mmap, and
 *   -EINVAL     pager is NULL; offset_bytes unaligned; flags has MAP_SHARED and
 *               the pager is not uf_pager_store's, or this is a forked child
 *               without an engine; MAP_SHARED_VALIDATE,
 *               MAP_GROWSDOWN or MAP_HUGETLB; the space was made
 *               with UF_FORK_ZERO
 *   -EACCES     MAP_SHARED and PROT_WRITE of a store that is only read
 *   -EMFILE     MAP_SHARED, the first of the pager: too many open files
 *   -EOVERFLOW  offset_bytes + len_bytes wraps
 */
intptr_t uf_mmap_pager(struct uf_space *space, uintptr_t address,
                       size_t len_bytes, int prot, int flags,
                       struct uf_pager *pager, uint64_t offset_bytes);

/*
 * uf_munmap: unmaps [address, address + len_bytes), as munmap(2). When it
 * returns no page can appear there. Unmapping nothing is no error.
 *
 * Returns 0 or
 *   -EINVAL   address unaligned; len_bytes is 0; not inside the space
 *   -ENOMEM   a mapping would be split beyond the limit of mappings
 *   -EDEADLK  called from a handler thread
 */
int uf_munmap(struct uf_space *space, uintptr_t address, size_t len_bytes);

/*
 * uf_mprotect: as mprotect(2), PROT_GROWSDOWN included. As there, mappings
 * before the one that stopped it have changed.
 *
 * Returns 0 or
 *   -EINVAL   address unaligned; unknown bits in prot; PROT_GROWSUP;
 *             PROT_GROWSDOWN on a mapping that does not grow down
 *   -ENOMEM   part of the range is not mapped; a limit (data, mappings)
 *   -EACCES   a file, or store, that was not opened for what is asked
 *   -EDEADLK  called from a handler thread
 */
int uf_mprotect(struct uf_space *space, uintptr_t address, size_t len_bytes,
                int prot);

/*
 * uf_mremap: as mremap(2) (mm/mremap.c of Linux 6.18): MREMAP_MAYMOVE,
 * MREMAP_FIXED, MREMAP_DONTUNMAP. A move without a change of length may span
 * several mappings. old_len_bytes 0 duplicates a shared mapping and is refused
 * for a private one. new_address counts with FIXED and DONTUNMAP only.
 * As there, what FIXED finds at the new place is gone even if the move fails
 * then, and a move of several mappings may end half-way.
 *
 * Returns the (new) address, or
 *   -EINVAL   address unaligned; new_len_bytes 0; unknown flags, or FIXED or
 *             DONTUNMAP without MAYMOVE; DONTUNMAP with a change of length;
 *             old and new range overlap; new range not inside the space;
 *             old_len_bytes is 0 and the mapping is private
 *   -EFAULT   nothing is mapped at address; a change of length across a
 *             mapping's end
 *   -ENOMEM   cannot grow in place and MAYMOVE is not given; no room; a limit
 *   -EAGAIN   the limit of locked memory
 *   -EDEADLK  called from a handler thread
 */
intptr_t uf_mremap(struct uf_space *space, uintptr_t address,
                   size_t old_len_bytes, size_t new_len_bytes, int flags,
                   uintptr_t new_address);

/*
 * uf_madvise: as madvise(2). Known: NORMAL, RANDOM, SEQUENTIAL, WILLNEED,
 * DONTNEED, DONTNEED_LOCKED, FREE, REMOVE, DONTFORK, DOFORK, WIPEONFORK,
 * KEEPONFORK, DONTDUMP, DODUMP, MERGEABLE, UNMERGEABLE, HUGEPAGE, NOHUGEPAGE,
 * COLLAPSE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE, GUARD_INSTALL,
 * GUARD_REMOVE. After DONTNEED a page reads as new: zeros, or what its pager
 * supplies. HUGEPAGE gives anonymous memory the huge policy (UF_SPACE_HUGE of
 * ufault/ufault.h), NOHUGEPAGE takes it. No advice calls malloc or starts a
 * thread, so an allocator may give it under its lock. WILLNEED has the pages of a pager
 * brought in in the background (uf_prefetch) and does nothing for memory of
 * zeros, as in the kernel. Advice on huge pages, same-page merging, cold pages and guards is
 * passed on to the kernel and depends on it.
 *
 * Returns 0 or
 *   -EINVAL   address unaligned; length wraps; unknown advice; advice that the
 *             kernel or this kind of mapping does not have
 *   -ENOMEM   part of the range is not mapped (the rest was advised; with
 *             POPULATE_* what lies before); the host's refusal
 *   -EPERM    HWPOISON, SOFT_OFFLINE
 *   -EFAULT   POPULATE_*: a page could not be supplied
 *   -EACCES   REMOVE on a mapping that is not shared and writable
 *   -EAGAIN   a mapping would be split beyond the limit of mappings; COLLAPSE:
 *             no huge page now
 *   -EBUSY    COLLAPSE: no huge page now
 *   -EOPNOTSUPP  REMOVE: not on this file system; not on a store
 *   -EDEADLK  called from a handler thread
 */
int uf_madvise(struct uf_space *space, uintptr_t address, size_t len_bytes,
               int advice);

/*
 * uf_mincore: one byte a page into ret_vec: bit 0 is set if the page is
 * resident (for files: in the page cache), as mincore(2).
 *
 * Returns 0 or
 *   -EINVAL  address unaligned
 *   -EFAULT  ret_vec cannot be written
 *   -ENOMEM  part of the range is not mapped
 */
int uf_mincore(struct uf_space *space, uintptr_t address, size_t len_bytes,
               unsigned char *ret_vec);

/* uf_mlock2: lock pages as they are touched, not at once (mlock2(2)). */
#define UF_MLOCK_ONFAULT 0x1u

/*
 * uf_mlock, uf_mlock2: as mlock(2). Pages are populated and pinned in the host,
 * which may refuse by its own RLIMIT_MEMLOCK.
 *
 * Return 0 or
 *   -EINVAL  the range wraps; unknown flags
 *   -ENOMEM  part of the range is not mapped (the rest before it is locked); a
 *            limit (locked memory, mappings); a page could not be supplied
 *            (all of it is locked)
 *   -EPERM   the limit of locked memory is 0
 *   -EAGAIN  no memory to populate with (all of it is locked)
 *   -EDEADLK called from a handler thread
 */
int uf_mlock(struct uf_space *space, uintptr_t address, size_t len_bytes);
int uf_mlock2(struct uf_space *space, uintptr_t address, size_t len_bytes,
              unsigned flags);

/*
 * uf_munlock: as munlock(2).
 *
 * Returns 0 or
 *   -EINVAL  the range wraps
 *   -ENOMEM  part of the range is not mapped (the rest before it is unlocked);
 *            the limit of mappings
 *   -EDEADLK called from a handler thread
 */
int uf_munlock(struct uf_space *space, uintptr_t address, size_t len_bytes);

/* uf_mlockall's flags, as mlockall(2)'s. */
#define UF_MCL_CURRENT 0x1
#define UF_MCL_FUTURE  0x2
#define UF_MCL_ONFAULT 0x4

/*
 * uf_mlockall: as mlockall(2), over the space. A mapping that cannot be locked
 * stays as it is, and that is no error.
 *
 * Returns 0 or
 *   -EINVAL  no flag, an unknown one, or ONFAULT alone
 *   -ENOMEM  CURRENT, and the limit of locked memory is less than what is
 *            mapped
 *   -EPERM   the limit of locked memory is 0
 *   -EDEADLK called from a handler thread
 */
int uf_mlockall(struct uf_space *space, int flags);

/*
 * uf_munlockall: as munlockall(2), over the space.
 *
 * Returns 0 or
 *   -EINVAL  not a live space
 *   -EDEADLK called from a handler thread
 */
int uf_munlockall(struct uf_space *space);

/*
 * uf_msync: as msync(2): MS_ASYNC, MS_SYNC, MS_INVALIDATE. Writes back shared
 * mappings of files and of stores; does nothing for other memory. As for a file,
 * a failure is told once, to the next MS_SYNC of any mapping of the pager.
 *
 * Returns 0 or
 *   -EINVAL  address unaligned; unknown flags; MS_ASYNC with MS_SYNC
 *   -ENOMEM  part of the range is not mapped (the rest was synced); it wraps
 *   -EBUSY   MS_INVALIDATE on locked memory
 *   -EIO, -ENOSPC  the file, or store, could not be written
 *   -EDEADLK  a shared mapping of a store, from a handler thread or from the
 *             store's own function
 */
int uf_msync(struct uf_space *space, uintptr_t address, size_t len_bytes,
             int flags);

#ifdef __cplusplus
}
#endif

#endif
