/* SPDX-License-Identifier: MIT */
/*
 * mapped: the name tag of memory that the kernel serves itself.
 *
 * A VMA of a file or of anonymous shared memory needs no fill: the kernel pages
 * it. It still has a pager, so that VMAs of the same file are known to belong
 * together. No descriptor is kept: closing a duplicate would drop the program's
 * record locks on the file (fcntl(2), F_SETLK).
 */
#ifndef UF_PAGER_MAPPED_H
#define UF_PAGER_MAPPED_H

#include <stdbool.h>

struct uf_pager;

/* For the file behind fd; -1: anonymous shared memory, like no other. NULL if
 * there is no memory. */
struct uf_pager *pager_mapped_create(int fd);

/* True if its pages are of shared memory (tmpfs, memfd, MAP_ANONYMOUS), as the
 * kernel counts RssShmem. Requires: made here. */
bool pager_mapped_is_shmem(const struct uf_pager *pager);

/* True if both, any pagers, are of one file. */
bool pager_mapped_are_alike(const struct uf_pager *a, const struct uf_pager *b);

#endif
