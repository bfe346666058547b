/* SPDX-License-Identifier: MIT */
/*
 * uffd_parts: several userfaultfds as one, each with a part of a range.
 *
 *     range   |· · 2 MiB · ·|· · 2 MiB · ·|· · · · ·|
 *     parts   [──────── 0 ───────────────)[─── 1 ───)
 *                       │                     │
 *                       ▼ its faults          ▼ its faults
 *                   descriptor 0          descriptor 1
 *
 * The kernel keeps one descriptor for each of its VMAs. Threads that touch
 * different parts then queue at different descriptors, whose handlers serve
 * them side by side. All parts are equal but the last, and begin at a huge
 * page, so that no huge page lies in two.
 *
 * What is called through it goes to the descriptor of the part. A copy, move or
 * zeropage over a boundary ends there, as one that the kernel has cut short
 * (-EAGAIN, with what was done); the rest is a call of its own. Faults are read
 * from the descriptors themselves.
 */
#ifndef UF_HOST_UFFD_PARTS_H
#define UF_HOST_UFFD_PARTS_H

#include "host/uffd.h"

#define UFFD_PARTS_MAX 16

/*
 * `each` is `count` descriptors, with the same features, that stay open as long
 * as this one. uffd_close ends it, and does not close them. 0 or -ENOMEM.
 */
int uffd_parts_create(struct uffd *const *each, unsigned count,
                      struct range range, struct uffd **ret);

#endif
