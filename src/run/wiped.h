/* SPDX-License-Identifier: MIT */
/*
 * wiped: words that every child with memory of its own finds zero, whichever
 * way it was made (MADV_WIPEONFORK), while a vfork child, which shares our
 * memory, finds them as they are. So what is said here of this process no child
 * takes for its own.
 */
#ifndef UF_RUN_WIPED_H
#define UF_RUN_WIPED_H

#include <stdatomic.h>
#include <stdint.h>

enum wiped_word { WIPED_HEAP_SERVED, WIPED_MAPPING_ON, WIPED_WORDS };

/* 0 or -errno. Once, before the rest. */
int wiped_init(void);

uint32_t wiped_get(enum wiped_word which); /* 0 before wiped_init */
void wiped_set(enum wiped_word which, uint32_t value);

#endif
