/* SPDX-License-Identifier: MIT */
/* The functions of ufault/template.h. */
#include "ufault/template.h"

#include "api.h"
#include "snapshot/clones.h"
#include "snapshot/template.h"

#define KEEP_MAX 65536

static int documented_for_template(int err)
{
    switch (err) {
    case 0:
    case -EOPNOTSUPP:
    case -EFAULT:
    case -EMFILE:
        return err;
    default:
        return -ENOMEM;
    }
}

int uf_template_create(struct uf_space *space,
                       struct uf_template **ret_template)
{
    int err = api_may_call(space);

    if (!err && !ret_template)
        err = -EINVAL;
    return err ? err
               : documented_for_template(template_create(space, ret_template));
}

struct uf_template *uf_template_ref(struct uf_template *t)
{
    return template_ref(t);
}

void uf_template_unref(struct uf_template *t)
{
    template_unref(t);
}

size_t uf_template_bytes(const struct uf_template *t)
{
    return t ? t->pages * page_size() : 0;
}

int uf_space_from_template(struct uf_template *t,
                           const struct uf_space_opts *opts,
                           struct uf_space **ret_space)
{
    return t && ret_space ? template_clone(t, opts, ret_space) : -EINVAL;
}

int uf_space_reset(struct uf_space *space)
{
    int err = api_may_call(space);

    if (!err && !space->origin)
        err = -EINVAL;
    return err ? err : space->origin->reset(space);
}

int uf_pool_create(struct uf_template *t, const struct uf_space_opts *opts,
                   size_t keep, struct uf_pool **ret_pool)
{
    if (!t || !ret_pool || keep > KEEP_MAX || (opts && opts->address))
        return -EINVAL;
    return clones_create(t, opts, keep, ret_pool);
}

int uf_pool_limit(struct uf_pool *pool, size_t most)
{
    if (!pool)
        return -EINVAL;
    clones_limit(pool, most);
    return 0;
}

int uf_pool_get(struct uf_pool *pool, struct uf_space **ret_space)
{
    return pool && ret_space ? clones_get(pool, ret_space) : -EINVAL;
}

int uf_pool_put(struct uf_pool *pool, struct uf_space *space)
{
    int err = pool ? api_may_call(space) : -EINVAL;

    return err ? err : clones_put(pool, space);
}

size_t uf_pool_ready(struct uf_pool *pool)
{
    return pool ? clones_ready(pool) : 0;
}

void uf_pool_destroy(struct uf_pool *pool)
{
    if (pool)
        clones_destroy(pool);
}
