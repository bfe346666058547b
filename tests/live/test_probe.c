/* SPDX-License-Identifier: MIT */
/*
 * uf_probe on the real kernel: each way of being refused is made, in a child
 * of its own, and the probe, the engine's tier and the space must say the same.
 *
 *     child: drop rights, load a filter, hide the device, lower a limit
 *            └─> uf_probe ─> why?   uf_space_create ─> tier?   touch a page
 *
 * A child answers with its exit status: 0, 1 (it has printed what failed), or
 * 77 (it has printed what is missing for the test).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ufault/ufault.h"

#define SKIPPED 77
#define NOBODY  65534
#define DEVICE  "/dev/userfaultfd"

/* ---------------------------------------------------------- in a child -- */

#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: not true (errno: %s)\n", __FILE__,     \
                    __LINE__, #condition, strerror(errno));                    \
            return 1;                                                          \
        }                                                                      \
    } while (0)

/* For calls that themselves answer 0, 1 or SKIPPED. */
#define PASS_ON(call)                                                          \
    do {                                                                       \
        int pass_on_ = (call);                                                 \
        if (pass_on_ != 0)                                                     \
            return pass_on_;                                                   \
    } while (0)

static int missing(const char *what)
{
    fprintf(stderr, "skipped: %s\n", what);
    return SKIPPED;
}

static void run_in_child(int (*body)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int result = body();

        fflush(NULL);
        _exit(result);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("the child was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static struct uf_probe probe_now(void)
{
    struct uf_probe probe = {.size = sizeof(probe)};

    if (uf_probe(&probe) != 0)
        abort();
    return probe;
}

/* The item is refused with `err`, its why has `word` in it, and there is a
 * remedy. */
static int refused(enum uf_probe_id id, int err, const char *word)
{
    struct uf_probe probe = probe_now();
    const struct uf_probe_item *item = &probe.items[id];

    if (item->available || item->error != err || !strstr(item->why, word)) {
        fprintf(stderr, "%s: available %d, error %d, why: %s\n", item->name,
                item->available, item->error, item->why);
        return 1;
    }
    NEED(item->remedy[0] != '\0');
    return 0;
}

static int allowed(enum uf_probe_id id)
{
    struct uf_probe probe = probe_now();

    NEED(probe.items[id].available);
    NEED(probe.items[id].error == 0);
    NEED(probe.items[id].why[0] == '\0');
    return 0;
}

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* A read(2) of one byte into `to`: 1, or -errno. The byte is not lost. */
static int read_byte_into(char *to)
{
    int fds[2], result;

    if (pipe(fds) < 0 || write(fds[1], "x", 1) != 1)
        return -EIO;
    result = (int)read(fds[0], to, 1);
    if (result < 0)
        result = -errno;
    close(fds[0]);
    close(fds[1]);
    return result;
}

/* A page of it is touched from user mode, another by a system call. */
static int pages_are_served(struct uf_space *space, enum uf_tier tier)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    intptr_t heap = uf_sbrk(space, (intptr_t)(64 * page));
    char *first, *second;

    NEED(heap > 0);
    first = (char *)heap;
    second = first + 32 * page;
    NEED(first[0] == 0);
    first[0] = 'a';
    NEED(first[0] == 'a');
    if (tier == UF_TIER_USER_MODE) {
        NEED(read_byte_into(second) == -EFAULT);
        NEED(uf_populate(space, (uintptr_t)second, page) == 0);
    }
    NEED(read_byte_into(second) == 1);
    NEED(second[0] == 'x');
    return 0;
}

/* The probe foresees `tier`, and an engine gets it and serves. */
static int space_gets(enum uf_tier tier)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = 1 << 20, .window_pages = 1};
    struct uf_space *space = NULL;
    int err;

    NEED(probe_now().tier == tier);
    NEED(probe_now().features != 0);
    err = uf_space_create(&opts, &space);
    if (err)
        fprintf(stderr, "uf_space_create: %s\n", strerror(-err));
    NEED(err == 0);
    NEED(uf_engine_tier(uf_space_engine(space)) == tier);
    PASS_ON(pages_are_served(space, tier));
    NEED(uf_space_destroy(space) == 0);
    return 0;
}

