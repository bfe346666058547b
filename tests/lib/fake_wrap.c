/* SPDX-License-Identifier: MIT */
/* See fake_wrap.h. */
#include "lib/fake_wrap.h"

#include "fault/engine.h"

static int wrap_read(struct uffd *u, struct uffd_fault *faults, int max)
{
    struct fake_wrap *wrap = u->fake;
    struct uffd_result scripted;

    if (fake_script_next(&wrap->script, FAKE_READ, 0, &scripted))
        return scripted.err;
    return wrap->real.ops->read(&wrap->real, faults, max);
}

static int wrap_wait(struct uffd *u, int stop_fd, int64_t timeout_ns)
{
    struct fake_wrap *wrap = u->fake;
    struct uffd_result scripted;

    if (fake_script_next(&wrap->script, FAKE_WAIT, 0, &scripted))
        return scripted.err;
    return wrap->real.ops->wait(&wrap->real, stop_fd, timeout_ns);
}

static struct uffd_result pass_on(struct fake_wrap *wrap, enum fake_op op,
                                  struct range dst, const void *src)
{
    switch (op) {
    case FAKE_MOVE:
        return wrap->real.ops->move(&wrap->real, dst,
                                    (void *)(uintptr_t)src); /* NOLINT */
    case FAKE_COPY:
        return wrap->real.ops->copy(&wrap->real, dst, src);
    case FAKE_ZEROPAGE:
        return wrap->real.ops->zeropage(&wrap->real, dst);
    default:
        return wrap->real.ops->poison(&wrap->real, dst);
    }
}

static struct uffd_result put(struct uffd *u, enum fake_op op, struct range dst,
                              const void *src)
{
    struct fake_wrap *wrap = u->fake;
    struct uffd_result scripted, got;
    size_t done;

    if (!fake_script_next(&wrap->script, op, range_len(dst), &scripted))
        return pass_on(wrap, op, dst, src);
    done = fake_done_for_real(scripted.done, range_len(dst));
    if (done == 0)
        return scripted;
    dst.end = dst.start + done;
    got = pass_on(wrap, op, dst, src);
    return got.err ? got : scripted;
}

static struct uffd_result wrap_copy(struct uffd *u, struct range dst,
                                    const void *src)
{
    return put(u, FAKE_COPY, dst, src);
}

static struct uffd_result wrap_zeropage(struct uffd *u, struct range dst)
{
    return put(u, FAKE_ZEROPAGE, dst, NULL);
}

static struct uffd_result wrap_move(struct uffd *u, struct range dst, void *src)
{
    return put(u, FAKE_MOVE, dst, src);
}

static struct uffd_result wrap_poison(struct uffd *u, struct range dst)
{
    return put(u, FAKE_POISON, dst, NULL);
}

static struct uffd_result wrap_wake(struct uffd *u, struct range range)
{
    struct fake_wrap *wrap = u->fake;
    struct uffd_result ignored;

    fake_script_next(&wrap->script, FAKE_WAKE, 0, &ignored);
    return wrap->real.ops->wake(&wrap->real, range);
}

static struct uffd_result wrap_register(struct uffd *u, struct range range)
{
    struct fake_wrap *wrap = u->fake;
    struct uffd_result scripted;

    if (fake_script_next(&wrap->script, FAKE_REGISTER, 0, &scripted))
        return scripted;
    return wrap->real.ops->regist(&wrap->real, range);
}

static struct uffd_result wrap_unregister(struct uffd *u, struct range range)
{
    struct fake_wrap *wrap = u->fake;

    return wrap->real.ops->unregister(&wrap->real, range);
}

static void wrap_close(struct uffd *u)
{
    struct fake_wrap *wrap = u->fake;

    wrap->real.ops->close(&wrap->real);
    u->fd = -1;
}

static const struct uffd_ops wrap_ops = {
    .read = wrap_read,
    .wait = wrap_wait,
    .copy = wrap_copy,
    .zeropage = wrap_zeropage,
    .move = wrap_move,
    .poison = wrap_poison,
    .wake = wrap_wake,
    .regist = wrap_register,
    .unregister = wrap_unregister,
    .close = wrap_close,
};

int fake_wrap_init(struct fake_wrap *wrap)
{
    fake_script_init(&wrap->script);
    return engine_open_uffd(0, UF_ENGINE_THREAD, &wrap->real);
}

struct uffd fake_wrap_handle(struct fake_wrap *wrap)
{
    struct uffd handle = wrap->real;

    handle.ops = &wrap_ops;
    handle.fake = wrap;
    return handle;
}
