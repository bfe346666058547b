/* SPDX-License-Identifier: MIT */
/*
 * resolution: what to do after a call on a userfaultfd, as a pure function of
 * (operation, errno, bytes done); invariant 8.
 *
 * The answers of userfaultfd are easy to get wrong one by one: -EEXIST wakes
 * nobody, -EAGAIN may be partial success or a lock held, -ENOENT a range that
 * was split a moment ago. So they are in one table with a sentence on each row,
 * the loops that make the calls contain no errno, and tests go through every
 * row without a userfaultfd.
 */
#ifndef UF_FAULT_RESOLUTION_H
#define UF_FAULT_RESOLUTION_H

#include <stddef.h>
#include <stdint.h>

enum uffd_op {
    OP_OPEN,        /* userfaultfd(2) */
    OP_OPEN_DEVICE, /* /dev/userfaultfd and USERFAULTFD_IOC_NEW */
    OP_API,
    OP_REGISTER,
    OP_UNREGISTER,
    OP_READ,
    OP_POLL,
    OP_COPY,
    OP_ZEROPAGE,
    OP_ZEROPAGE_AGAIN, /* the same fault came back after -EEXIST and a wake */
    OP_MOVE,
    OP_CONTINUE,
    OP_WRITEPROTECT,
    OP_POISON,
    OP_WAKE,
    OP_COUNT
};

enum step {
    STEP_DONE,         /* go on */
    STEP_RETRY_REST,   /* `done` bytes are in; call again for the rest */
    STEP_WAKE,         /* the page is there: wake its threads, step over it */
    STEP_DEFER,        /* not now: try again after a pause, within a limit */
    STEP_COPY_INSTEAD, /* do the same by UFFDIO_COPY */
    STEP_LOOK_AGAIN,   /* the mapping changed: look up again, smaller or not at
                          all, and wake */
    STEP_REFUSE,       /* answer the fault with SIGBUS */
    STEP_TEARDOWN,     /* the address space is gone: stop serving it */
    STEP_POLL_AGAIN,   /* nothing to read: wait */
    STEP_NEXT_TIER,    /* try the next way to get a descriptor */
    STEP_PLAIN_FLAGS,  /* the kernel is older: the same without the flag */
    STEP_DROP_FEATURE, /* ask again without the privileged feature */
    STEP_PROBE_AGAIN,  /* ask what the kernel has, on a new descriptor */
    STEP_POPULATE,     /* make the pages present first */
    STEP_IGNORE,       /* nothing to do */
    STEP_FAIL,         /* hand the errno to the caller: configuration, limits */
    STEP_BUG /* cannot happen unless ufault is wrong: report, refuse */
};

struct resolution {
    enum step step;
    const char *why; /* one sentence */
};

/* `err` is 0 or -errno; `done` the out field of the call. Pure. */
struct resolution resolve(enum uffd_op op, int err, int64_t done);

/* The table itself, for the test that walks it and for the docs. */
struct resolution_row {
    enum uffd_op op;
    int err;     /* -errno, or ANY_ERROR */
    int partial; /* 1: applies when done > 0, 0: when not, -1: always */
    struct resolution resolution;
};

#define ANY_ERROR 1

const struct resolution_row *resolution_table(size_t *ret_rows);

const char *step_name(enum step step);
const char *uffd_op_name(enum uffd_op op);

#endif
