#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Real programs give the same output, messages and exit code under
# `ufault run --mmap` as natively, while their mappings are served.

. "$(dirname "$0")/lib.bash"

run_options=(--mmap)

# served WHAT MMAPS FAULTS: at least so many of each.
served()
{
    reported "$1: mappings were served" \
        ".mapped | .mmaps >= $2 and .faults >= $3"
    reported "$1: nothing refused" '.mapped.refused == 0'
    reported "$1: faults all answered" '.mapped | .faults ==
        .installed + .present + .stale + .refused + .folded + .pending'
}

# python3 builds and frees large objects: blocks beyond malloc's threshold,
# lists that grow by realloc, arenas of small objects.
cat >objects.py <<'END'
import gc, zlib
total = 0
for turn in range(4):
    blocks = [bytearray(b'%d' % i) * 200000 for i in range(1, 60)]
    for b in blocks:
        b[0] = 7
        b[-1] = turn
        total = zlib.crc32(b[:100], total)
    grown = []
    for i in range(600000):
        grown.append(i)
    table = {i: str(i) * 3 for i in range(120000)}
    total = zlib.crc32(repr(sum(map(len, table.values()))).encode(), total)
    total += sum(grown) + sum(map(len, blocks))
    del blocks, grown, table
    gc.collect()
print(total)
try:
    bytearray(1 << 50)
except MemoryError:
    print('no memory')
END
same python3 /usr/bin/python3 objects.py && served python3 100 300
reported 'lists moved' '.mapped.mremaps > 5'

echo 'pragma cache_size = -64000; pragma mmap_size = 268435456;
create table t(a integer primary key, b text, c blob);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 80000)
insert into t select i, printf("%x", i * 7919 % 60013), zeroblob(i % 300)
from n;
commit; create index ib on t(b);
select count(*), min(b), max(b), sum(length(b)), sum(length(c)) from t;
select count(*) from t x join t y on x.b = y.b where x.a < 2000;
delete from t where a % 3 = 0; pragma integrity_check;
select b, count(*) from t group by b order by 2 desc, 1 limit 9;' >load.sql
same sqlite3 bash -c 'rm -f load.db; exec sqlite3 load.db <load.sql' &&
    served sqlite3 1 5

# gcc's garbage-collected heap is mmapped: a large file.
for ((n = 0; n < 160; n++)); do
    echo "int f$n(int a, int b) { int s = $n; for (int i = 0; i < a; i++) {
        s += i * $n ^ (s << 1); if (s > b) s -= b * $((n % 7 + 1));
        switch (s & 7) { case 1: s += a; break; case 2: s -= b; break;
        case 5: s *= 3; } } return s; }"
done >large.c
same 'gcc -O2' gcc -O2 -S -o - large.c && served gcc 20 50
same 'gcc error' gcc -O2 -S -o - -Dint=++ large.c

seq 1 150000 | awk '{ print ($1 * 7919) % 150013, "line", $1 }' >numbers
same 'xz -T2' xz -T2 --block-size=400000 -3 -c numbers && served xz 4 50
cp served.out numbers.xz
same 'xz -d -T2' xz -d -T2 -c numbers.xz

# A file of 2.7 MiB in buffers of 1: temporary files, merged.
same sort sort -S 1M -T . --parallel=2 -k1,1n -k3,3nr numbers && served sort 1 3
same 'sort in memory' sort -S 40M --parallel=2 -k1,1n numbers &&
    served 'sort in memory' 1 20

# node and java: mappings at places of their choice are the kernel's, so that
# they are where these ask for them; the rest is served.
cat >script.js <<'END'
const seen = new Map();
for (let i = 0; i < 200000; i++) seen.set('k' + i % 5000, { i, s: 'x' + i });
const blocks = [];
for (let i = 0; i < 30; i++) blocks.push(Buffer.alloc(2000000, i));
const text = JSON.stringify([...seen].slice(0, 2000));
let sum = 0;
for (const b of blocks) for (let i = 0; i < b.length; i += 4096) sum += b[i];
for (const c of text) sum = (sum * 31 + c.charCodeAt(0)) % 1000003;
console.log(seen.size, text.length, sum, blocks.length);
const { Worker } = require('worker_threads');
const w = new Worker(`require('worker_threads').parentPort.postMessage(
    Buffer.alloc(3000000, 5).reduce((a, b) => a + b))`, { eval: true });
w.on('message', (m) => console.log('worker', m));
END
if command -v node >/dev/null; then
    same node node script.js && served node 5 100
else
    echo 'no node here'
fi
if command -v java >/dev/null; then
    same java java -version && served java 20 20
else
    echo 'no java here'
fi

# redis-server lives on jemalloc: loaded by redis-benchmark, saved by a forked
# child, read back by a second server.
redis()
{
    redis-cli -s "$work/socket" --raw "$@"
}

# serve NAME COMMAND...: a server under COMMAND; what it answers in NAME.
serve()
{
    local name=$1 pid

    shift
    "$@" redis-server --port 0 --unixsocket "$work/socket" --dir "$work" \
        --save '' --appendonly no --dbfilename $name.rdb \
        --logfile "$work/$name.log" --enable-debug-command local &
    pid=$!
    wait_until redis ping >/dev/null 2>&1
    {
        redis debug digest
        redis flushall
        redis-benchmark -s "$work/socket" -q -n 20000 -r 5000 -d 200 \
            -t set,lpush,hset,sadd >/dev/null
        redis eval 'redis.call("flushall")
            for i = 1, 60000 do
                redis.call("set", "key" .. i, string.rep("v" .. i, i % 40))
                redis.call("zadd", "set", i * 7919 % 60013, "m" .. i)
            end
            for i = 1, 60000, 3 do redis.call("del", "key" .. i) end
            return redis.call("dbsize")' 0
        redis bgsave
        wait_until saved
        redis info persistence | grep bgsave_status
        redis zrange set 100 110
        redis strlen key59999
        redis debug digest
        redis shutdown nosave
    } >"$name.answers" 2>&1
    wait $pid
    echo "ended with $?" >>"$name.answers"
}

saved()
{
    redis info persistence | grep -q rdb_bgsave_in_progress:0
}

if command -v redis-server >/dev/null; then
    serve native env >native.out
    serve served "$ufault" run --mmap --json --report "$work/report.json" -- \
        >served.out
    check 'redis-server: answers' cmp native.answers served.answers
    check 'redis-server: what it saved' \
        test "$(wc -c <native.rdb)" = "$(wc -c <served.rdb)"
    served redis-server 3 100
    reported 'its saving child was served' '.processes_mapped == 2'
    cp served.rdb again.rdb
    serve again env >again.out
    check 'redis-server: read back by a native one' test \
        "$(sed -n 1p again.answers)" = "$(grep -x '[0-9a-f]\{40\}' \
        served.answers | tail -1)"
else
    echo 'no redis-server here'
fi

# Shells and their children.
same 'pipeline' bash -c 'cut -d" " -f3 numbers | sort -r | uniq | tail -2;
    x=$(seq 1000 | paste -sd+ | bc); echo "$x"; (exit 4) || echo $?'
same git bash -c 'set -e; rm -rf r; git init -q r; cd r
    export GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000"
    git config user.name n; git config user.email e@example.org
    for i in 1 2; do split -l 20000 -d ../numbers part$i; git add .
        git commit -qm "commit $i"; done; git gc -q; git fsck
    git rev-parse HEAD; git diff HEAD~1 --stat | tail -1' && served git 5 5

finish