static int no_space(int err)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = 1 << 20};
    struct uf_space *space = NULL;
    struct uf_engine *engine = NULL;

    NEED(probe_now().tier == UF_TIER_NONE);
    NEED(probe_now().features == 0);
    NEED(uf_engine_create(NULL, &engine) == err);
    NEED(engine == NULL);
    NEED(uf_space_create(&opts, &space) == err);
    NEED(space == NULL);
    return 0;
}

/* ------------------------------------------------- ways to be refused -- */

static int need_root(void)
{
    return geteuid() == 0 ? 0 : missing("needs root");
}

/* The first line of a file in /proc/sys; -1 if there is none. */
static int sysctl_value(const char *path)
{
    FILE *file = fopen(path, "r");
    int value = -1;

    if (file) {
        if (fscanf(file, "%d", &value) != 1)
            value = -1;
        fclose(file);
    }
    return value;
}

static int need_sysctl_0(void)
{
    if (sysctl_value("/proc/sys/vm/unprivileged_userfaultfd") != 0)
        return missing("vm.unprivileged_userfaultfd is not 0");
    return 0;
}

static int become_nobody(void)
{
    PASS_ON(need_root());
    NEED(setgroups(0, NULL) == 0);
    NEED(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    NEED(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    return 0;
}

static int filter_call(int call, uint32_t action)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int err;

    NEED(filter);
    err = seccomp_rule_add(filter, action, call, 0);
    if (!err)
        err = seccomp_load(filter);
    seccomp_release(filter);
    return err ? missing("seccomp filters cannot be loaded") : 0;
}

static int filter_uffd(uint32_t action)
{
    return filter_call(SCMP_SYS(userfaultfd), action);
}

static int need_device(void)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return missing(DEVICE " cannot be opened");
    close(fd);
    return 0;
}

/* An empty /dev, of this child alone. The number of the device that was there
 * goes to *ret_dev, 0 if there was none. */
static int empty_dev(unsigned long flags, dev_t *ret_dev)
{
    struct stat st = {.st_rdev = 0};

    PASS_ON(need_root());
    (void)stat(DEVICE, &st);
    *ret_dev = st.st_rdev;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/dev", "tmpfs", flags, "mode=0755") < 0)
        return missing("/dev cannot be replaced");
    return 0;
}

static int hide_device(void)
{
    dev_t ignored;

    return empty_dev(0, &ignored);
}

/* A node of our own in the empty /dev. */
static int make_device(dev_t dev, mode_t mode)
{
    NEED(mknod(DEVICE, S_IFCHR | mode, dev) == 0);
    NEED(chmod(DEVICE, mode) == 0); /* whatever the umask is */
    return 0;
}

static int open_device_to_all(void)
{
    dev_t dev;

    PASS_ON(empty_dev(0, &dev));
    if (dev == 0)
        return missing("no " DEVICE);
    PASS_ON(make_device(dev, 0666));
    return need_device();
}

/* ------------------------------------------------- (a) as we are here -- */

