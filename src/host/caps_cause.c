/* SPDX-License-Identifier: MIT */
/* See caps_cause.h. */
#include "host/caps_cause.h"

#include <errno.h>

struct cause_text {
    const char *why;
    const char *remedy;
};

/* Indexed by enum caps_cause; a test sees to it that no line is missing. */
static const struct cause_text texts[CAUSE_COUNT] = {
    [CAUSE_NONE] = {"", ""},

    [CAUSE_SYSCTL] =
        {"The sysctl vm.unprivileged_userfaultfd is 0 and this process has no "
         "CAP_SYS_PTRACE.",
         "sudo sysctl vm.unprivileged_userfaultfd=1, or "
         "sudo setcap cap_sys_ptrace+ep PROGRAM"},
    [CAUSE_SYSCTL_USERNS] =
        {"The sysctl vm.unprivileged_userfaultfd is 0, and CAP_SYS_PTRACE held "
         "inside a user namespace does not count.",
         "On the host: sudo sysctl vm.unprivileged_userfaultfd=1, or pass "
         "/dev/userfaultfd into the container, readable and writable there"},
    [CAUSE_FILTER] =
        {"A seccomp filter refuses userfaultfd(2), as the default profile of "
         "container runtimes does.",
         "Allow userfaultfd in the seccomp profile (--security-opt "
         "seccomp=PROFILE.json), or pass the device: "
         "--device /dev/userfaultfd"},
    [CAUSE_FILTER_AND_SYSCTL] =
        {"A seccomp filter refuses userfaultfd(2), and without it the sysctl "
         "vm.unprivileged_userfaultfd = 0 would: this process has no "
         "CAP_SYS_PTRACE.",
         "Allow userfaultfd in the seccomp profile and run sudo sysctl "
         "vm.unprivileged_userfaultfd=1, or pass the device: "
         "--device /dev/userfaultfd"},
    [CAUSE_FILTER_ENOSYS] =
        {"A seccomp filter answers userfaultfd(2) with ENOSYS; the kernel "
         "itself has it.",
         "Allow userfaultfd in the seccomp profile (--security-opt "
         "seccomp=PROFILE.json), or pass the device: "
         "--device /dev/userfaultfd"},
    [CAUSE_NO_UFFD] =
        {"The kernel has no userfaultfd(2): before Linux 4.3, without "
         "CONFIG_USERFAULTFD, or a sandbox's own kernel.",
         "Run on a kernel built with CONFIG_USERFAULTFD=y"},
    [CAUSE_NO_USER_MODE] =
        {"The kernel does not know UFFD_USER_MODE_ONLY: before Linux 5.11.",
         "Run on Linux 5.11 or newer"},

    [CAUSE_DEVICE_MISSING] =
        {"There is no /dev/userfaultfd, and /proc/misc does not list it: "
         "before Linux 6.1, or without CONFIG_USERFAULTFD.",
         "Run on Linux 6.1 or newer built with CONFIG_USERFAULTFD=y"},
    [CAUSE_DEVICE_HIDDEN] =
        {"There is no /dev/userfaultfd here, although the kernel has the "
         "device: it is missing from this container's or chroot's /dev.",
         "Start the container with --device /dev/userfaultfd"},
    [CAUSE_DEVICE_MODE] =
        {"The mode of /dev/userfaultfd does not let this user read and write "
         "it (by default only root may).",
         "sudo setfacl -m u:$USER:rw /dev/userfaultfd"},
    [CAUSE_DEVICE_NODEV] =
        {"The mode of /dev/userfaultfd allows this user, but opening it is "
         "refused: its file system is mounted nodev, or a security module "
         "denies it.",
         "Pass the device with --device /dev/userfaultfd in place of a plain "
         "file mount, or allow it in the security policy"},
    [CAUSE_DEVICE_CGROUP] =
        {"Opening /dev/userfaultfd is refused by the device rules of this "
         "control group, or by a seccomp filter.",
         "Start the container with --device /dev/userfaultfd; for a systemd "
         "unit: DeviceAllow=/dev/userfaultfd rw"},
    [CAUSE_DEVICE_DEAD] =
        {"/dev/userfaultfd is there, but no driver answers: its numbers are "
         "not the ones in /proc/misc, or the kernel lacks the device.",
         "Make the node anew with the minor from /proc/misc: "
         "sudo mknod -m 0600 /dev/userfaultfd c 10 MINOR"},
    [CAUSE_DEVICE_MASKED] =
        {"/dev/userfaultfd is another file: something is mounted over it.",
         "sudo umount /dev/userfaultfd, or start the container with "
         "--device /dev/userfaultfd"},

    [CAUSE_URING_DISABLED] =
        {"The sysctl kernel.io_uring_disabled is 2: nobody may.",
         "sudo sysctl kernel.io_uring_disabled=0"},
    [CAUSE_URING_GROUP] =
        {"The sysctl kernel.io_uring_disabled is 1, and this process is "
         "neither in the group kernel.io_uring_group nor has CAP_SYS_ADMIN.",
         "sudo sysctl kernel.io_uring_disabled=0, or add the user to the "
         "group of kernel.io_uring_group"},
    [CAUSE_URING_FILTER] =
        {"A seccomp filter refuses io_uring_setup(2), as the default profile "
         "of container runtimes does.",
         "Allow io_uring_setup, io_uring_enter and io_uring_register in the "
         "seccomp profile"},
    [CAUSE_URING_FILTER_ENOSYS] =
        {"A seccomp filter answers io_uring_setup(2) with ENOSYS; the kernel "
         "itself has it.",
         "Allow io_uring_setup, io_uring_enter and io_uring_register in the "
         "seccomp profile"},
    [CAUSE_URING_MEMLOCK] =
        {"No memory for a ring: before Linux 5.12 rings count against "
         "RLIMIT_MEMLOCK.",
         "Raise the limit: ulimit -l"},
    [CAUSE_NO_URING] =
        {"The kernel has no io_uring: before Linux 5.1, without "
         "CONFIG_IO_URING, or a sandbox's own kernel.",
         "Run on Linux 5.1 or newer built with CONFIG_IO_URING=y"},

    [CAUSE_NOTIFY_TAKEN] =
        {"A filter that this process inherited has a listener already, and "
         "there can be only one.",
         "Run outside the supervisor that installed it"},
    [CAUSE_NOTIFY_FILTER] =
        {"A seccomp filter or a security module refuses seccomp(2).",
         "Allow seccomp and prctl in the seccomp profile"},
    [CAUSE_NO_NOTIFY] =
        {"The kernel has no user notification for seccomp: before Linux 5.0, "
         "or without CONFIG_SECCOMP_FILTER.",
         "Run on Linux 5.0 or newer built with CONFIG_SECCOMP_FILTER=y"},

    [CAUSE_KILLED] =
        {"A seccomp filter kills who makes this system call.",
         "Allow the call in the seccomp profile (for a systemd unit: "
         "SystemCallFilter=)"},
    [CAUSE_NO_CHILD] =
        {"It is tried in a child, and no child could be started.",
         "Raise the limit of processes (ulimit -u) or of the control group "
         "(pids.max)"},
    [CAUSE_SECURITY_MODULE] =
        {"A security module (SELinux, AppArmor) denies it.",
         "Allow it in the security policy; the kernel log names the rule"},
    [CAUSE_SANDBOX] =
        {"It is refused although neither a sysctl nor a seccomp filter of this "
         "process explains it: a security module or a sandbox does.",
         "Allow it in the security policy or in the sandbox's settings"},
    [CAUSE_DESCRIPTORS] = {"This process has no file descriptor left.",
                           "Raise the limit: ulimit -n"},
    [CAUSE_FILES] = {"The system has no open file left.",
                     "Raise the limit: sudo sysctl fs.file-max"},
    [CAUSE_MEMORY] = {"The kernel has no memory for it.",
                      "Free memory, or raise the control group's memory.max"},
    [CAUSE_OTHER] = {"It fails with an error that is not known here.",
                     "Look the error number up in the manual page of the call"},
};

