/* SPDX-License-Identifier: MIT */
/*
 * ufault/checkpoint.h: an image of a space that runs.
 *
 *     uf_checkpoint ─► one ─► uf_checkpoint, parent one ─► two ─► ...
 *        │
 *        └ a moment's pause: everything is as it is; then the guest runs on, and
 *          what it was at that moment is written to the file
 *
 * The moment is one for all threads: what a thread wrote is in the image only if
 * everything is that it wrote before, and everything that it had seen.
 *
 * How: the process is copied as by fork(2), without a thread that would run in
 * the copy, and without handlers of pthread_atfork; the image is read from the
 * copy, which is gone when uf_checkpoint returns. So
 *   - the pause is what the kernel takes to copy the page tables, of all the
 *     process's memory and not of the space alone. Threads run on meanwhile, as
 *     long as they need no page, no memory and no call on memory;
 *   - until the image is written, the first write to any page of the process is
 *     a fault, and a copy: at worst the process takes twice its memory;
 *   - the process needs one more process id, under RLIMIT_NPROC.
 *
 * Writes are tracked from the first checkpoint on (ufault/dirty.h says what that
 * costs), so that later ones need not look at what was not written. The program's
 * own uf_dirty_* are not disturbed.
 */
#ifndef UFAULT_CHECKPOINT_H
#define UFAULT_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "ufault/image.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uf_checkpoint_result {
    size_t size;
    /* How long threads that needed a page or made a call on memory had to wait,
     * in all. */
    uint64_t pause_ns;
    uint64_t stored_pages; /* in the file */
    uint64_t file_bytes;
    /* 1: what was written since the parent was known. 0: all was read, and with
     * a parent compared. */
    uint32_t tracked;
    uint32_t reserved; /* 0 */
};

/*
 * uf_checkpoint: as uf_image_save, while the space is in use: other threads may
 * write to it and call what they like, but another uf_checkpoint of the same
 * space, uf_space_reset and uf_space_destroy. Pages that a pager supplies and
 * that were never touched are asked of the pager, and do not become resident;
 * where they are those of an image that is the parent they are left out unread.
 *
 * opts->parent may be any image in the same directory. If it is the last one that
 * was saved of this space, by uf_checkpoint or by uf_image_save after the first
 * uf_checkpoint, only what was written since is read. Else every page is
 * compared with it. `result` may be NULL; result->size must be set.
 *
 * After an error `path` is what it was, and nothing is forgotten: the next
 * checkpoint has all that this one should have had. (After -EIO from the very
 * last step, the sync of the directory, `path` may be the new image.)
 *
 * Returns 0, what uf_image_save returns, or
 *   -EINVAL   result->size is unknown
 *   -EBUSY    another uf_checkpoint, or uf_image_save, of the space is under way
 *   -EAGAIN   no more processes (RLIMIT_NPROC, pids.max)
 *   -EACCES   also: the process may not have a child (seccomp), or read its memory
 *             (kernel.yama.ptrace_scope 3, PR_SET_DUMPABLE 0, /proc of another pid
 *             namespace)
 *   -ENOMEM   also: memory for the page tables, vm.overcommit_memory 2,
 *             vm.max_map_count
 * See also: fork(2), CRIU.
 */
int uf_checkpoint(struct uf_space *space, const char *path,
                  const struct uf_image_opts *opts,
                  struct uf_checkpoint_result *result);

#ifdef __cplusplus
}
#endif

#endif
