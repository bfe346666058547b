/* SPDX-License-Identifier: MIT */
/*
 * wasi.c: what a guest may ask of its host: read its request (descriptor 0),
 * write its answer (1), say something (2), the time, random bytes, and to end.
 * All else is ENOSYS, and there are no files. A pointer of a guest is 32 bits
 * from anywhere: what it names is copied, never touched, and is EFAULT if it is
 * not the guest's.
 */
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "runtime.h"

/* WASI's numbers of errors. */
enum { OK = 0, BADF = 8, FAULT = 21, INVAL = 28, IO = 29, NOSYS = 52 };

/* What wasm2c calls the imports; the instance is the guest. */
#define WASI(result, name, ...)                                                \
    result Z_wasi_snapshot_preview1Z_##name(void *wasi, ##__VA_ARGS__);        \
    result Z_wasi_snapshot_preview1Z_##name(void *wasi, ##__VA_ARGS__)

struct iovec32 {
    uint32_t at, len_bytes;
};

static uintptr_t address(const struct guest *guest, uint32_t pointer)
{
    return uf_space_base(guest->space) + pointer;
}

/* Copies to and from the guest's memory, not what lies behind it. */
static int fetch(struct guest *guest, void *to, uint32_t from, size_t len_bytes)
{
    if (from + len_bytes > guest_memory_bytes(guest) ||
        uf_copy_in(guest->space, to, address(guest, from), len_bytes, NULL))
        return FAULT;
    return OK;
}

static int store(struct guest *guest, uint32_t to, const void *from,
                 size_t len_bytes)
{
    if (to + len_bytes > guest_memory_bytes(guest) ||
        uf_copy_out(guest->space, address(guest, to), from, len_bytes, NULL))
        return FAULT;
    return OK;
}

static int store32(struct guest *guest, uint32_t to, size_t value)
{
    uint32_t v = (uint32_t)value;

    return store(guest, to, &v, sizeof(v));
}

/* One buffer of a fd_read: what is left of the request, as far as it fits. */
static int give(struct guest *guest, struct iovec32 to, size_t *done)
{
    size_t n = guest->request_bytes - guest->request_at;
    int err;

    if (n > to.len_bytes)
        n = to.len_bytes;
    err = store(guest, to.at, guest->request + guest->request_at, n);
    if (err == OK) {
        guest->request_at += n;
        *done += n;
    }
    return err;
}

/* One buffer of a fd_write to the answer. */
static int take(struct guest *guest, struct iovec32 from, size_t *done)
{
    int err;

    if (from.len_bytes > guest->answer_max - guest->answer_bytes)
        return IO;
    err = fetch(guest, guest->answer + guest->answer_bytes, from.at,
                from.len_bytes);
    if (err == OK) {
        guest->answer_bytes += from.len_bytes;
        *done += from.len_bytes;
    }
    return err;
}

/* One buffer to standard error: the first 256 bytes of it. */
static int say(struct guest *guest, struct iovec32 from, size_t *done)
{
    char text[256];
    size_t n = from.len_bytes < sizeof(text) ? from.len_bytes : sizeof(text);
    int err = fetch(guest, text, from.at, n);

    if (err == OK) {
        fprintf(stderr, "%s says: %.*s\n", guest->module->name, (int)n, text);
        *done += from.len_bytes;
    }
    return err;
}

static uint32_t each(struct guest *guest, uint32_t list, uint32_t n,
                     uint32_t ret_done,
                     int (*move)(struct guest *, struct iovec32, size_t *))
{
    struct iovec32 buffer;
    size_t done = 0;
    int err = n > 1024 ? INVAL : OK;

    for (uint32_t i = 0; i < n && err == OK; i++) {
        err = fetch(guest, &buffer, list + i * 8, sizeof(buffer));
        if (err == OK)
            err = move(guest, buffer, &done);
    }
    return (uint32_t)(err == OK ? store32(guest, ret_done, done) : err);
}

