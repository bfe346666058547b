/* SPDX-License-Identifier: MIT */
/*
 * template: a space's mappings and pages, in a memfd at the same offsets.
 *
 *     space      |hhhhhh|    |rw|r-|        mappings
 *     memfd      |hh..hh|....|rw|r-|        zeros are holes
 *     clone      the same ranges, mapped MAP_PRIVATE from the memfd
 *
 * The kernel is the pager of a clone: a read shares the memfd's page, a write
 * copies it. So what a clone has changed is what is anonymous in it, which
 * PAGEMAP_SCAN tells from pages of the memfd. Reset puts the template's bytes
 * back into these; if they have become many it drops them, too.
 *
 * A clone whose mappings may have changed is mapped anew. Counters tell: calls
 * that map have been made, or not; the walk tells the rest.
 */
#ifndef UF_SNAPSHOT_TEMPLATE_H
#define UF_SNAPSHOT_TEMPLATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"
#include "mm/space.h"
#include "ufault/template.h"

/* A mapping, by offset from the base; neighbours of one protection are one. */
struct template_map {
    struct range part;
    int prot;
};

struct uf_template {
    atomic_ulong refs;
    int fd;     /* the memfd, sealed */
    char *view; /* all of it, to read */
    size_t len; /* of the memfd */
    size_t space_len;
    size_t brk;   /* from the base */
    size_t pages; /* that are no holes */
    size_t nmaps;
    size_t capacity; /* of maps */
    struct template_map *maps;
};

/* capture.c: fills in a template without maps. 0 or -errno. */
int template_capture(struct uf_template *t, struct uf_space *space);

/* Lays the template out in a space where nothing is mapped. 0 or -errno. */
int template_apply(struct uf_template *t, struct uf_space *space);

/* Bodies of the public functions; arguments are checked. */
int template_create(struct uf_space *space, struct uf_template **ret_template);
struct uf_template *template_ref(struct uf_template *t);
void template_unref(struct uf_template *t);
int template_clone(struct uf_template *t, const struct uf_space_opts *opts,
                   struct uf_space **ret_space);
int template_reset(struct uf_space *space);

/* True if the space was made from this one. */
bool template_made(const struct uf_template *t, const struct uf_space *space);

#endif
