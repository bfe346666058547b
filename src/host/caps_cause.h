/* SPDX-License-Identifier: MIT */
/*
 * caps_cause: from a refused call and what /proc says to a cause, and from a
 * cause to two sentences: why, and what would allow it.
 *
 *     trial of the call ──> err ─┐
 *                                ├──> cause_of_*() ──> enum caps_cause
 *     caps_evidence (/proc) ─────┘                        │
 *                                              cause_why(), cause_remedy()
 *
 * One errno has many causes: EPERM from userfaultfd(2) is a sysctl, a seccomp
 * filter, both, or a security module, and each needs another remedy. All
 * functions here are pure, so that every cause is tested on any machine.
 *
 * The texts hold no quote, no backslash and no control character: they can be
 * printed inside a JSON string as they are.
 */
#ifndef UF_HOST_CAPS_CAUSE_H
#define UF_HOST_CAPS_CAUSE_H

#include <stdbool.h>

enum caps_cause {
    CAUSE_NONE, /* not refused */

    CAUSE_SYSCTL,
    CAUSE_SYSCTL_USERNS,
    CAUSE_FILTER,
    CAUSE_FILTER_AND_SYSCTL,
    CAUSE_FILTER_ENOSYS,
    CAUSE_NO_UFFD,
    CAUSE_NO_USER_MODE,

    CAUSE_DEVICE_MISSING,
    CAUSE_DEVICE_HIDDEN,
    CAUSE_DEVICE_MODE,
    CAUSE_DEVICE_NODEV,
    CAUSE_DEVICE_CGROUP,
    CAUSE_DEVICE_DEAD,
    CAUSE_DEVICE_MASKED,

    CAUSE_URING_DISABLED,
    CAUSE_URING_GROUP,
    CAUSE_URING_FILTER,
    CAUSE_URING_FILTER_ENOSYS,
    CAUSE_URING_MEMLOCK,
    CAUSE_NO_URING,

    CAUSE_NOTIFY_TAKEN,
    CAUSE_NOTIFY_FILTER,
    CAUSE_NO_NOTIFY,

    CAUSE_KILLED,
    CAUSE_NO_CHILD,
    CAUSE_SECURITY_MODULE,
    CAUSE_SANDBOX,
    CAUSE_DESCRIPTORS,
    CAUSE_FILES,
    CAUSE_MEMORY,
    CAUSE_OTHER,
    CAUSE_COUNT
};

/* How one trial ended. */
struct caps_trial {
    int err;       /* 0 or -errno */
    bool killed;   /* by SIGSYS, instead of getting an answer */
    bool no_child; /* it needed a child, and err is why there is none */
};

/* What can be read about this thread and this kernel. */
struct caps_evidence {
    int uffd_sysctl;     /* vm.unprivileged_userfaultfd; -1: not there */
    int uring_sysctl;    /* kernel.io_uring_disabled; -1: not there */
    bool filtered;       /* a seccomp filter is on this thread */
    bool sys_ptrace;     /* CAP_SYS_PTRACE is effective */
    bool init_userns;    /* in the first user namespace, where it counts */
    bool device_listed;  /* /proc/misc has userfaultfd */
    bool device_allowed; /* the node's mode lets this thread read and write */
};

/* userfaultfd(2). What became of UFFD_USER_MODE_ONLY tells who refused: the
 * kernel itself never answers that with EPERM (since Linux 5.11). */
enum caps_cause cause_of_syscall(struct caps_trial trial,
                                 struct caps_trial user_mode,
                                 const struct caps_evidence *seen);
enum caps_cause cause_of_user_mode(struct caps_trial trial,
                                   const struct caps_evidence *seen);
enum caps_cause cause_of_device(struct caps_trial trial,
                                const struct caps_evidence *seen);
enum caps_cause cause_of_uring(struct caps_trial trial,
                               const struct caps_evidence *seen);
enum caps_cause cause_of_notify(struct caps_trial trial,
                                const struct caps_evidence *seen);

/* Static texts; "" for CAUSE_NONE, never NULL. */
const char *cause_why(enum caps_cause cause);
const char *cause_remedy(enum caps_cause cause);

#endif
