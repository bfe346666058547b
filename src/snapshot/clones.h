/* SPDX-License-Identifier: MIT */
/* clones: pools of spaces from one template; see ufault/template.h. */
#ifndef UF_SNAPSHOT_CLONES_H
#define UF_SNAPSHOT_CLONES_H

#include <stddef.h>

#include "ufault/template.h"

/* Bodies of the public functions; arguments are checked. */
int clones_create(struct uf_template *t, const struct uf_space_opts *opts,
                  size_t keep, struct uf_pool **ret_pool);
void clones_limit(struct uf_pool *pool, size_t most);
int clones_get(struct uf_pool *pool, struct uf_space **ret_space);
int clones_put(struct uf_pool *pool, struct uf_space *space);
size_t clones_ready(struct uf_pool *pool);
void clones_destroy(struct uf_pool *pool);

#endif
