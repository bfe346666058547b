/* SPDX-License-Identifier: MIT */
/* working_set: pages in order, by number from the base of a space, and several
 * such orders as one. */
#ifndef UF_FAULT_WORKING_SET_H
#define UF_FAULT_WORKING_SET_H

#include <stddef.h>
#include <stdint.h>

struct uf_working_set {
    size_t memory_bytes;
    size_t npages;
    uint64_t pages[]; /* each once */
};

/* Copies the pages, each where it is named first. 0 or -ENOMEM. */
int working_set_create(const uint64_t *pages, size_t npages,
                       struct uf_working_set **ret_set);
void working_set_destroy(struct uf_working_set *set);

/* As uf_working_set_merge. */
int working_set_merge(const struct uf_working_set *const *sets, size_t nsets,
                      size_t at_least, struct uf_working_set **ret_set);

#endif
