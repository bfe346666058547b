/* SPDX-License-Identifier: MIT */
/* The files that the programs of the rows work on; see programs.h. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "programs.h"

/* Made once, in a directory that goes at exit. */
static const char inputs[] =
    "set -e\n"
    "seq 1 400000 | awk '{ print ($1 * 7919) % 600013, \"line\", $1 }' >lines\n"
    "awk 'BEGIN { for (n = 0; n < 120; n++) printf \"int f%d(int a, int b) "
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
    "until redis-cli -s $socket ping 2>&1 | grep -q PONG; do\n"
    "    kill -0 $! || exit 1; sleep 0.01\n"
    "done\n"
    "redis-benchmark -s $socket -q -n 30000 -r 30000 -d 400 -t set,lpush,hset\n"
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

bool program_inputs(void)
{
    static bool made;
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)inputs, NULL};
    struct sample ignored;

    if (made)
        return true;
    if (!mkdtemp(directory) || atexit(remove_inputs) != 0 ||
        chdir(directory) < 0)
        return false;
    made = program_spawn(argv, &ignored);
    return made;
}
