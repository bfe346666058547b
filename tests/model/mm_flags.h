/* SPDX-License-Identifier: MIT */
/*
 * Names of flags and advice, for the generator and for text; numbers that the
 * C library may be too old to name.
 */
#ifndef TESTS_MODEL_MM_FLAGS_H
#define TESTS_MODEL_MM_FLAGS_H

#include <stddef.h>

#define MM_MAP_SHARED_VALIDATE 0x03
#define MM_MAP_DROPPABLE_BIT   0x08
#define MM_MAP_SYNC            0x80000
#define MM_MAP_FIXED_NOREPLACE 0x100000
#define MM_MADV_COLD           20
#define MM_MADV_HWPOISON       100
#define MM_MADV_SOFT_OFFLINE   101
#define MM_MADV_PAGEOUT        21
#define MM_MADV_COLLAPSE       25

struct mm_name {
    int value;
    const char *name;
};

extern const struct mm_name mm_map_flags[], mm_advice[];
extern const size_t mm_map_nflags, mm_nadvice;

#endif
