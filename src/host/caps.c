/* SPDX-License-Identifier: MIT */
/* See caps.h. */
#include "host/caps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "host/caps_cause.h"
#include "host/uffd.h"
#include "host/uffd_abi.h"

#define CHILD_STACK_BYTES ((size_t)64 << 10)

/* The inode of the first user namespace: PROC_USER_INIT_INO in the kernel,
 * USER_NS_INIT_INO in <linux/nsfs.h> since Linux 6.18. */
#define INIT_USERNS_INO 0xEFFFFFFDu

/*
 * glibc's clone under its other name. ThreadSanitizer takes any clone(2) for a
 * fork(2) and, with the memory shared, ruins its own records in the parent; a
 * program may be built with it when this library is not.
 */
#ifdef __GLIBC__
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define raw_clone __clone
#else
#define raw_clone clone
#endif

/* ------------------------------------------------------------- trials -- */

/*
 * A trial uses one facility, closes what it opened and returns 0 or errno
 * (positive: it becomes an exit status). It makes raw system calls only: libc's
 * wrappers are cancellation points, and a sanitizer that watches them would
 * mix the child's descriptors up with the parent's.
 */
typedef int (*trial_fn)(void);

#define UFFD_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* Ends a trial whose last call returned `fd`. */
static int close_result(long fd)
{
    if (fd < 0)
        return errno;
    syscall(SYS_close, fd);
    return 0;
}

static int try_syscall(void)
{
    return close_result(syscall(SYS_userfaultfd, UFFD_FLAGS));
}

static int try_user_mode(void)
{
    return close_result(
        syscall(SYS_userfaultfd, UFFD_FLAGS | UFFD_USER_MODE_ONLY));
}

static int try_device(void)
{
    long device = syscall(SYS_openat, AT_FDCWD, "/dev/userfaultfd",
                          O_RDWR | O_CLOEXEC, 0);
    int err;

    if (device < 0)
        return errno;
    err = close_result(
        syscall(SYS_ioctl, device, USERFAULTFD_IOC_NEW, UFFD_FLAGS));
    syscall(SYS_close, device);
    return err;
}

static int try_io_uring(void)
{
    struct io_uring_params params = {0};

    return close_result(syscall(SYS_io_uring_setup, 1, &params));
}

/* Leaves a filter on the caller for good: for a child only. The filter allows
 * everything, so that the child can still exit. */
static int try_seccomp_notify(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog prog = {.len = 1, .filter = &allow};
    __u32 action = SECCOMP_RET_USER_NOTIF;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
        return errno;
    return close_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
}

/* A filter that kills would leave a core file. 1 and not 0: the kernel pipes
 * the core to a handler at 0, and does nothing at 1 (fs/coredump.c). */
static void refuse_core_dump(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max >= 1) {
        limit.rlim_cur = 1;
        setrlimit(RLIMIT_CORE, &limit);
    }
}

static int child_main(void *arg)
{
    trial_fn fn = *(trial_fn *)arg;

    refuse_core_dump();
    return fn();
}

/*
 * The exit status of a child that ran `fn`, as waitpid(2) gives it, or -errno.
 *
 * Not fork(2): that would run the program's fork handlers, ours among them, and
 * copy its page tables. Exit signal 0: no SIGCHLD, and the program's own
 * waitpid(-1) does not see the child. All signals are blocked because a
 * handler would run in the child, on the program's memory.
 */
static int run_child(trial_fn fn)
{
    char *stack = slab_pages(CHILD_STACK_BYTES);
    sigset_t all, before;
    int status = 0, pid, err = 0;

    if (!stack)
        return -ENOMEM;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = raw_clone(child_main, stack + CHILD_STACK_BYTES,
                    CLONE_VM | CLONE_VFORK, &fn);
    if (pid < 0 || waitpid(pid, &status, __WALL) < 0)
        err = -errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    slab_pages_free(stack, CHILD_STACK_BYTES);
    return err ? err : status;
}

static struct caps_trial run_trial(trial_fn fn)
{
    int status = run_child(fn);

    if (status < 0)
        return (struct caps_trial){.err = status, .no_child = true};
    if (WIFEXITED(status))
        return (struct caps_trial){.err = -WEXITSTATUS(status)};
    if (WTERMSIG(status) == SIGSYS)
        return (struct caps_trial){.err = -EPERM, .killed = true};
    return (struct caps_trial){.err = -EINTR};
}

/* For trials that leave nothing behind: where no child can be started (a
 * sandbox without fork), the try is made here, as an engine would. */
static struct caps_trial run_open_trial(trial_fn fn)
{
    struct caps_trial trial = run_trial(fn);

    if (trial.no_child)
        trial = (struct caps_trial){.err = -fn()};
    return trial;
}

/* ----------------------------------------------------------- evidence -- */

/*
 * The first line of `path` with `word` at its start or after a space; what
 * follows the word goes to `rest`. A line that is longer than the buffer is
 * seen in pieces, which harms nobody: no word sought lies in such a line.
 */
static bool find_word(const char *path, const char *word, char *rest,
                      size_t size)
{
    FILE *file = fopen(path, "re");
    char line[256];
    bool found = false;

    if (!file)
        return false;
    while (!found && fgets(line, sizeof(line), file)) {
        const char *at = strstr(line, word);

        if (!at || (at > line && at[-1] != ' '))
            continue;
        found = true;
        snprintf(rest, size, "%s", at + strlen(word));
    }
    fclose(file);
    return found;
}

static int read_sysctl(const char *path)
{
    char text[32];

    return find_word(path, "", text, sizeof(text)) ? atoi(text) : -1;
}

