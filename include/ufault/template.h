/* SPDX-License-Identifier: MIT */
/*
 * ufault/template.h: many spaces from one, and back again.
 *
 *     space, warmed up ─► uf_template_create ─► template: its pages, once
 *                                                  │ shared until written
 *              uf_space_from_template ┌────────────┼────────────┐
 *                                   space        space        space
 *                                     └ uf_space_reset: as it was at first
 *
 * A template is a copy of a space at rest: mappings, protections, break, pages.
 * A space made from it starts at once and costs next to nothing: the kernel
 * maps the template's pages into it, privately, and copies each one at its
 * first write. What a space maps beyond that, its heap's growth included, is
 * memory of its engine as ever.
 *
 * A pool keeps spaces ready. Any thread may call these functions, not from a
 * signal handler, a pager or a hook.
 */
#ifndef UFAULT_TEMPLATE_H
#define UFAULT_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uf_pool;
struct uf_space;
struct uf_space_opts;
struct uf_template;

/*
 * uf_template_create: a template of the space as it is now, with one reference,
 * the caller's. Nobody may write to the space, or map in it, meanwhile.
 * Protections and contents are kept; locks, advice, guards and names of files
 * are not: a private mapping of a file becomes memory with the same bytes. Of a
 * space that came from an image it makes the pages of the image lie ready: that
 * is how a pool comes from an image, and the fastest way to reset often.
 *
 * Returns 0 or
 *   -EINVAL   no live space; ret_template is NULL
 *   -EDEADLK  called from a handler thread
 *   -EOPNOTSUPP  the space has a MAP_SHARED or MAP_GROWSDOWN mapping
 *   -EFAULT   a page of it cannot be had (its pager failed)
 *   -EMFILE   no descriptor left
 *   -ENOMEM   no memory for the copy
 * See also: memfd_create(2).
 */
int uf_template_create(struct uf_space *space,
                       struct uf_template **ret_template);

/* One more / one less reference; NULL is allowed. A space holds one until it is
 * destroyed, a pool too. */
struct uf_template *uf_template_ref(struct uf_template *t);
void uf_template_unref(struct uf_template *t);

/* Bytes that its pages take, whatever the number of spaces. */
size_t uf_template_bytes(const struct uf_template *t);

/*
 * uf_space_from_template: as uf_space_create with `opts` (NULL: all defaults;
 * len_bytes 0: that of the templated space), at any address: everything lies at
 * the same distance from the base.
 *
 * Returns 0, what uf_space_create returns, or
 *   -EINVAL   t is NULL; len_bytes is too small for the template
 *   -ENOMEM   a limit of opts does not allow its mappings
 */
int uf_space_from_template(struct uf_template *t,
                           const struct uf_space_opts *opts,
                           struct uf_space **ret_space);

/*
 * uf_space_reset: makes the space what it was when it came from its template, or
 * its image (uf_space_from_image): mappings, break, every byte. Pages that were
 * not written stay resident. Those that were are copied back or dropped,
 * whichever is cheaper with the next request's touches; where they come from an
 * image they are dropped. Limits, hooks and statistics stay. Nobody may use the
 * space meanwhile.
 *
 * A space from an image does not know what was written until its first reset,
 * which drops all of its pages and begins to track (ufault/dirty.h has the cost).
 * Called right after uf_space_from_image it costs nothing. Where writes cannot
 * be tracked each reset drops all.
 *
 * Returns 0 or
 *   -EINVAL   no live space, or made from neither
 *   -EDEADLK  called from a handler thread
 *   -ENOMEM   it could not be made so (vm.max_map_count; a stack in an image that
 *             cannot be read): the space is good for nothing but another try, or
 *             uf_space_destroy
 */
int uf_space_reset(struct uf_space *space);

/*
 * uf_pool_create: a pool of spaces from `t`, made with `opts` as above, of which
 * it keeps up to `keep` ready: that many are made now.
 *
 * Returns 0, what uf_space_from_template returns, or
 *   -EINVAL   ret_pool is NULL; keep over 65,536; opts->address is not 0
 */
int uf_pool_create(struct uf_template *t, const struct uf_space_opts *opts,
                   size_t keep, struct uf_pool **ret_pool);

/*
 * uf_pool_limit: from now on at most `most` spaces are out at a time, got and
 * not put back; 0: any number, as at first. A space that is destroyed instead of
 * put back stays out for ever.
 *
 * Returns 0 or
 *   -EINVAL  pool is NULL
 */
int uf_pool_limit(struct uf_pool *pool, size_t most);

/*
 * uf_pool_get: a space as fresh from the template; a new one if none is ready.
 *
 * Returns 0, what uf_space_from_template returns, or
 *   -EINVAL  pool or ret_space is NULL
 *   -EAGAIN  as many are out as may be (uf_pool_limit)
 */
int uf_pool_get(struct uf_pool *pool, struct uf_space **ret_space);

/*
 * uf_pool_put: takes a space back that uf_pool_get gave: it is reset, and kept
 * ready, or destroyed if enough are or it could not be reset. Nobody may use it.
 *
 * Returns 0 or
 *   -EINVAL   pool is NULL; no live space, or not one that is out of this pool
 *   -EDEADLK  called from a handler thread
 */
int uf_pool_put(struct uf_pool *pool, struct uf_space *space);

/* How many spaces are ready; 0 for NULL. */
size_t uf_pool_ready(struct uf_pool *pool);

/* Destroys the pool and the spaces in it, not those that are out. NULL does
 * nothing. Not from a handler thread. */
void uf_pool_destroy(struct uf_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
