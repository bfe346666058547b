/* SPDX-License-Identifier: MIT */
/*
 * guest: an image of a heap whose every page says which one it is, spaces made
 * from it, and sets of its pages drawn by lot.
 */
#ifndef TESTS_LIB_GUEST_H
#define TESTS_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ufault/image.h"
#include "ufault/working_set.h"

/* Each tenth page is zeros. */
#define GUEST_PAGES 1024u

extern char guest_path[64], guest_other[64];

/* cmocka's, of the group: the directory, and guest_path in it, without a
 * working set. */
int guest_set_up(void **state);
int guest_tear_down(void **state);

/* A space from the image of that name, with these UF_SPACE_*. Asserts. */
struct uf_space *guest_start(const char *path, uint32_t flags);

/* Reads a word of page number `n`: is it the page's own? Any thread. */
bool guest_read_is_right(const struct uf_space *space, uint64_t n);
/* All of the page. */
bool guest_page_is_right(const struct uf_space *space, uint64_t n);

/* `npages` different pages, the same for the same seed, in no order. */
void guest_draw(uint32_t seed, uint64_t *pages, size_t npages);

/* guest_other: as guest_path, with this working set. Asserts. */
void guest_save_with(const uint64_t *pages, size_t npages);

/* What became of the set. Asserts. */
struct uf_working_set_report guest_report(struct uf_space *space);
/* Waits until nothing is to come. */
void guest_await_ahead(struct uf_space *space);

#endif