/* Each item's answer is that of the call itself, made here. */
static void items_agree_with_direct_attempts(void **state)
{
    struct uf_probe probe = probe_now();
    struct io_uring_params params = {0};
    int fds[UF_PROBE_COUNT];

    (void)state;
    fds[UF_PROBE_SYSCALL] =
        (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    fds[UF_PROBE_DEVICE] = open(DEVICE, O_RDWR | O_CLOEXEC);
    fds[UF_PROBE_USER_MODE] =
        (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
    fds[UF_PROBE_IO_URING] = (int)syscall(SYS_io_uring_setup, 1, &params);
    for (int i = 0; i < UF_PROBE_SECCOMP_NOTIFY; i++) {
        assert_int_equal(probe.items[i].available, fds[i] >= 0);
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

static void the_features_are_those_of_the_handshake(void **state)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uf_probe probe = probe_now();
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);

    (void)state;
    if (fd < 0) {
        print_message("no userfaultfd here\n");
        skip();
    }
    assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
    close(fd);
    assert_true(probe.features == api.features);
}

static void wrong_arguments_are_einval(void **state)
{
    struct uf_probe probe = {.size = sizeof(probe)};

    (void)state;
    assert_int_equal(uf_probe(NULL), -EINVAL);
    probe.size = 0;
    assert_int_equal(uf_probe(&probe), -EINVAL);
    probe.size = 1;
    assert_int_equal(uf_probe(&probe), -EINVAL);
}

static int as_found_body(void)
{
    enum uf_tier tier = probe_now().tier;

    return tier == UF_TIER_NONE ? missing("userfaultfd is refused here")
                                : space_gets(tier);
}

static void a_space_gets_the_tier_foreseen(void **state)
{
    (void)state;
    run_in_child(as_found_body);
}

/* --------------------------------------------------- (b) unprivileged -- */

static int unprivileged_body(void)
{
    PASS_ON(need_sysctl_0());
    PASS_ON(become_nobody());
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "vm.unprivileged_userfaultfd"));
    PASS_ON(allowed(UF_PROBE_USER_MODE));
    PASS_ON(allowed(UF_PROBE_SECCOMP_NOTIFY));
    if (access(DEVICE, F_OK) == 0 && access(DEVICE, R_OK | W_OK) < 0)
        PASS_ON(refused(UF_PROBE_DEVICE, -EACCES, "mode"));
    if (probe_now().items[UF_PROBE_DEVICE].available)
        return missing("everyone may use " DEVICE);
    return space_gets(UF_TIER_USER_MODE);
}

static void unprivileged_is_user_mode_and_names_the_sysctl(void **state)
{
    (void)state;
    run_in_child(unprivileged_body);
}

static int unprivileged_device_body(void)
{
    PASS_ON(need_sysctl_0());
    PASS_ON(open_device_to_all());
    PASS_ON(become_nobody());
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "vm.unprivileged_userfaultfd"));
    return space_gets(UF_TIER_DEVICE);
}

static void unprivileged_with_a_device_is_served_by_it(void **state)
{
    (void)state;
    run_in_child(unprivileged_device_body);
}

static int userns_body(void)
{
    PASS_ON(need_sysctl_0());
    if (unshare(CLONE_NEWUSER) < 0)
        return missing("no user namespaces");
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "user namespace"));
    return space_gets(probe_now().items[UF_PROBE_DEVICE].available
                          ? UF_TIER_DEVICE
                          : UF_TIER_USER_MODE);
}

static void root_of_a_user_namespace_is_told_so(void **state)
{
    (void)state;
    run_in_child(userns_body);
}

/* -------------------------------------------------------- (c) filters -- */

static int filter_eperm_body(void)
{
    PASS_ON(need_root());
    PASS_ON(need_device());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "seccomp"));
    PASS_ON(refused(UF_PROBE_USER_MODE, -EPERM, "seccomp"));
    PASS_ON(allowed(UF_PROBE_SECCOMP_NOTIFY));
    return space_gets(UF_TIER_DEVICE);
}

static void a_filter_with_eperm_is_named_and_the_device_serves(void **state)
{
    (void)state;
    run_in_child(filter_eperm_body);
}

static int filter_enosys_body(void)
{
    PASS_ON(need_root());
    PASS_ON(need_device());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(ENOSYS)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -ENOSYS, "seccomp"));
    PASS_ON(refused(UF_PROBE_USER_MODE, -ENOSYS, "seccomp"));
    return space_gets(UF_TIER_DEVICE);
}

