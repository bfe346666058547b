/* SPDX-License-Identifier: MIT */
/* See run_filter.h. */
#include "run_filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/protocol.h"

/* Newer than Debian 12's headers. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

/* True of an argument that lies in the region for mappings. */
#define IN_REGION(arg)                                                         \
    SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, ~(RUN_MAPPING_MAX - 1),                \
               RUN_MAPPING_BASE)
#define NOT_OURS(arg) SCMP_CMP64(arg, SCMP_CMP_NE, RUN_COOKIE, 0)

/* Calls that change memory which they name, but for those of ours. What only
 * looks (mincore, msync) needs nobody. */
static int add_mapping_rules(scmp_filter_ctx filter)
{
    static const int on_range[] = {SCMP_SYS(munmap),  SCMP_SYS(mprotect),
                                   SCMP_SYS(madvise), SCMP_SYS(mremap),
                                   SCMP_SYS(mlock),   SCMP_SYS(mlock2),
                                   SCMP_SYS(munlock), SCMP_SYS(pkey_mprotect)};
    static const uint64_t fixed[] = {MAP_FIXED, MAP_FIXED_NOREPLACE};
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(on_range) / sizeof(on_range[0]); i++)
        err = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, on_range[i], 2,
                               IN_REGION(0), NOT_OURS(5));
    if (!err) /* into the region */
        err = seccomp_rule_add(
            filter, SCMP_ACT_NOTIFY, SCMP_SYS(mremap), 3,
            SCMP_CMP64(3, SCMP_CMP_MASKED_EQ, MREMAP_FIXED, MREMAP_FIXED),
            IN_REGION(4), NOT_OURS(5));
    for (size_t i = 0; !err && i < 2; i++)
        err = seccomp_rule_add(
            filter, SCMP_ACT_NOTIFY, SCMP_SYS(mmap), 3, IN_REGION(0),
            SCMP_CMP64(3, SCMP_CMP_MASKED_EQ, fixed[i], fixed[i]), NOT_OURS(4));
    return err;
}

/* The program of the filter, in a memfd. The descriptor or -errno. */
static int export_filter(bool mappings)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int fd = memfd_create("ufault-filter", MFD_CLOEXEC);
    int err = 0;

    if (!filter || fd < 0)
        err = -ENOMEM;
    if (!err)
        err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(brk), 0);
    if (!err && mappings)
        err = add_mapping_rules(filter);
    if (!err)
        err = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    if (err && fd >= 0)
        close(fd);
    return err ? err : fd;
}

static int load(const struct sock_fprog *program, unsigned long flags)
{
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);

    return rc < 0 ? -errno : (int)rc;
}

/* Once the call is received only death interrupts it, where the kernel can do
 * that (5.19). No speculation mitigation: nothing is confined here. */
static int load_program(const struct sock_fprog *program)
{
    unsigned long flags =
        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    int fd = load(program, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

    return fd == -EINVAL ? load(program, flags) : fd;
}

int run_filter_load(bool mappings)
{
    int fd = export_filter(mappings);
    struct sock_fprog program;
    struct stat st;
    int listener;
    void *code;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        st.st_size = 0;
    code = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (code == MAP_FAILED)
        return -ENOMEM;
    program.len =
        (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
    program.filter = code;
    listener = load_program(&program);
    if (listener == -EACCES) {
        /* Not privileged: the price is that set-uid programs of the tree start
         * without their privileges. */
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        listener = load_program(&program);
    }
    munmap(code, (size_t)st.st_size);
    return listener;
}

void run_filter_wake_here(int listener)
{
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
          SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}
