/* SPDX-License-Identifier: MIT */
/*
 * store_file: what tests of failing stores share: a file of a known pattern, and
 * children for what cannot be undone. Each test program has its own of all of
 * it.
 */
#ifndef TESTS_UNIT_STORE_FILE_H
#define TESTS_UNIT_STORE_FILE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"

#define SKIPPED 77
#define PAGES   64

#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: not true\n", __FILE__, __LINE__,       \
                    #condition);                                               \
            return 1;                                                          \
        }                                                                      \
    } while (0)

static char path[] = "/tmp/ufault-store-errors-XXXXXX";
static char buffer[4096 * PAGES] __attribute__((aligned(4096)));

static inline int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    for (size_t i = 0; i < sizeof(buffer); i++)
        buffer[i] = (char)live_pattern(i);
    return write(fd, buffer, sizeof(buffer)) == sizeof(buffer) ? close(fd) : -1;
}

static inline int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static inline bool is_good(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)bytes[i] != live_pattern(i))
            return false;
    return true;
}

/* In a child, for what cannot be undone. */
static inline void in_child(int (*body)(const void *), const void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int result = body(arg);

        fflush(NULL);
        _exit(result);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