static void a_filter_with_enosys_is_named_and_the_device_serves(void **state)
{
    (void)state;
    run_in_child(filter_enosys_body);
}

static int filter_and_sysctl_body(void)
{
    PASS_ON(need_sysctl_0());
    PASS_ON(become_nobody());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "seccomp"));
    return refused(UF_PROBE_SYSCALL, -EPERM, "vm.unprivileged_userfaultfd");
}

static void a_filter_in_front_of_the_sysctl_names_both(void **state)
{
    (void)state;
    run_in_child(filter_and_sysctl_body);
}

/* Only the probe: an engine would make the deadly call itself. */
static int filter_kill_body(void)
{
    PASS_ON(filter_uffd(SCMP_ACT_KILL_PROCESS));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "kills"));
    PASS_ON(refused(UF_PROBE_USER_MODE, -EPERM, "kills"));
    NEED(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    return 0;
}

static void a_filter_that_kills_does_not_kill_the_prober(void **state)
{
    (void)state;
    run_in_child(filter_kill_body);
}

static volatile sig_atomic_t signals_seen;

static void count_signal(int sig)
{
    (void)sig;
    signals_seen = signals_seen + 1;
}

static int filter_trap_body(void)
{
    signal(SIGSYS, count_signal);
    PASS_ON(filter_uffd(SCMP_ACT_TRAP));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "kills"));
    NEED(signals_seen == 0);
    return 0;
}

static void a_filter_that_traps_does_not_reach_the_handler(void **state)
{
    (void)state;
    run_in_child(filter_trap_body);
}

static int filter_uring_body(void)
{
    PASS_ON(allowed(UF_PROBE_IO_URING) ? missing("no io_uring") : 0);
    PASS_ON(filter_call(SCMP_SYS(io_uring_setup), SCMP_ACT_ERRNO(EPERM)));
    return refused(UF_PROBE_IO_URING, -EPERM, "seccomp");
}

static void a_filter_on_io_uring_is_named(void **state)
{
    (void)state;
    run_in_child(filter_uring_body);
}

static int listener_body(void)
{
    PASS_ON(filter_call(SCMP_SYS(acct), SCMP_ACT_NOTIFY));
    return refused(UF_PROBE_SECCOMP_NOTIFY, -EBUSY, "listener");
}

static void a_listener_that_is_there_already_is_named(void **state)
{
    (void)state;
    run_in_child(listener_body);
}

static int filter_seccomp_body(void)
{
    PASS_ON(filter_call(SCMP_SYS(seccomp), SCMP_ACT_ERRNO(EPERM)));
    return refused(UF_PROBE_SECCOMP_NOTIFY, -EPERM, "seccomp");
}

static void a_filter_on_seccomp_is_named(void **state)
{
    (void)state;
    run_in_child(filter_seccomp_body);
}

/* Threads may be started, processes not. */
static int no_children_body(void)
{
    enum uf_tier tier = probe_now().tier;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int descriptors = count_descriptors();

    NEED(filter);
    NEED(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAGAIN), SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) == 0);
    if (seccomp_load(filter) != 0)
        return missing("seccomp filters cannot be loaded");
    seccomp_release(filter);
    PASS_ON(refused(UF_PROBE_SECCOMP_NOTIFY, -EAGAIN, "child"));
    NEED(probe_now().tier == tier);
    NEED(count_descriptors() == descriptors);
    return 0;
}

static void without_children_the_tier_is_still_found(void **state)
{
    (void)state;
    run_in_child(no_children_body);
}

/* -------------------------------------------------- (d) device hidden -- */

static int hidden_body(void)
{
    PASS_ON(need_device());
    PASS_ON(hide_device());
    PASS_ON(refused(UF_PROBE_DEVICE, -ENOENT, "no /dev/userfaultfd"));
    return space_gets(UF_TIER_SYSCALL);
}

