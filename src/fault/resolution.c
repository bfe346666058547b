/* SPDX-License-Identifier: MIT */
/*
 * See resolution.h. Rows are tried from the top; the first that fits decides,
 * so a row for ANY_ERROR stands below the particular ones of its operation.
 */
#include "fault/resolution.h"

#include <errno.h>

#define ALWAYS  -1
#define PARTIAL 1
#define NOTHING 0

/* clang-format off */
static const struct resolution_row table[] = {
    /* getting a descriptor */
    {OP_OPEN, -EPERM, ALWAYS, {STEP_NEXT_TIER,
     "vm.unprivileged_userfaultfd is 0 without CAP_SYS_PTRACE, or seccomp"}},
    {OP_OPEN, -EACCES, ALWAYS, {STEP_NEXT_TIER,
     "a security module"}},
    {OP_OPEN, -ENOSYS, ALWAYS, {STEP_NEXT_TIER,
     "no userfaultfd in this kernel, or a filter that says so"}},
    {OP_OPEN, -EINVAL, ALWAYS, {STEP_PLAIN_FLAGS,
     "a flag is newer than this kernel (USER_MODE_ONLY before 5.11)"}},
    {OP_OPEN, ANY_ERROR, ALWAYS, {STEP_FAIL,
     "descriptor or memory limits"}},
    {OP_OPEN_DEVICE, -ENOENT, ALWAYS, {STEP_NEXT_TIER,
     "no /dev/userfaultfd: before 6.1, or not in this container"}},
    {OP_OPEN_DEVICE, -EACCES, ALWAYS, {STEP_NEXT_TIER,
     "/dev/userfaultfd is closed to this user"}},
    {OP_OPEN_DEVICE, -EMFILE, ALWAYS, {STEP_FAIL, "descriptor limit"}},
    {OP_OPEN_DEVICE, -ENFILE, ALWAYS, {STEP_FAIL, "descriptor limit"}},
    {OP_OPEN_DEVICE, -ENOMEM, ALWAYS, {STEP_FAIL, "no memory"}},
    {OP_OPEN_DEVICE, ANY_ERROR, ALWAYS, {STEP_NEXT_TIER,
     "something else is at /dev/userfaultfd"}},
    {OP_API, -EPERM, ALWAYS, {STEP_DROP_FEATURE,
     "EVENT_FORK wants CAP_SYS_PTRACE"}},
    {OP_API, -EINVAL, ALWAYS, {STEP_PROBE_AGAIN,
     "a feature is not known, or UFFDIO_API was called before"}},
    {OP_API, ANY_ERROR, ALWAYS, {STEP_FAIL, "the handshake failed"}},

    /* registering */
    {OP_REGISTER, -EBUSY, ALWAYS, {STEP_FAIL,
     "part of the range belongs to another userfaultfd"}},
    {OP_REGISTER, -EINVAL, ALWAYS, {STEP_FAIL,
     "unaligned, not mapped, or a mapping that cannot be registered"}},
    {OP_REGISTER, -EPERM, ALWAYS, {STEP_FAIL,
     "a shared file that may not be written"}},
    {OP_REGISTER, -ENOMEM, ALWAYS, {STEP_FAIL,
     "vm.max_map_count: registering would split a mapping"}},
    {OP_REGISTER, ANY_ERROR, ALWAYS, {STEP_FAIL, "registering failed"}},
    {OP_UNREGISTER, -ENOMEM, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone"}},
    {OP_UNREGISTER, ANY_ERROR, ALWAYS, {STEP_IGNORE,
     "nothing is registered there any more"}},

    /* reading */
    {OP_READ, -EAGAIN, ALWAYS, {STEP_POLL_AGAIN,
     "no fault now, or another reader took it"}},
    {OP_READ, -EINTR, ALWAYS, {STEP_POLL_AGAIN, "a signal"}},
    {OP_READ, -EINVAL, ALWAYS, {STEP_BUG,
     "buffer below one message, or no handshake"}},
    {OP_READ, ANY_ERROR, ALWAYS, {STEP_TEARDOWN,
     "the descriptor is of no use"}},
    {OP_POLL, -EBADF, ALWAYS, {STEP_TEARDOWN,
     "POLLERR: the descriptor is blocking, closed or not shaken hands with"}},
    {OP_POLL, ANY_ERROR, ALWAYS, {STEP_POLL_AGAIN, "a signal, or no memory"}},

    /* installing bytes */
    {OP_COPY, -EAGAIN, PARTIAL, {STEP_RETRY_REST,
     "part is in; the rest met a present page or a held lock"}},
    {OP_COPY, -EAGAIN, NOTHING, {STEP_DEFER,
     "the map is changing, or a page-table lock was held"}},
    {OP_COPY, -EEXIST, ALWAYS, {STEP_WAKE,
     "the page is there; the failed call has woken nobody"}},
    {OP_COPY, -ENOENT, ALWAYS, {STEP_LOOK_AGAIN,
     "the range is not inside one registered mapping any more"}},
    {OP_COPY, -EFAULT, ALWAYS, {STEP_BUG, "the source buffer is not readable"}},
    {OP_COPY, -ENOMEM, ALWAYS, {STEP_DEFER, "memory or cgroup limit"}},
    {OP_COPY, -EINVAL, ALWAYS, {STEP_BUG, "unaligned, or a mode not on"}},
    {OP_COPY, -ESRCH, ALWAYS, {STEP_TEARDOWN, "the address space is gone"}},
    {OP_COPY, -ENOSPC, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone (4.11 to 4.13)"}},

    /* mapping the zero page */
    {OP_ZEROPAGE, -EAGAIN, PARTIAL, {STEP_RETRY_REST,
     "part is in; the rest met a present page or a held lock"}},
    {OP_ZEROPAGE, -EAGAIN, NOTHING, {STEP_DEFER,
     "the map is changing, or a page-table lock was held"}},
    {OP_ZEROPAGE, -EEXIST, ALWAYS, {STEP_WAKE,
     "the page is there; the failed call has woken nobody"}},
    {OP_ZEROPAGE, -ENOENT, ALWAYS, {STEP_LOOK_AGAIN,
     "the range is not inside one registered mapping any more"}},
    {OP_ZEROPAGE, -ENOMEM, ALWAYS, {STEP_DEFER, "no page table"}},
    {OP_ZEROPAGE, -EINVAL, ALWAYS, {STEP_COPY_INSTEAD,
     "hugetlb has no zero page"}},
    {OP_ZEROPAGE, -ESRCH, ALWAYS, {STEP_TEARDOWN, "the address space is gone"}},
    {OP_ZEROPAGE, -ENOSPC, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone (4.11 to 4.13)"}},
    {OP_ZEROPAGE_AGAIN, -EEXIST, ALWAYS, {STEP_COPY_INSTEAD,
     "not present and not empty: a write-protect marker; another wake would "
     "go round for ever"}},
    {OP_ZEROPAGE_AGAIN, -EAGAIN, PARTIAL, {STEP_RETRY_REST, "part is in"}},
    {OP_ZEROPAGE_AGAIN, -EAGAIN, NOTHING, {STEP_DEFER, "the map is changing"}},
    {OP_ZEROPAGE_AGAIN, -ENOENT, ALWAYS, {STEP_LOOK_AGAIN,
     "the range is not inside one registered mapping any more"}},
    {OP_ZEROPAGE_AGAIN, -ENOMEM, ALWAYS, {STEP_DEFER, "no page table"}},
    {OP_ZEROPAGE_AGAIN, -EINVAL, ALWAYS, {STEP_COPY_INSTEAD,
     "hugetlb has no zero page"}},
    {OP_ZEROPAGE_AGAIN, -ESRCH, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone"}},
    {OP_ZEROPAGE_AGAIN, -ENOSPC, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone (4.11 to 4.13)"}},

    /* moving; continuing (later engines: the errnos are settled here) */
    {OP_MOVE, -EAGAIN, PARTIAL, {STEP_RETRY_REST, "part has moved"}},
    {OP_MOVE, -EEXIST, ALWAYS, {STEP_WAKE, "the page is there"}},
    {OP_MOVE, -ESRCH, ALWAYS, {STEP_TEARDOWN, "the address space is gone"}},
    {OP_MOVE, ANY_ERROR, ALWAYS, {STEP_COPY_INSTEAD,
     "pinned, shared by a fork, a hole, a race, or unlike mappings"}},
    {OP_CONTINUE, -EAGAIN, PARTIAL, {STEP_RETRY_REST, "part is mapped"}},
    {OP_CONTINUE, -EAGAIN, NOTHING, {STEP_DEFER, "the map is changing"}},
    {OP_CONTINUE, -EEXIST, ALWAYS, {STEP_WAKE, "mapped already"}},
    {OP_CONTINUE, -EFAULT, ALWAYS, {STEP_COPY_INSTEAD,
     "not in the page cache yet"}},
    {OP_CONTINUE, -ENOENT, ALWAYS, {STEP_LOOK_AGAIN, "the mapping changed"}},
    {OP_CONTINUE, -ENOMEM, ALWAYS, {STEP_DEFER, "memory or cgroup limit"}},
    {OP_CONTINUE, -ESRCH, ALWAYS, {STEP_TEARDOWN, "the address space is gone"}},
    {OP_WRITEPROTECT, -ENOENT, ALWAYS, {STEP_POPULATE,
     "a hole, or not registered for write protection"}},
    {OP_WRITEPROTECT, -EAGAIN, ALWAYS, {STEP_DEFER, "the map is changing"}},
    {OP_WRITEPROTECT, -ESRCH, ALWAYS, {STEP_TEARDOWN,
     "the address space is gone"}},

    /* refusing and waking */
    {OP_POISON, -EEXIST, ALWAYS, {STEP_WAKE,
     "something is there: let the thread look"}},
    {OP_POISON, -EAGAIN, PARTIAL, {STEP_RETRY_REST, "part is marked"}},
    {OP_POISON, -EAGAIN, NOTHING, {STEP_DEFER, "the map is changing"}},
    {OP_POISON, -ENOENT, ALWAYS, {STEP_LOOK_AGAIN, "the mapping is gone"}},
    {OP_POISON, -ENOMEM, ALWAYS, {STEP_DEFER, "no page table"}},
    {OP_POISON, -ESRCH, ALWAYS, {STEP_TEARDOWN, "the address space is gone"}},
    {OP_WAKE, ANY_ERROR, ALWAYS, {STEP_IGNORE,
     "waking works on any aligned range; nothing better is left"}},
};
/* clang-format on */

static int row_fits(const struct resolution_row *row, enum uffd_op op, int err,
                    int64_t done)
{
    int partial = done > 0;

    return row->op == op && (row->err == err || row->err == ANY_ERROR) &&
           (row->partial == ALWAYS || row->partial == partial);
}

struct resolution resolve(enum uffd_op op, int err, int64_t done)
{
    if (err == 0)
        return (struct resolution){STEP_DONE, "done"};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (row_fits(&table[i], op, err, done))
            return table[i].resolution;
    return (struct resolution){STEP_REFUSE, "an errno nobody expects"};
}

const struct resolution_row *resolution_table(size_t *ret_rows)
{
    *ret_rows = sizeof(table) / sizeof(table[0]);
    return table;
}

const char *step_name(enum step step)
{
    static const char *const names[] = {
        [STEP_DONE] = "done",
        [STEP_RETRY_REST] = "retry the rest",
        [STEP_WAKE] = "wake",
        [STEP_DEFER] = "defer",
        [STEP_COPY_INSTEAD] = "copy instead",
        [STEP_LOOK_AGAIN] = "look again",
        [STEP_REFUSE] = "refuse",
        [STEP_TEARDOWN] = "tear down",
        [STEP_POLL_AGAIN] = "poll again",
        [STEP_NEXT_TIER] = "next tier",
        [STEP_PLAIN_FLAGS] = "without the flag",
        [STEP_DROP_FEATURE] = "drop the feature",
        [STEP_PROBE_AGAIN] = "probe again",
        [STEP_POPULATE] = "populate first",
        [STEP_IGNORE] = "ignore",
        [STEP_FAIL] = "fail",
        [STEP_BUG] = "bug",
    };

    return names[step];
}

const char *uffd_op_name(enum uffd_op op)
{
    static const char *const names[OP_COUNT] = {
        [OP_OPEN] = "userfaultfd",
        [OP_OPEN_DEVICE] = "/dev/userfaultfd",
        [OP_API] = "UFFDIO_API",
        [OP_REGISTER] = "UFFDIO_REGISTER",
        [OP_UNREGISTER] = "UFFDIO_UNREGISTER",
        [OP_READ] = "read",
        [OP_POLL] = "poll",
        [OP_COPY] = "UFFDIO_COPY",
        [OP_ZEROPAGE] = "UFFDIO_ZEROPAGE",
        [OP_ZEROPAGE_AGAIN] = "UFFDIO_ZEROPAGE (again)",
        [OP_MOVE] = "UFFDIO_MOVE",
        [OP_CONTINUE] = "UFFDIO_CONTINUE",
        [OP_WRITEPROTECT] = "UFFDIO_WRITEPROTECT",
        [OP_POISON] = "UFFDIO_POISON",
        [OP_WAKE] = "UFFDIO_WAKE",
    };

    return names[op];
}
