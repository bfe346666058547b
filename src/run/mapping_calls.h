/* SPDX-License-Identifier: MIT */
/*
 * mapping_calls: what libc's functions on memory become; see mapping.h. Types,
 * answers and errno are libc's.
 */
#ifndef UF_RUN_MAPPING_CALLS_H
#define UF_RUN_MAPPING_CALLS_H

#include <stddef.h>
#include <sys/types.h>

#include "run/mapping.h"

void *mapping_mmap(void *addr, size_t len, int prot, int flags, int fd,
                   off_t offset);
int mapping_munmap(void *addr, size_t len);
int mapping_mprotect(void *addr, size_t len, int prot);
int mapping_pkey_mprotect(void *addr, size_t len, int prot, int pkey);
void *mapping_mremap(void *old_addr, size_t old_len, size_t new_len, int flags,
                     void *to_addr);
int mapping_madvise(void *addr, size_t len, int advice);
int mapping_mlock(const void *addr, size_t len);
int mapping_mlock2(const void *addr, size_t len, unsigned flags);
int mapping_munlock(const void *addr, size_t len);

#endif