static void a_hidden_device_leaves_the_system_call(void **state)
{
    (void)state;
    run_in_child(hidden_body);
}

static int masked_body(void)
{
    PASS_ON(need_root());
    PASS_ON(need_device());
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("/dev/null", DEVICE, NULL, MS_BIND, NULL) < 0)
        return missing("nothing can be mounted over " DEVICE);
    PASS_ON(refused(UF_PROBE_DEVICE, -ENOTTY, "mounted over"));
    return space_gets(UF_TIER_SYSCALL);
}

static void a_masked_device_is_told_apart(void **state)
{
    (void)state;
    run_in_child(masked_body);
}

static int nodev_body(void)
{
    dev_t dev;

    PASS_ON(need_device());
    PASS_ON(empty_dev(MS_NODEV, &dev));
    PASS_ON(make_device(dev, 0666));
    return refused(UF_PROBE_DEVICE, -EACCES, "nodev");
}

static void a_nodev_mount_is_told_apart(void **state)
{
    (void)state;
    run_in_child(nodev_body);
}

static int dead_device_body(void)
{
    struct uf_probe probe;
    dev_t dev;

    PASS_ON(empty_dev(0, &dev));
    /* Major 10 is the misc driver; minor 9999 is nobody's. */
    PASS_ON(make_device(makedev(10, 9999), 0666));
    probe = probe_now();
    NEED(!probe.items[UF_PROBE_DEVICE].available);
    NEED(strstr(probe.items[UF_PROBE_DEVICE].why, "no driver"));
    return 0;
}

static void a_node_without_a_driver_is_told_apart(void **state)
{
    (void)state;
    run_in_child(dead_device_body);
}

static int hidden_unprivileged_body(void)
{
    PASS_ON(need_sysctl_0());
    PASS_ON(hide_device());
    PASS_ON(become_nobody());
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "vm.unprivileged_userfaultfd"));
    PASS_ON(refused(UF_PROBE_DEVICE, -ENOENT, "no /dev/userfaultfd"));
    return space_gets(UF_TIER_USER_MODE);
}

static void hidden_and_unprivileged_leaves_user_mode(void **state)
{
    (void)state;
    run_in_child(hidden_unprivileged_body);
}

/* A device that opens but does not answer must not end the search. */
static int dead_unprivileged_body(void)
{
    dev_t dev;

    PASS_ON(need_sysctl_0());
    PASS_ON(empty_dev(0, &dev));
    PASS_ON(make_device(makedev(10, 9999), 0666));
    PASS_ON(become_nobody());
    return space_gets(UF_TIER_USER_MODE);
}

static int masked_unprivileged_body(void)
{
    dev_t dev;

    PASS_ON(need_sysctl_0());
    PASS_ON(empty_dev(0, &dev));
    PASS_ON(make_device(makedev(1, 3), 0666)); /* it is /dev/null */
    PASS_ON(become_nobody());
    PASS_ON(refused(UF_PROBE_DEVICE, -ENOTTY, "mounted over"));
    return space_gets(UF_TIER_USER_MODE);
}

static void a_useless_device_leaves_user_mode(void **state)
{
    (void)state;
    run_in_child(dead_unprivileged_body);
    run_in_child(masked_unprivileged_body);
}

/* --------------------------------------------------------- (e) no tier -- */

/* A tier insisted on is not replaced by another, and its refusal is one of the
 * documented errors, whatever the call itself answers. */
static int insisted_on(enum uf_tier tier)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .tier_plus_one = 1 + (uint32_t)tier};
    struct uf_engine *engine = NULL;
    int err = uf_engine_create(&opts, &engine);

    if (err != -EPERM && err != -ENOSYS && err != -ENOTSUP) {
        fprintf(stderr, "%s: %d\n", uf_tier_name(tier), err);
        return 1;
    }
    NEED(engine == NULL);
    return 0;
}

