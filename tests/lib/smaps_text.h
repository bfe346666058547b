/* SPDX-License-Identifier: MIT */
/*
 * smaps_text: one reader for the texts of uf_space_smaps and of the kernel's
 * /proc/self/smaps, so that whatever it reads of both is written alike.
 */
#ifndef TESTS_LIB_SMAPS_TEXT_H
#define TESTS_LIB_SMAPS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines that are numbers, "Rss:" and so on; THPeligible is not looked at, since
 * it depends on how the host has cut its mappings. */
#define SMAP_FIELDS 23

extern const char *const smap_fields[SMAP_FIELDS];

struct smap {
    uintptr_t start;
    uintptr_t end;
    char perms[5];
    uint64_t offset;
    char device[16];
    uint64_t inode;
    char name[96];
    long kb[SMAP_FIELDS]; /* -1: there is no such line */
    char flags[128];      /* "rd wr ", without ac, um, sd */
};

/* Entries of the text that begin in [from, to), at most `max`. Returns how
 * many; ends the process if a line is not as the kernel writes it. */
size_t smaps_parse(const char *text, uintptr_t from, uintptr_t to,
                   struct smap *ret, size_t max);

/* Of /proc/self/smaps. */
size_t smaps_of_kernel(uintptr_t from, uintptr_t to, struct smap *ret,
                       size_t max);

/* Neighbours that are one mapping but for how it came about (the kernel keeps
 * apart what was written to before it met) become one; sums. Returns how many
 * are left. */
size_t smaps_join(struct smap *maps, size_t n);

/* The value of a line, by its label. */
long smap_kb(const struct smap *map, const char *label);

#endif
