/* SPDX-License-Identifier: MIT */
/*
 * last_thread: the end of a program whose main thread leaves by pthread_exit.
 *
 * Such a program ends, with exit(0), when its last thread does; libc counts
 * them. But libc counts ours too, and those never end. So when the main thread
 * leaves, and only then, two more threads are started:
 *
 *     ender    has the program's descriptors, as exit(0) must to flush; waits
 *     counter  has a table of its own, for /proc; ends when only we are left
 *
 * The counter looks every few milliseconds: nothing tells of a thread's end
 * that would not be in the way of those threads.
 *
 * This is the one symbol of libc that we stand before. A program that leaves
 * main by thrd_exit(3), or by the bare system call, is not noticed.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "run/heap.h"

#define STACK_BYTES ((size_t)320 << 10)
#define PAUSE_NS    5000000

/* Main (a zombie that is counted until the end), agent, ender, counter. */
#define OURS 4

/* Without opendir: malloc is fine here, but a buffer on the stack is enough. */
static unsigned count_tasks(void)
{
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char entries[4096];
    unsigned n = 0;
    long got;

    if (fd < 0)
        return 0;
    while ((got = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);

            n += entry->d_name[0] != '.';
            at += entry->d_reclen;
        }
    }
    close(fd);
    return n;
}

static void *counter_main(void *arg)
{
    const struct timespec pause = {0, PAUSE_NS};

    if (unshare(CLONE_FILES) < 0)
        return arg;
    close_range(0, ~0u, 0);
    while (count_tasks() > OURS + heap_handler_count())
        nanosleep(&pause, NULL);
    return arg;
}

static int start_thread(pthread_t *thread, void *(*run)(void *))
{
    pthread_attr_t attr;
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(thread, &attr, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

static void *ender_main(void *arg)
{
    pthread_t counter;

    if (start_thread(&counter, counter_main) != 0)
        return arg; /* the program stays; it can still be killed */
    pthread_join(counter, NULL);
    exit(0);
}

__attribute__((visibility("default"))) _Noreturn void pthread_exit(void *value)
{
    void (*libc_pthread_exit)(void *) =
        (void (*)(void *))dlsym(RTLD_NEXT, "pthread_exit");
    pthread_t ender;

    if (syscall(SYS_gettid) == getpid() && heap_is_served())
        start_thread(&ender, ender_main);
    libc_pthread_exit(value);
    abort(); /* not reached */
}
