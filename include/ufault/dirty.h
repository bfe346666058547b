/* SPDX-License-Identifier: MIT */
/*
 * ufault/dirty.h: which pages of a space were written.
 *
 *     uf_dirty_start ─► the program runs ─► uf_dirty_collect ─► it runs on ─► ...
 *                                              │
 *                                              └ ranges written since the last
 *                                                collect; clean again
 *
 * A page is reported when its bytes may differ from what they were: it was
 * written, dropped (MADV_DONTNEED and the like), unmapped and mapped again, or
 * moved there. A page that was only read, or never touched, is not. More than
 * that may be reported: a page written with the bytes it had; all of a huge
 * page; mappings that the kernel serves (files, shared memory) and that may be
 * written, always.
 *
 * The cost: the first write to each page after a collect is one more fault,
 * which the kernel answers by itself since Linux 6.7 (UFFD_FEATURE_WP_ASYNC,
 * PAGEMAP_SCAN). On older kernels, to 5.7, a handler answers it. While tracking
 * is on, memory with the huge policy comes as small pages.
 *
 * On kernels that cannot protect pages so, the slow path: uf_dirty_start copies
 * all that is resident, and each collect compares it, of one moment (a copy of
 * the process, as ufault/checkpoint.h has it). That takes as much memory again,
 * about 1 us a resident page, and touches that need a page wait meanwhile. Then
 * a page is not reported that was written and has again, at the collect, the
 * bytes of the one before: who copies pages while others write may have caught
 * it in between. A page that a pager has supplied since counts as written.
 *
 * Memory that a device or the kernel still writes, by a request that was made
 * before the collect (io_uring, O_DIRECT), is not seen to be written.
 *
 * Any thread may call these; not from a signal handler, a pager or a hook.
 * Tracking ends with the space, and is not inherited by a forked child.
 */
#ifndef UFAULT_DIRTY_H
#define UFAULT_DIRTY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_space;

/* [start, end), whole pages. */
struct uf_range {
    uintptr_t start;
    uintptr_t end;
};

enum uf_dirty_kind {
    UF_DIRTY_OFF,
    UF_DIRTY_ASYNC,  /* the kernel keeps the record (Linux 6.7) */
    UF_DIRTY_SYNC,   /* each first write is a fault that the engine answers */
    UF_DIRTY_COMPARE /* all that is resident is compared with a copy of it */
};

/*
 * uf_dirty_start: from now on writes are recorded; nothing is dirty. Where they
 * were already, what was recorded is forgotten.
 *
 * Returns 0 or
 *   -EINVAL   no live space
 *   -EDEADLK  called from a handler thread
 *   -EOPNOTSUPP  there is no /proc, or the space has no engine, or is the heap of
 *             `ufault run`
 *   -ENOMEM   no memory for the record, or vm.max_map_count
 *   -EMFILE   no descriptor for files in /proc
 * See also: UFFDIO_WRITEPROTECT in ioctl_userfaultfd(2).
 */
int uf_dirty_start(struct uf_space *space);

/*
 * uf_dirty_collect: the ranges that are dirty, ascending, at most `max` of them,
 * which are clean from then on: a write that happens meanwhile is in this answer
 * or in the next. If the answer is `max` there may be more: the next call goes
 * on above, and only a call that returns less has seen all of the space.
 *
 * Returns the number of ranges or
 *   -EINVAL   no live space; tracking is off; ranges is NULL; max is 0
 *   -EDEADLK  called from a handler thread
 *   -EIO      the kernel does not answer (/proc is gone); nothing was collected
 * See also: PAGEMAP_SCAN in the kernel's admin-guide/mm/pagemap.rst.
 */
ssize_t uf_dirty_collect(struct uf_space *space, struct uf_range *ranges,
                         size_t max);

/*
 * uf_dirty_stop: no more. Returns 0 or
 *   -EINVAL   no live space, or tracking is off
 *   -EDEADLK  called from a handler thread
 */
int uf_dirty_stop(struct uf_space *space);

/* How writes are recorded; UF_DIRTY_OFF also for a handle that is no live
 * space. */
enum uf_dirty_kind uf_dirty_kind(struct uf_space *space);

#ifdef __cplusplus
}
#endif

#endif
