/* SPDX-License-Identifier: MIT */
/*
 * frozen: this process's memory as it is at one moment, to be read at leisure.
 *
 *     frozen_take ──► clone(2), memory not shared: a child that runs nothing and
 *        │            has our page tables. Whoever writes from now on, here, gets
 *        │            a copy of his page from the kernel
 *     frozen_open     the child's memory and page tables, in /proc
 *     frozen_read ...
 *     frozen_end  ──► the child is killed, and waited for
 *
 * Not libc's fork: no handler of pthread_atfork runs, nobody's lock is taken. The
 * child blocks all signals, makes two system calls and sleeps; it ends with its
 * parent thread at the latest (PR_SET_PDEATHSIG). It shares the table of
 * descriptors, so that none of them stays open for its sake, and its end
 * raises no SIGCHLD.
 *
 * One moment it is for all threads. The kernel (dup_mmap) holds the lock of the
 * memory map, and that of each mapping, until all page tables are copied and no
 * CPU knows the old ones. A page that was copied is protected: who writes to it
 * either does so by what his CPU remembers, then the child sees it, too, as the
 * page is still one; or takes a fault, then he waits until the end. So a write
 * that is not in the child is behind everything that is, in each thread, and
 * so is what a thread writes after it has seen such a write.
 */
#ifndef UF_HOST_FROZEN_H
#define UF_HOST_FROZEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/range.h"

struct frozen {
    uint64_t token; /* the child has it here, too */
    pid_t pid;
    int mem;
    int pagemap;
};

/* 0, -EAGAIN (too many processes), -EACCES (clone is forbidden) or -ENOMEM. What
 * is MADV_DONTFORK is not in it, what is MADV_WIPEONFORK is empty. *ret stays
 * where it is until frozen_open. */
int frozen_take(struct frozen *ret);

/* 0, -EMFILE, -ENOMEM, or -EACCES: a process may not read its child, or /proc is
 * that of another pid namespace. */
int frozen_open(struct frozen *f);

void frozen_end(struct frozen *f);

/* Bytes at `addr`, whatever the protection. 0 or -EFAULT: not to be had. */
int frozen_read(const struct frozen *f, uintptr_t addr, void *to, size_t len);

/* The first run of pages of [part) that are there, or in swap; empty if there
 * is none. Where the kernel does not tell all of it at once (before 6.7), a run
 * may go on behind its end. 0 or -EIO. */
int frozen_present(const struct frozen *f, struct range part,
                   struct range *ret);

#endif
