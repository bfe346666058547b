/* SPDX-License-Identifier: MIT */
/*
 * ufault/posix_names.h: after this, mmap means uf_posix_mmap, and so on through
 * the family: what the -D flags of uf_posix(3) do, by one header. To be
 * included behind a source's other headers, or before all by
 *
 *     cc -D_GNU_SOURCE -include ufault/posix_names.h
 *
 * The one way to rename in a source that is compiled for _FILE_OFFSET_BITS=64:
 * there glibc's header ties the name mmap, whatever -D makes of it, to the
 * symbol mmap64.
 */
#ifndef UFAULT_POSIX_NAMES_H
#define UFAULT_POSIX_NAMES_H

#include <sys/mman.h>
#include <unistd.h>

#include "ufault/posix.h"

#define mmap       uf_posix_mmap
#define mmap64     uf_posix_mmap64
#define munmap     uf_posix_munmap
#define mprotect   uf_posix_mprotect
#define mremap     uf_posix_mremap
#define madvise    uf_posix_madvise
#define mincore    uf_posix_mincore
#define msync      uf_posix_msync
#define mlock      uf_posix_mlock
#define mlock2     uf_posix_mlock2
#define munlock    uf_posix_munlock
#define mlockall   uf_posix_mlockall
#define munlockall uf_posix_munlockall
#define brk        uf_posix_brk
#define sbrk       uf_posix_sbrk

#endif