static int insist_hidden_body(void)
{
    PASS_ON(hide_device());
    PASS_ON(insisted_on(UF_TIER_DEVICE));
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(insisted_on(UF_TIER_SYSCALL));
    return insisted_on(UF_TIER_USER_MODE);
}

static int insist_mode_body(void)
{
    PASS_ON(need_device());
    PASS_ON(become_nobody());
    if (access(DEVICE, R_OK | W_OK) == 0)
        return missing("everyone may use " DEVICE);
    return insisted_on(UF_TIER_DEVICE);
}

static int insist_masked_body(void)
{
    dev_t dev;

    PASS_ON(empty_dev(0, &dev));
    PASS_ON(make_device(makedev(1, 3), 0666));
    return insisted_on(UF_TIER_DEVICE);
}

static void a_tier_insisted_on_fails_as_documented(void **state)
{
    (void)state;
    run_in_child(insist_hidden_body);
    run_in_child(insist_mode_body);
    run_in_child(insist_masked_body);
}

static int none_eperm_body(void)
{
    PASS_ON(hide_device());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "seccomp"));
    PASS_ON(refused(UF_PROBE_DEVICE, -ENOENT, "no /dev/userfaultfd"));
    PASS_ON(refused(UF_PROBE_USER_MODE, -EPERM, "seccomp"));
    return no_space(-EPERM);
}

static void filter_and_hidden_is_no_tier_and_eperm(void **state)
{
    (void)state;
    run_in_child(none_eperm_body);
}

static int none_enosys_body(void)
{
    PASS_ON(hide_device());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(ENOSYS)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -ENOSYS, "ENOSYS"));
    return no_space(-ENOSYS);
}

static void enosys_and_hidden_is_no_tier_and_enosys(void **state)
{
    (void)state;
    run_in_child(none_enosys_body);
}

static int none_unprivileged_body(void)
{
    PASS_ON(need_sysctl_0());
    PASS_ON(hide_device());
    PASS_ON(become_nobody());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "seccomp"));
    PASS_ON(refused(UF_PROBE_SYSCALL, -EPERM, "vm.unprivileged_userfaultfd"));
    PASS_ON(refused(UF_PROBE_USER_MODE, -EPERM, "seccomp"));
    return no_space(-EPERM);
}

static void unprivileged_filtered_and_hidden_is_no_tier(void **state)
{
    (void)state;
    run_in_child(none_unprivileged_body);
}

/* The device is there, but its mode is root's. */
static int none_mode_body(void)
{
    dev_t dev;

    PASS_ON(need_sysctl_0());
    PASS_ON(need_device());
    PASS_ON(empty_dev(0, &dev));
    PASS_ON(make_device(dev, 0600));
    PASS_ON(become_nobody());
    PASS_ON(filter_uffd(SCMP_ACT_ERRNO(EPERM)));
    PASS_ON(refused(UF_PROBE_DEVICE, -EACCES, "mode"));
    return no_space(-EPERM);
}

static void a_device_for_root_only_is_no_tier(void **state)
{
    (void)state;
    run_in_child(none_mode_body);
}

/* ------------------------------------------------------ (f) descriptors -- */

static int set_nofile(int limit)
{
    struct rlimit rlimit = {.rlim_cur = (rlim_t)limit,
                            .rlim_max = (rlim_t)limit};

    getrlimit(RLIMIT_NOFILE, &rlimit);
    rlimit.rlim_cur = (rlim_t)limit;
    return setrlimit(RLIMIT_NOFILE, &rlimit);
}

/* The lowest free descriptor: as a limit, no descriptor is left. */
static int lowest_free(void)
{
    int fd = dup(0);

    if (fd >= 0)
        close(fd);
    return fd;
}

