/* SPDX-License-Identifier: MIT */
/*
 * uffd: a userfaultfd, as a struct of functions.
 *
 * Everything that ufault asks of a userfaultfd goes through struct uffd_ops,
 * so that tests can put a descriptor in its place that answers each call with
 * any errno and any partial result (tests/lib/fake_uffd.[ch]). No call here
 * decides anything: what to do after a result is fault/resolution.h's.
 */
#ifndef UF_HOST_UFFD_H
#define UF_HOST_UFFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/range.h"
#include "ufault/ufault.h"

/* What a call came to. */
struct uffd_result {
    int err;      /* 0 or -errno of the ioctl */
    int64_t done; /* the ioctl's out field: bytes done, or a negative errno */
};

/* One fault as read from the descriptor. */
struct uffd_fault {
    uintptr_t addr; /* exact if the kernel has EXACT_ADDRESS, else the page */
    uint32_t flags; /* UFFD_PAGEFAULT_FLAG_* */
    pid_t tid;      /* 0 without THREAD_ID */
};

struct uffd;
struct uffd_box;

struct uffd_ops {
    /* Faults into `faults`, at most `max`; the number, or -errno (-EAGAIN:
     * none now). Events that are not faults are skipped. */
    int (*read)(struct uffd *u, struct uffd_fault *faults, int max);
    /* Waits until read may have something, `stop_fd` is readable, or timeout_ns
     * has passed (< 0: no limit). 1: readable, 0: not, or -errno. */
    int (*wait)(struct uffd *u, int stop_fd, int64_t timeout_ns);
    struct uffd_result (*copy)(struct uffd *u, struct range dst,
                               const void *src);
    struct uffd_result (*zeropage)(struct uffd *u, struct range dst);
    /* Moves the pages at `src`, memory of our own, to dst; not every
     * descriptor can (can_move). */
    struct uffd_result (*move)(struct uffd *u, struct range dst, void *src);
    struct uffd_result (*poison)(struct uffd *u, struct range dst);
    struct uffd_result (*wake)(struct uffd *u, struct range range);
    struct uffd_result (*regist)(struct uffd *u, struct range range);
    struct uffd_result (*unregister)(struct uffd *u, struct range range);
    /* For a descriptor that can_protect: regist, so that pages may be protected
     * as well; (un)protects those of [range) that are there against writes, and
     * wakes when unprotecting, unless wakes are held; copy, protected from the first. */
    struct uffd_result (*track)(struct uffd *u, struct range range);
    struct uffd_result (*protect)(struct uffd *u, struct range range, bool on);
    struct uffd_result (*copy_protected)(struct uffd *u, struct range dst,
                                         const void *src);
    void (*close)(struct uffd *u);
};

struct uffd {
    const struct uffd_ops *ops;
    int fd;
    enum uf_tier tier;
    uint64_t features; /* UFFD_FEATURE_* granted */
    bool can_poison;
    bool can_move;
    bool can_protect;
    bool protects_async;  /* a write unprotects by itself: nobody is told */
    bool protects_shared; /* the same of shared memory, there or not */
    /* Copy, zeropage, move, poison and unprotecting wake nobody: the caller does so by `wake` when
     * it has counted what it did. */
    bool hold_wakes;
    struct uffd_box *box; /* uffd_signal.h; NULL: faults are messages */
    void *fake;           /* a test's own */
};

/*
 * Opens a descriptor of `tier` without UFFDIO_API. Always O_CLOEXEC and
 * O_NONBLOCK. The descriptor or -errno.
 */
int uffd_open_tier(enum uf_tier tier);

/* The features that the kernel has, asked on a throw-away descriptor of `tier`
 * (UFFDIO_API works once per descriptor). 0 or -errno. */
int uffd_features(enum uf_tier tier, uint64_t *ret_features);

/*
 * Opens `tier` and turns on those of `wanted` features that the kernel has.
 * 0 or -errno. On success *u is a real descriptor's.
 */
int uffd_init(struct uffd *u, enum uf_tier tier, uint64_t wanted);

void uffd_close(struct uffd *u);

/* The page-missing mode on [range): it must be mapped. */
static inline struct uffd_result uffd_register(struct uffd *u,
                                               struct range range)
{
    return u->ops->regist(u, range);
}

#endif
