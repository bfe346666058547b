/* SPDX-License-Identifier: MIT */
/*
 * Real programs with heaps of about 100 MiB, natively and under `ufault run`
 * with default options: wall time over wall time, whole program, start to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

extern char **environ;

bool bench_run_program(char *const argv[], struct sample *ret)
{
    double cpu = bench_cpu_us(), wall = bench_wall_us();
    posix_spawn_file_actions_t actions;
    int err, status = -1;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null",
                                     O_WRONLY, 0);
    err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (err) {
        printf("# %s: %s\n", argv[0], strerror(err));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    ret->wall_us = bench_wall_us() - wall;
    ret->cpu_us = bench_cpu_us() - cpu;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool native(const struct row *row, struct sample *ret)
{
    char *argv[] = {"sh", "-c", (char *)row->program, NULL};

    return bench_run_program(argv, ret);
}

/* The command of this build, or $UFAULT. */
static bool served(const struct row *row, struct sample *ret)
{
    char *ufault = getenv("UFAULT");
    char *argv[] = {
        ufault ? ufault : "ufault", "run", "--quiet", "--", "sh", "-c",
        (char *)row->program,       NULL};

    return bench_run_program(argv, ret);
}

#define PERL                                                                   \
    "exec perl -e 'my %h; $h{$_} = \"value $_\" for 1..700000; "               \
    "print scalar(keys %h), \"\\n\"'"
#define GAWK                                                                   \
    "exec gawk 'BEGIN { for (i = 0; i < 600000; i++) t[i] = \"value \" i; "    \
    "print length(t) }'"

const struct row program_rows[] = {
    {.work = "perl, hash of 100 MiB, ufault run",
     .engine = "thread",
     .baseline = "native",
     .unit = "run",
     .reach = 1.25,
     .ours = served,
     .theirs = native,
     .program = PERL},
    {.work = "gawk, table of 100 MiB, ufault run",
     .engine = "thread",
     .baseline = "native",
     .unit = "run",
     .reach = 1.25,
     .ours = served,
     .theirs = native,
     .program = GAWK},
};
const size_t program_nrows = sizeof(program_rows) / sizeof(program_rows[0]);