static int no_descriptor_body(void)
{
    struct uf_engine *engine = NULL;

    struct uf_probe before = probe_now();

    if (before.tier == UF_TIER_NONE)
        return missing("userfaultfd is refused here");
    NEED(set_nofile(lowest_free()) == 0);
    /* What was refused before stays refused for its own reason: the kernel
     * looks for a descriptor last. */
    for (int i = 0; i < UF_PROBE_COUNT; i++) {
        if (before.items[i].available)
            PASS_ON(refused((enum uf_probe_id)i, -EMFILE, "descriptor"));
    }
    NEED(probe_now().tier == UF_TIER_NONE);
    NEED(uf_engine_create(NULL, &engine) == -EMFILE);
    NEED(engine == NULL);
    return 0;
}

static void without_descriptors_it_is_emfile(void **state)
{
    (void)state;
    run_in_child(no_descriptor_body);
}

/* One descriptor more each time: EMFILE until it works, and nothing leaks. */
static int few_descriptors_body(void)
{
    struct uf_engine *engine = NULL;
    int free_before = lowest_free(), err = -EMFILE;

    if (probe_now().tier == UF_TIER_NONE)
        return missing("userfaultfd is refused here");
    for (int n = 0; n < 32 && err; n++) {
        NEED(set_nofile(free_before + n) == 0);
        err = uf_engine_create(NULL, &engine);
        NEED(err == 0 || err == -EMFILE);
        NEED(err == 0 || engine == NULL);
        NEED(err == 0 || n == 0 || lowest_free() == free_before);
    }
    NEED(err == 0);
    NEED(uf_engine_destroy(engine) == 0);
    NEED(lowest_free() == free_before);
    return 0;
}

static void one_descriptor_too_few_is_emfile(void **state)
{
    (void)state;
    run_in_child(few_descriptors_body);
}

/* -------------------------------------------------- (g) nothing is left -- */

