/* SPDX-License-Identifier: MIT */
/*
 * kernel_heap: the heap as the kernel knows it.
 *
 * A served break moves without the kernel's own brk. Its idea of the break is
 * set afterwards all the same (prctl(2), PR_SET_MM), for whoever goes on from
 * it: a forked child, a process that is not served, the next program, and the
 * [heap] line of /proc/PID/maps. So "let the kernel do it" is right for every
 * process that has no agent. Kernels without it (no CONFIG_CHECKPOINT_RESTORE
 * and no CAP_SYS_RESOURCE) serve all the same; only a child left unserved then
 * finds its first break refused, and malloc goes on with mmap.
 */
#ifndef UF_RUN_KERNEL_HEAP_H
#define UF_RUN_KERNEL_HEAP_H

#include <linux/prctl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct kernel_heap {
    struct prctl_mm_map map; /* as the kernel has it, .brk is ours to change */
    bool by_map;             /* set all fields at once: the unprivileged way */
    bool out_of_sync;        /* the kernel cannot be told */
};

/*
 * The system call itself, through the filter if there is one: the break, moved
 * if it could be. Natively brk has no errors. Under the filter a signal may cut
 * the notification short: repeated. 0: nobody answers any more (-ENOSYS).
 */
uintptr_t kernel_brk(uintptr_t brk);

/* What /proc/self/stat says. 0 or -errno. */
int kernel_heap_read(struct kernel_heap *heap);

/* The addresses a heap may ever have, from start_brk: as far as memory and swap
 * reach twice, at most 1 TiB. Reserves nothing. */
struct range kernel_heap_reach(const struct kernel_heap *heap);

/* Tells the kernel where the break is. */
void kernel_heap_set_brk(struct kernel_heap *heap, uintptr_t brk);

#endif
