/* SPDX-License-Identifier: MIT */
/*
 * drawn: a small space as a drawing, and calls on it by column. It has no
 * engine, since its pages do not matter, only its mappings.
 *
 * One character is a page, from the space's base:
 *
 *     A  read, write        L  A, locked         F  A, pager f
 *     B  read only          R  A, MADV_RANDOM    G  A, pager g
 *     N  closed             S  A, NORESERVE      b  B, pager f
 *     ' ' nothing (none at the end)
 *     *  the first page of a VMA like the one that ends there, and not merged
 *
 * Pagers give bytes by offset; a drawn F has the offset of its column.
 */
#ifndef TESTS_LIB_DRAWN_H
#define TESTS_LIB_DRAWN_H

#include <stddef.h>
#include <stdint.h>

#include "mm/map.h"

#define DRAWN_COLUMNS 24
#define DRAWN_RW      (PROT_READ | PROT_WRITE)

/* The space; cmocka's set-up and tear-down of each test. */
extern struct uf_space *drawn;
int drawn_setup(void **state);
int drawn_teardown(void **state);

/* The address of a column. */
uintptr_t drawn_at(size_t column);

/* Empties the space and maps what the drawing says. Asserts. */
void drawn_draw(const char *drawing);
/* Asserts that the space looks so. */
void drawn_expect(const char *drawing);
/* Limits the number of mappings. */
void drawn_limit(size_t count);

/* The calls, on columns [first, end). Each answers as its uf_ call does. */
intptr_t drawn_map(char kind, size_t first, size_t end, size_t offset);
int drawn_unmap(size_t first, size_t end);
int drawn_protect(size_t first, size_t end, int prot);
int drawn_lock(size_t first, size_t end);
int drawn_unlock(size_t first, size_t end);
int drawn_advise(size_t first, size_t end, int advice);
/* mremap: npages at `from` to `to`; npages at `from` become `more`. */
intptr_t drawn_move(size_t from, size_t npages, size_t to);
intptr_t drawn_resize(size_t from, size_t npages, size_t more);

#endif