const char *cause_why(enum caps_cause cause)
{
    return texts[cause].why;
}

const char *cause_remedy(enum caps_cause cause)
{
    return texts[cause].remedy;
}

/* Endings that mean the same for every call. CAUSE_OTHER: none of them. */
static enum caps_cause common_cause(struct caps_trial trial)
{
    if (trial.no_child)
        return CAUSE_NO_CHILD;
    if (trial.killed)
        return CAUSE_KILLED;
    switch (trial.err) {
    case 0:
        return CAUSE_NONE;
    case -EMFILE:
        return CAUSE_DESCRIPTORS;
    case -ENFILE:
        return CAUSE_FILES;
    case -ENOMEM:
        return CAUSE_MEMORY;
    case -EACCES:
        return CAUSE_SECURITY_MODULE;
    default:
        return CAUSE_OTHER;
    }
}

/*
 * Would the kernel itself refuse full userfaultfd? A sysctl that cannot be read
 * is taken for 0, its default: a refusal seen by the caller needs a reason.
 */
static bool sysctl_refuses(const struct caps_evidence *seen)
{
    bool privileged = seen->sys_ptrace && seen->init_userns;

    return seen->uffd_sysctl != 1 && !privileged;
}

static enum caps_cause sysctl_cause(const struct caps_evidence *seen)
{
    return seen->sys_ptrace ? CAUSE_SYSCTL_USERNS : CAUSE_SYSCTL;
}

