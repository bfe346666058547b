/* SPDX-License-Identifier: MIT */
/*
 * Real programs natively and under `ufault run --mmap` with default options:
 * wall time over wall time, whole program, start to end. In the scripts $RUN is
 * what the program is started under: nothing, or ufault.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

/* Made once, in a directory that goes at exit. */
static const char inputs[] =
    "set -e\n"
    "seq 1 400000 | awk '{ print ($1 * 7919) % 600013, \"line\", $1 }' >lines\n"
    "cat lines lines >more\n"
    "awk 'BEGIN { for (n = 0; n < 200; n++) printf \"int f%d(int a, int b) "
    "{ int s = %d; for (int i = 0; i < a; i++) { s += i * %d ^ (s << 1); "
    "if (s > b) s -= b * %d; switch (s & 7) { case 1: s += a; break; "
    "case 2: s -= b; break; case 5: s *= 3; } } return s; }\\n\", "
    "n, n, n, n % 7 + 1 }' >large.c\n"
    "cat >objects.py <<'END'\n"
    "for turn in range(4):\n"
    "    blocks = [bytearray(b'%d' % i) * 300000 for i in range(1, 80)]\n"
    "    for b in blocks: b[0] = 7; b[-1] = turn\n"
    "    grown = []\n"
    "    for i in range(700000): grown.append(i)\n"
    "    table = {i: str(i) * 3 for i in range(150000)}\n"
    "    print(len(blocks), sum(grown), len(table))\n"
    "END\n"
    "cat >load.sql <<'END'\n"
    "pragma cache_size = -200000;\n"
    "create table t(a integer primary key, b text);\n"
    "with recursive n(i) as (select 1 union all select i + 1 from n\n"
    "where i < 400000)\n"
    "insert into t select i, printf(\"%x\", i * 7919 % 60013) from n;\n"
    "create index ib on t(b);\n"
    "select count(*), min(b), max(b), sum(length(b)) from t;\n"
    "END\n"
    "cat >script.js <<'END'\n"
    "const seen = new Map(), blocks = [];\n"
    "for (let i = 0; i < 400000; i++)\n"
    "    seen.set('k' + i % 9000, { i, s: 'x' + i });\n"
    "for (let i = 0; i < 40; i++) blocks.push(Buffer.alloc(3000000, i));\n"
    "console.log(seen.size, JSON.stringify([...seen]).length);\n"
    "END\n"
    "cat >redis <<'END'\n"
    "socket=$PWD/socket; rm -f $socket\n"
    "$RUN redis-server --port 0 --unixsocket $socket --save '' --dir $PWD &\n"
    "until redis-cli -s $socket ping 2>&1 | grep -q PONG; do sleep 0.01; done\n"
    "redis-benchmark -s $socket -q -n 60000 -r 60000 -d 400 -t set,lpush,hset\n"
    "redis-cli -s $socket shutdown nosave; wait $!\n"
    "END\n";

static char directory[] = "/tmp/ufault-bench-XXXXXX";

static void remove_inputs(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf %s", directory);
    if (system(command) != 0)
        printf("# %s is left behind\n", directory);
}

static bool make_inputs(void)
{
    static bool made;
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)inputs, NULL};
    struct sample ignored;

    if (made)
        return true;
    if (!mkdtemp(directory) || atexit(remove_inputs) != 0 ||
        chdir(directory) < 0)
        return false;
    made = bench_run_program(argv, &ignored);
    return made;
}

static bool run_under(const char *prefix, const struct row *row,
                      struct sample *ret)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)row->program, NULL};

    return make_inputs() && setenv("RUN", prefix, 1) == 0 &&
           bench_run_program(argv, ret);
}

static bool native(const struct row *row, struct sample *ret)
{
    return run_under("", row, ret);
}

/* The command of this build, or $UFAULT. */
static bool served(const struct row *row, struct sample *ret)
{
    const char *ufault = getenv("UFAULT");
    char prefix[4096];

    snprintf(prefix, sizeof(prefix), "%s run --mmap --quiet --",
             ufault ? ufault : "ufault");
    return run_under(prefix, row, ret);
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
    ROW("gcc -O2, 200 functions", "exec $RUN gcc -O2 -S -o out.s large.c"),
    ROW("xz -T2, 13 MiB", "exec $RUN xz -T2 -2 --block-size=4MiB -kc more"),
    ROW("sort, buffers of 4 MiB",
        "exec $RUN sort -S 4M -T . --parallel=2 -k1,1n -k3,3nr lines"),
    ROW("java -version", "exec $RUN java -version 2>&1"),
};
const size_t mapped_nrows = sizeof(mapped_rows) / sizeof(mapped_rows[0]);