static bool in_init_userns(void)
{
    struct stat st;

    /* Without /proc or without namespaces: nothing speaks against it. */
    return stat("/proc/self/ns/user", &st) < 0 || st.st_ino == INIT_USERNS_INO;
}

static struct caps_evidence look_around(void)
{
    const char *status = "/proc/thread-self/status";
    char text[64] = "";
    struct caps_evidence seen = {
        .uffd_sysctl = read_sysctl("/proc/sys/vm/unprivileged_userfaultfd"),
        .uring_sysctl = read_sysctl("/proc/sys/kernel/io_uring_disabled"),
        .init_userns = in_init_userns(),
        .device_allowed = faccessat(AT_FDCWD, "/dev/userfaultfd", R_OK | W_OK,
                                    AT_EACCESS) == 0,
    };

    seen.device_listed =
        find_word("/proc/misc", "userfaultfd\n", text, sizeof(text));
    if (find_word(status, "Seccomp:", text, sizeof(text)))
        seen.filtered = atoi(text) != 0;
    if (find_word(status, "CapEff:", text, sizeof(text)))
        seen.sys_ptrace = (strtoull(text, NULL, 16) >> CAP_SYS_PTRACE & 1) != 0;
    return seen;
}

/* -------------------------------------------------------------- probe -- */

static const char *const item_names[UF_PROBE_COUNT] = {
    [UF_PROBE_SYSCALL] = "userfaultfd system call",
    [UF_PROBE_DEVICE] = "/dev/userfaultfd",
    [UF_PROBE_USER_MODE] = "userfaultfd for user mode only",
    [UF_PROBE_IO_URING] = "io_uring",
    [UF_PROBE_SECCOMP_NOTIFY] = "seccomp user notification",
};

static void fill_item(struct uf_probe *probe, enum uf_probe_id id,
                      struct caps_trial trial, enum caps_cause cause)
{
    probe->items[id] = (struct uf_probe_item){
        .name = item_names[id],
        .available = trial.err == 0,
        .error = trial.err,
        .why = cause_why(cause),
        .remedy = cause_remedy(cause),
    };
}

static void fill_items(struct uf_probe *probe)
{
    struct caps_trial syscall_trial = run_open_trial(try_syscall);
    struct caps_trial device = run_open_trial(try_device);
    struct caps_trial user_mode = run_open_trial(try_user_mode);
    struct caps_trial uring = run_open_trial(try_io_uring);
    struct caps_trial notify = run_trial(try_seccomp_notify);
    struct caps_evidence seen = look_around();

    fill_item(probe, UF_PROBE_SYSCALL, syscall_trial,
              cause_of_syscall(syscall_trial, user_mode, &seen));
    fill_item(probe, UF_PROBE_DEVICE, device, cause_of_device(device, &seen));
    fill_item(probe, UF_PROBE_USER_MODE, user_mode,
              cause_of_user_mode(user_mode, &seen));
    fill_item(probe, UF_PROBE_IO_URING, uring, cause_of_uring(uring, &seen));
    fill_item(probe, UF_PROBE_SECCOMP_NOTIFY, notify,
              cause_of_notify(notify, &seen));
}

enum uf_tier caps_tier(const struct uf_probe *probe)
{
    if (probe->items[UF_PROBE_SYSCALL].available)
        return UF_TIER_SYSCALL;
    if (probe->items[UF_PROBE_DEVICE].available)
        return UF_TIER_DEVICE;
    if (probe->items[UF_PROBE_USER_MODE].available)
        return UF_TIER_USER_MODE;
    return UF_TIER_NONE;
}

int caps_probe(struct uf_probe *probe)
{
    int cancel_state, ignored;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    fill_items(probe);
    probe->tier = caps_tier(probe);
    probe->features = 0;
    /* In this process: the trial has shown that the call is harmless. */
    if (probe->tier != UF_TIER_NONE)
        uffd_features(probe->tier, &probe->features);
    pthread_setcancelstate(cancel_state, &ignored);
    return 0;
}

/* ----------------------------------------------------------- features -- */

struct feature {
    const char *name;
    const char *since;
};

/* By bit number. UFFDIO_API(2const) and the history of fs/userfaultfd.c. */
static const struct feature features[] = {
    [0] = {"PAGEFAULT_FLAG_WP", "5.7"},
    [1] = {"EVENT_FORK", "4.11"},
    [2] = {"EVENT_REMAP", "4.11"},
    [3] = {"EVENT_REMOVE", "4.11"},
    [4] = {"MISSING_HUGETLBFS", "4.11"},
    [5] = {"MISSING_SHMEM", "4.11"},
    [6] = {"EVENT_UNMAP", "4.11"},
    [7] = {"SIGBUS", "4.14"},
    [8] = {"THREAD_ID", "4.14"},
    [9] = {"MINOR_HUGETLBFS", "5.13"},
    [10] = {"MINOR_SHMEM", "5.14"},
    [11] = {"EXACT_ADDRESS", "5.18"},
    [12] = {"WP_HUGETLBFS_SHMEM", "5.19"},
    [13] = {"WP_UNPOPULATED", "6.4"},
    [14] = {"POISON", "6.6"},
    [15] = {"WP_ASYNC", "6.7"},
    [16] = {"MOVE", "6.8"},
};

#define NFEATURES (sizeof(features) / sizeof(features[0]))

const char *caps_feature_name(unsigned bit)
{
    return bit < NFEATURES ? features[bit].name : NULL;
}

const char *caps_feature_since(unsigned bit)
{
    return bit < NFEATURES ? features[bit].since : NULL;
}