static enum caps_cause uffd_enosys(const struct caps_evidence *seen)
{
    bool kernel_has_it = seen->uffd_sysctl >= 0 || seen->device_listed;

    if (!kernel_has_it)
        return CAUSE_NO_UFFD;
    return seen->filtered ? CAUSE_FILTER_ENOSYS : CAUSE_SANDBOX;
}

/* EPERM to both ways of calling, or to the one that only needs asking. */
static enum caps_cause uffd_eperm(const struct caps_evidence *seen)
{
    if (seen->filtered)
        return sysctl_refuses(seen) ? CAUSE_FILTER_AND_SYSCTL : CAUSE_FILTER;
    /* Linux 5.2 to 5.10: the sysctl is looked at before the flags are. */
    return sysctl_refuses(seen) ? sysctl_cause(seen) : CAUSE_SANDBOX;
}

enum caps_cause cause_of_syscall(struct caps_trial trial,
                                 struct caps_trial user_mode,
                                 const struct caps_evidence *seen)
{
    enum caps_cause cause = common_cause(trial);

    if (cause != CAUSE_OTHER)
        return cause;
    if (trial.err == -ENOSYS)
        return uffd_enosys(seen);
    if (trial.err != -EPERM)
        return CAUSE_OTHER;
    /* Past the filter, if there is one: then the kernel gave the answer. */
    if (user_mode.err == 0 && !user_mode.killed && sysctl_refuses(seen))
        return sysctl_cause(seen);
    return uffd_eperm(seen);
}

enum caps_cause cause_of_user_mode(struct caps_trial trial,
                                   const struct caps_evidence *seen)
{
    enum caps_cause cause = common_cause(trial);

    if (cause != CAUSE_OTHER)
        return cause;
    switch (trial.err) {
    case -EINVAL:
        return CAUSE_NO_USER_MODE;
    case -ENOSYS:
        return uffd_enosys(seen);
    case -EPERM:
        return seen->filtered ? CAUSE_FILTER : uffd_eperm(seen);
    default:
        return CAUSE_OTHER;
    }
}

enum caps_cause cause_of_device(struct caps_trial trial,
                                const struct caps_evidence *seen)
{
    if (trial.killed || trial.no_child)
        return common_cause(trial);
    switch (trial.err) {
    case -ENOENT:
    case -ENOTDIR:
        return seen->device_listed ? CAUSE_DEVICE_HIDDEN : CAUSE_DEVICE_MISSING;
    case -EACCES:
        return seen->device_allowed ? CAUSE_DEVICE_NODEV : CAUSE_DEVICE_MODE;
    case -EPERM:
        return CAUSE_DEVICE_CGROUP;
    case -ENXIO:
    case -ENODEV:
        return CAUSE_DEVICE_DEAD;
    case -ENOTTY: /* a character device, but without this ioctl */
    case -EINVAL:
    case -EISDIR:
        return CAUSE_DEVICE_MASKED;
    default:
        return common_cause(trial);
    }
}

static enum caps_cause uring_eperm(const struct caps_evidence *seen)
{
    if (seen->uring_sysctl == 2)
        return CAUSE_URING_DISABLED;
    if (seen->uring_sysctl == 1)
        return CAUSE_URING_GROUP;
    return seen->filtered ? CAUSE_URING_FILTER : CAUSE_SANDBOX;
}

enum caps_cause cause_of_uring(struct caps_trial trial,
                               const struct caps_evidence *seen)
{
    enum caps_cause cause = common_cause(trial);

    if (cause == CAUSE_MEMORY)
        return CAUSE_URING_MEMLOCK;
    if (cause != CAUSE_OTHER)
        return cause;
    if (trial.err == -EPERM)
        return uring_eperm(seen);
    if (trial.err != -ENOSYS)
        return CAUSE_OTHER;
    /* The sysctl is there from Linux 6.6 on, if io_uring is. */
    if (seen->filtered && seen->uring_sysctl >= 0)
        return CAUSE_URING_FILTER_ENOSYS;
    return CAUSE_NO_URING;
}

enum caps_cause cause_of_notify(struct caps_trial trial,
                                const struct caps_evidence *seen)
{
    enum caps_cause cause = common_cause(trial);

    if (cause != CAUSE_OTHER && cause != CAUSE_SECURITY_MODULE)
        return cause;
    switch (trial.err) {
    case -EBUSY:
        return CAUSE_NOTIFY_TAKEN;
    case -EPERM:
    case -EACCES:
        return CAUSE_NOTIFY_FILTER;
    case -ENOSYS:
        return seen->filtered ? CAUSE_NOTIFY_FILTER : CAUSE_NO_NOTIFY;
    case -EINVAL:
    case -EOPNOTSUPP:
        return CAUSE_NO_NOTIFY;
    default:
        return CAUSE_OTHER;
    }
}
