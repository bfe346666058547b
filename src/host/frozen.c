/* SPDX-License-Identifier: MIT */
/* See frozen.h. */
#include "host/frozen.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/proc_abi.h"
#include "host/scan.h"

#define ENTRIES 512

/* The child: no code but this, and the system calls. */
__attribute__((noreturn,
               no_sanitize("thread", "address", "undefined"))) static void
sleep_for_good(long parent)
{
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0L, 0L, 0L);
    while (syscall(SYS_getppid) == parent) /* it may have gone before */
        syscall(SYS_ppoll, NULL, 0L, NULL, NULL, 0L);
    for (;;)
        syscall(SYS_exit_group, 0L);
}

/* A number that no other process has at that place. */
static uint64_t token(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec) *
           0x9e3779b97f4a7c15u;
}

int frozen_take(struct frozen *ret)
{
    long parent = syscall(SYS_getpid), pid;
    sigset_t all, before;
    int err;

    *ret = (struct frozen){.mem = -1, .pagemap = -1, .token = token()};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid =
        syscall(SYS_clone, (long)(CLONE_FILES | CLONE_FS), 0L, NULL, NULL, 0L);
    if (pid == 0)
        sleep_for_good(parent);
    err = pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == -EPERM || err == -ENOSYS)
        return -EACCES;
    if (err)
        return err == -EAGAIN ? err : -ENOMEM;
    ret->pid = (pid_t)pid;
    return 0;
}

static int open_of(pid_t pid, const char *name)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        return -EMFILE;
    if (fd < 0)
        return errno == ENOMEM ? -ENOMEM : -EACCES;
    return fd;
}

int frozen_open(struct frozen *f)
{
    uint64_t theirs = 0;

    f->mem = open_of(f->pid, "mem");
    if (f->mem < 0)
        return f->mem;
    if (frozen_read(f, (uintptr_t)&f->token, &theirs, sizeof(theirs)) != 0 ||
        theirs != f->token)
        return -EACCES;
    f->pagemap = open_of(f->pid, "pagemap");
    return f->pagemap < 0 ? f->pagemap : 0;
}

void frozen_end(struct frozen *f)
{
    if (f->mem >= 0)
        close(f->mem);
    if (f->pagemap >= 0)
        close(f->pagemap);
    kill(f->pid, SIGKILL);
    while (waitpid(f->pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

int frozen_read(const struct frozen *f, uintptr_t addr, void *to, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pread(f->mem, (char *)to + done, len - done, (off_t)(addr + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EFAULT;
        done += (size_t)n;
    }
    return 0;
}

/* Before PAGEMAP_SCAN: entry by entry. */
static int present_by_entries(const struct frozen *f, struct range part,
                              struct range *ret)
{
    uint64_t entries[ENTRIES];

    *ret = (struct range){part.end, part.end};
    while (part.start < part.end) {
        size_t n = range_len(part) / page_size();
        ssize_t got;

        n = n < ENTRIES ? n : ENTRIES;
        got = pread(f->pagemap, entries, n * sizeof(entries[0]),
                    (off_t)(part.start / page_size() * sizeof(entries[0])));
        if (got != (ssize_t)(n * sizeof(entries[0])))
            return -EIO;
        for (size_t i = 0; i < n; i++) {
            uintptr_t at = part.start + i * page_size();
            bool there = entries[i] & (PAGE_ENTRY_PRESENT | PAGE_ENTRY_SWAPPED);

            if (there && range_is_empty(*ret))
                ret->start = at;
            if (there)
                ret->end = at + page_size();
            else if (!range_is_empty(*ret))
                return 0;
        }
        if (!range_is_empty(*ret))
            return 0;
        part.start += n * page_size();
    }
    return 0;
}

int frozen_present(const struct frozen *f, struct range part, struct range *ret)
{
    int err = scan_first(f->pagemap, SCAN_PRESENT, part, ret);

    return err == -ENOTTY ? present_by_entries(f, part, ret) : err;
}
