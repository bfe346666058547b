/* SPDX-License-Identifier: MIT */
/*
 * Real programs natively and under `ufault run` with default options: wall time
 * over wall time, whole program, start to end. What they take of memory is
 * mostly the heap (perl, gawk, sqlite3, gcc), or hardly (python3 and sort map
 * theirs): those rows show what being served costs a program that gains
 * nothing from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "programs.h"

extern char **environ;

bool program_spawn(char *const argv[], struct sample *ret)
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

bool program_run(const struct row *row, const char *options, struct sample *ret)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)row->program, NULL};
    const char *ufault = getenv("UFAULT"); /* or the one of the path */
    char run[4096] = "";

    if (options)
        snprintf(run, sizeof(run), "%s run %s --quiet --",
                 ufault ? ufault : "ufault", options);
    return program_inputs() && setenv("RUN", run, 1) == 0 &&
           program_spawn(argv, ret);
}

static bool native(const struct row *row, struct sample *ret)
{
    return program_run(row, NULL, ret);
}

static bool served(const struct row *row, struct sample *ret)
{
    return program_run(row, "", ret);
}

#define PERL                                                                   \
    "exec $RUN perl -e 'my %h; $h{$_} = \"value $_\" for 1..700000; "          \
    "print scalar(keys %h), \"\\n\"'"
#define GAWK                                                                   \
    "exec $RUN gawk 'BEGIN { for (i = 0; i < 600000; i++) "                    \
    "t[i] = \"value \" i; print length(t) }'"

#define GROUP "programs under ufault run"

#define ROW(the_work, the_program)                                             \
    {                                                                          \
        .work = the_work ", ufault run", .engine = "thread",                   \
        .baseline = "native", .unit = "run", .reach = 1.10, .group = GROUP,    \
        .ours = served, .theirs = native, .program = the_program               \
    }

const struct row program_rows[] = {
    ROW("perl, hash of 100 MiB", PERL),
    ROW("gawk, table of 100 MiB", GAWK),
    ROW("python3, large objects", "exec $RUN /usr/bin/python3 objects.py"),
    ROW("gcc -O2, 120 functions", "exec $RUN gcc -O2 -S -o out.s large.c"),
    ROW("sort, 400,000 lines",
        "exec $RUN sort -S 64M -T . --parallel=2 -k1,1n -k3,3nr lines"),
    ROW("sqlite3, 400,000 rows", "exec $RUN sqlite3 :memory: <load.sql"),
    {.work = "6 programs, ufault run, geometric mean",
     .engine = "thread",
     .baseline = "native",
     .unit = "run",
     .reach = 1.03,
     .summary = GEOMETRIC_MEAN,
     .group = GROUP},
    {.work = "6 programs, ufault run, the best of them",
     .engine = "thread",
     .baseline = "native",
     .unit = "run",
     .reach = 1.0,
     .summary = SMALLEST,
     .group = GROUP},
};
const size_t program_nrows = sizeof(program_rows) / sizeof(program_rows[0]);
