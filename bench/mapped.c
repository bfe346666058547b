/* SPDX-License-Identifier: MIT */
/*
 * Real programs natively and under `ufault run --mmap` with default options:
 * wall time over wall time, whole program, start to end.
 */
#include "programs.h"

static bool native(const struct row *row, struct sample *ret)
{
    return program_run(row, NULL, ret);
}

static bool served(const struct row *row, struct sample *ret)
{
    return program_run(row, "--mmap", ret);
}

#define ROW(the_work, the_program)                                             \
    {                                                                          \
        .work = the_work ", ufault run --mmap", .engine = "thread",            \
        .baseline = "native", .unit = "run", .reach = 1.25, .ours = served,    \
        .theirs = native, .program = the_program                               \
    }

const struct row mapped_rows[] = {
    ROW("python3, large objects", "exec $RUN /usr/bin/python3 objects.py"),
    ROW("redis-server, redis-benchmark", "exec sh ./redis"),
    ROW("sqlite3, 400,000 rows", "exec $RUN sqlite3 :memory: <load.sql"),
    ROW("node, a script", "exec $RUN node script.js"),
    ROW("gcc -O2, 120 functions", "exec $RUN gcc -O2 -S -o out.s large.c"),
    ROW("xz -T2, 7 MiB", "exec $RUN xz -T2 -2 --block-size=2MiB -kc lines"),
    ROW("sort, buffers of 4 MiB",
        "exec $RUN sort -S 4M -T . --parallel=2 -k1,1n -k3,3nr lines"),
    ROW("java -version", "exec $RUN java -version 2>&1"),
};
const size_t mapped_nrows = sizeof(mapped_rows) / sizeof(mapped_rows[0]);
