/* SPDX-License-Identifier: MIT */
/* See uffd_parts.h. */
#include "host/uffd_parts.h"

#include <errno.h>

#include "base/slab.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

struct uffd_parts {
    struct uffd as_one; /* first: what callers have */
    uintptr_t origin;   /* where part 0 would begin, were the range aligned */
    size_t part_len;
    unsigned count;
    struct uffd *each[UFFD_PARTS_MAX];
};

static struct slab_cache all_parts =
    SLAB_CACHE("uffd_parts", sizeof(struct uffd_parts));

/* The descriptor of the part that *range begins in; *range is cut to it. */
static struct uffd *cut(const struct uffd *u, struct range *range)
{
    const struct uffd_parts *parts = (const struct uffd_parts *)u;
    size_t i = (range->start - parts->origin) / parts->part_len;
    uintptr_t end = parts->origin + (i + 1) * parts->part_len;

    if (i + 1 < parts->count && end < range->end)
        range->end = end;
    return parts->each[i < parts->count ? i : parts->count - 1];
}

/* The result for a range of which `part` was tried. */
static struct uffd_result as_cut_short(struct uffd_result got,
                                       struct range range, struct range part)
{
    if (got.err == 0 && part.end < range.end)
        got = (struct uffd_result){-EAGAIN, (int64_t)range_len(part)};
    return got;
}

static struct uffd_result parts_copy(struct uffd *u, struct range dst,
                                     const void *src)
{
    struct range part = dst;
    struct uffd *one = cut(u, &part);

    return as_cut_short(one->ops->copy(one, part, src), dst, part);
}

static struct uffd_result parts_copy_protected(struct uffd *u, struct range dst,
                                               const void *src)
{
    struct range part = dst;
    struct uffd *one = cut(u, &part);

    return as_cut_short(one->ops->copy_protected(one, part, src), dst, part);
}

static struct uffd_result parts_zeropage(struct uffd *u, struct range dst)
{
    struct range part = dst;
    struct uffd *one = cut(u, &part);

    return as_cut_short(one->ops->zeropage(one, part), dst, part);
}

static struct uffd_result parts_move(struct uffd *u, struct range dst,
                                     void *src)
{
    struct range part = dst;
    struct uffd *one = cut(u, &part);

    return as_cut_short(one->ops->move(one, part, src), dst, part);
}

static struct uffd_result parts_poison(struct uffd *u, struct range dst)
{
    struct range part = dst;
    struct uffd *one = cut(u, &part);

    return as_cut_short(one->ops->poison(one, part), dst, part);
}

/* Calls that have no measure of what they did: part by part, to the first
 * error. */
static struct uffd_result
each_part(struct uffd *u, struct range range,
          struct uffd_result (*call)(struct uffd *one, struct range part))
{
    struct uffd_result got = {0};

    while (got.err == 0 && !range_is_empty(range)) {
        struct range part = range;
        struct uffd *one = cut(u, &part);

        got = call(one, part);
        range.start = part.end;
    }
    return got;
}

static struct uffd_result wake_one(struct uffd *one, struct range part)
{
    return one->ops->wake(one, part);
}

static struct uffd_result register_one(struct uffd *one, struct range part)
{
    return one->ops->regist(one, part);
}

static struct uffd_result unregister_one(struct uffd *one, struct range part)
{
    return one->ops->unregister(one, part);
}

static struct uffd_result track_one(struct uffd *one, struct range part)
{
    return one->ops->track(one, part);
}

static struct uffd_result protect_one(struct uffd *one, struct range part)
{
    return one->ops->protect(one, part, true);
}

static struct uffd_result unprotect_one(struct uffd *one, struct range part)
{
    return one->ops->protect(one, part, false);
}

static struct uffd_result parts_track(struct uffd *u, struct range range)
{
    return each_part(u, range, track_one);
}

static struct uffd_result parts_protect(struct uffd *u, struct range range,
                                        bool on)
{
    return each_part(u, range, on ? protect_one : unprotect_one);
}

static struct uffd_result parts_wake(struct uffd *u, struct range range)
{
    return each_part(u, range, wake_one);
}

static struct uffd_result parts_register(struct uffd *u, struct range range)
{
    return each_part(u, range, register_one);
}

static struct uffd_result parts_unregister(struct uffd *u, struct range range)
{
    return each_part(u, range, unregister_one);
}

static int parts_read(struct uffd *u, struct uffd_fault *faults, int max)
{
    (void)u;
    (void)faults;
    (void)max;
    return -EINVAL;
}

static int parts_wait(struct uffd *u, int stop_fd, int64_t timeout_ns)
{
    (void)u;
    (void)stop_fd;
    (void)timeout_ns;
    return -EINVAL;
}

static void parts_close(struct uffd *u)
{
    slab_free(&all_parts, u);
}

static const struct uffd_ops parts_ops = {
    .read = parts_read,
    .wait = parts_wait,
    .copy = parts_copy,
    .zeropage = parts_zeropage,
    .move = parts_move,
    .poison = parts_poison,
    .wake = parts_wake,
    .regist = parts_register,
    .unregister = parts_unregister,
    .track = parts_track,
    .protect = parts_protect,
    .copy_protected = parts_copy_protected,
    .close = parts_close,
};

int uffd_parts_create(struct uffd *const *each, unsigned count,
                      struct range range, struct uffd **ret)
{
    struct uffd_parts *parts = slab_alloc(&all_parts);
    size_t len;

    if (!parts)
        return -ENOMEM;
    parts->as_one = *each[0];
    parts->as_one.ops = &parts_ops;
    parts->as_one.fd = -1;
    parts->origin = align_down(range.start, HUGE_PAGE_BYTES);
    len = range.end - parts->origin;
    parts->part_len = align_up((len + count - 1) / count, HUGE_PAGE_BYTES);
    parts->count = count;
    for (unsigned i = 0; i < count; i++)
        parts->each[i] = each[i];
    *ret = &parts->as_one;
    return 0;
}