WASI(uint32_t, fd_read, uint32_t fd, uint32_t list, uint32_t n, uint32_t ret)
{
    return fd == 0 ? each(wasi, list, n, ret, give) : BADF;
}

WASI(uint32_t, fd_write, uint32_t fd, uint32_t list, uint32_t n, uint32_t ret)
{
    return fd == 1   ? each(wasi, list, n, ret, take)
           : fd == 2 ? each(wasi, list, n, ret, say)
                     : BADF;
}

WASI(uint32_t, clock_time_get, uint32_t clock, uint64_t precision, uint32_t ret)
{
    struct timespec now;
    uint64_t ns;

    (void)precision;
    if (clock > 1 ||
        clock_gettime(clock == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now) != 0)
        return INVAL;
    ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    return (uint32_t)store(wasi, ret, &ns, sizeof(ns));
}

WASI(uint32_t, random_get, uint32_t to, uint32_t len_bytes)
{
    char bytes[256];

    if (len_bytes > sizeof(bytes) || getrandom(bytes, len_bytes, 0) < 0)
        return INVAL;
    return (uint32_t)store(wasi, to, bytes, len_bytes);
}

/* No arguments, no environment. */
WASI(uint32_t, args_sizes_get, uint32_t ret_n, uint32_t ret_bytes)
{
    return (uint32_t)(store32(wasi, ret_n, 0) | store32(wasi, ret_bytes, 0));
}

WASI(uint32_t, environ_sizes_get, uint32_t ret_n, uint32_t ret_bytes)
{
    return (uint32_t)(store32(wasi, ret_n, 0) | store32(wasi, ret_bytes, 0));
}

WASI(uint32_t, args_get, uint32_t list, uint32_t texts)
{
    (void)wasi, (void)list, (void)texts;
    return OK;
}

WASI(uint32_t, environ_get, uint32_t list, uint32_t texts)
{
    (void)wasi, (void)list, (void)texts;
    return OK;
}

/* wasi-libc asks for directories that are open from the start: none. */
WASI(uint32_t, fd_prestat_get, uint32_t fd, uint32_t ret)
{
    (void)wasi, (void)fd, (void)ret;
    return BADF;
}

_Noreturn WASI(void, proc_exit, uint32_t code)
{
    struct guest *guest = wasi;

    guest->exit_code = (int)code;
    trap_exit();
}

/* What the guests' libc names, and no guest of ours has. */
WASI(uint32_t, fd_close, uint32_t fd)
{
    (void)wasi, (void)fd;
    return NOSYS;
}

WASI(uint32_t, fd_seek, uint32_t fd, uint64_t by, uint32_t from, uint32_t ret)
{
    (void)wasi, (void)fd, (void)by, (void)from, (void)ret;
    return NOSYS;
}

WASI(uint32_t, fd_fdstat_get, uint32_t fd, uint32_t ret)
{
    (void)wasi, (void)fd, (void)ret;
    return NOSYS;
}

WASI(uint32_t, fd_fdstat_set_flags, uint32_t fd, uint32_t flags)
{
    (void)wasi, (void)fd, (void)flags;
    return NOSYS;
}

WASI(uint32_t, fd_prestat_dir_name, uint32_t fd, uint32_t to, uint32_t len)
{
    (void)wasi, (void)fd, (void)to, (void)len;
    return NOSYS;
}

WASI(uint32_t, fd_renumber, uint32_t from, uint32_t to)
{
    (void)wasi, (void)from, (void)to;
    return NOSYS;
}

WASI(uint32_t, path_open, uint32_t fd, uint32_t lookup, uint32_t path,
     uint32_t len, uint32_t how, uint64_t rights, uint64_t inherited,
     uint32_t flags, uint32_t ret)
{
    (void)wasi, (void)fd, (void)lookup, (void)path, (void)len, (void)how;
    (void)rights, (void)inherited, (void)flags, (void)ret;
    return NOSYS;
}