/* Of the whole address space, in KiB. */
static long count_memory(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file) {
        if (fscanf(file, "%ld", &pages) != 1)
            pages = -1;
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int leak_body(void)
{
    int descriptors;
    long memory_kib;
    struct rlimit core_before, core_after;
    sigset_t before, after;

    signal(SIGCHLD, count_signal);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    getrlimit(RLIMIT_CORE, &core_before);
    (void)probe_now(); /* what libc keeps for ever, it has now */
    descriptors = count_descriptors();
    memory_kib = count_memory();
    for (int i = 0; i < 1000; i++)
        (void)probe_now();
    NEED(count_descriptors() == descriptors);
    /* 48 KiB a probe is less than the least that it maps, and more than what a
     * sanitizer's malloc holds back. */
    NEED(count_memory() - memory_kib < 48 * 1000);
    NEED(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    NEED(signals_seen == 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    NEED(sigismember(&after, SIGUSR1) == 1);
    NEED(sigismember(&after, SIGUSR2) == 0);
    NEED(sigismember(&after, SIGCHLD) == 0);
    getrlimit(RLIMIT_CORE, &core_after);
    NEED(memcmp(&core_before, &core_after, sizeof(core_before)) == 0);
    NEED(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    NEED(prctl(PR_GET_SECCOMP) == 0);
    return 0;
}

static void a_thousand_probes_leave_nothing_behind(void **state)
{
    (void)state;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0 ||
        prctl(PR_GET_SECCOMP) != 0) {
        print_message("already filtered here\n");
        skip();
    }
    run_in_child(leak_body);
}

static void *probe_often(void *arg)
{
    enum uf_tier tier = *(enum uf_tier *)arg;

    for (int i = 0; i < 50; i++) {
        if (probe_now().tier != tier)
            return arg;
    }
    return NULL;
}

/* Several threads, while the program forks and waits for any child. */
static int threads_body(void)
{
    enum uf_tier tier = probe_now().tier;
    pthread_t threads[4];
    void *wrong;

    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, probe_often, &tier) == 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        NEED(waitpid(-1, NULL, 0) == pid);
    }
    for (int i = 0; i < 4; i++) {
        NEED(pthread_join(threads[i], &wrong) == 0);
        NEED(wrong == NULL);
    }
    NEED(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    return 0;
}

static void probes_in_threads_are_not_seen_by_waitpid(void **state)
{
    (void)state;
    run_in_child(threads_body);
}

/* Not inlined: a cancelled thread must leave no frame with locals behind,
 * because AddressSanitizer does not see it go. */
static __attribute__((noinline)) void probe_once(void)
{
    (void)probe_now();
}

static void *probe_cancelled(void *arg)
{
    (void)arg;
    pthread_cancel(pthread_self()); /* takes effect at the next point */
    probe_once();
    pthread_testcancel();
    return NULL;
}

static int cancel_body(void)
{
    int descriptors = count_descriptors();
    pthread_t thread;
    void *result;

    NEED(pthread_create(&thread, NULL, probe_cancelled, NULL) == 0);
    NEED(pthread_join(thread, &result) == 0);
    NEED(result == PTHREAD_CANCELED);
    NEED(count_descriptors() == descriptors);
    NEED(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    return 0;
}

static void a_cancelled_thread_finishes_its_probe(void **state)
{
    (void)state;
    run_in_child(cancel_body);
}

/* The names and kernels of features, through the public functions. */
static void features_have_names(void **state)
{
    (void)state;
    assert_string_equal(uf_feature_name(14), "POISON");
    assert_string_equal(uf_feature_since(14), "6.6");
    assert_null(uf_feature_name(63));
    assert_null(uf_feature_since(64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_have_names),
        cmocka_unit_test(items_agree_with_direct_attempts),
        cmocka_unit_test(the_features_are_those_of_the_handshake),
        cmocka_unit_test(wrong_arguments_are_einval),
        cmocka_unit_test(a_space_gets_the_tier_foreseen),
        cmocka_unit_test(unprivileged_is_user_mode_and_names_the_sysctl),
        cmocka_unit_test(unprivileged_with_a_device_is_served_by_it),
        cmocka_unit_test(root_of_a_user_namespace_is_told_so),
        cmocka_unit_test(a_filter_with_eperm_is_named_and_the_device_serves),
        cmocka_unit_test(a_filter_with_enosys_is_named_and_the_device_serves),
        cmocka_unit_test(a_filter_in_front_of_the_sysctl_names_both),
        cmocka_unit_test(a_filter_that_kills_does_not_kill_the_prober),
        cmocka_unit_test(a_filter_that_traps_does_not_reach_the_handler),
        cmocka_unit_test(a_filter_on_io_uring_is_named),
        cmocka_unit_test(a_listener_that_is_there_already_is_named),
        cmocka_unit_test(a_filter_on_seccomp_is_named),
        cmocka_unit_test(without_children_the_tier_is_still_found),
        cmocka_unit_test(a_hidden_device_leaves_the_system_call),
        cmocka_unit_test(a_masked_device_is_told_apart),
        cmocka_unit_test(a_nodev_mount_is_told_apart),
        cmocka_unit_test(a_node_without_a_driver_is_told_apart),
        cmocka_unit_test(hidden_and_unprivileged_leaves_user_mode),
        cmocka_unit_test(a_useless_device_leaves_user_mode),
        cmocka_unit_test(a_tier_insisted_on_fails_as_documented),
        cmocka_unit_test(filter_and_hidden_is_no_tier_and_eperm),
        cmocka_unit_test(enosys_and_hidden_is_no_tier_and_enosys),
        cmocka_unit_test(unprivileged_filtered_and_hidden_is_no_tier),
        cmocka_unit_test(a_device_for_root_only_is_no_tier),
        cmocka_unit_test(without_descriptors_it_is_emfile),
        cmocka_unit_test(one_descriptor_too_few_is_emfile),
        cmocka_unit_test(a_thousand_probes_leave_nothing_behind),
        cmocka_unit_test(probes_in_threads_are_not_seen_by_waitpid),
        cmocka_unit_test(a_cancelled_thread_finishes_its_probe),
    };

    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
