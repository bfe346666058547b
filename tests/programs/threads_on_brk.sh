#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Threaded programs whose every allocation comes from the break: one arena, no
# mmap. Run again and again: none hangs, all agree with the native run.
#
# UF_RUN_REPEATS runs in all (100).

. "$(dirname "$0")/lib.bash"

export GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=4294967296
repeats=$((${UF_RUN_REPEATS:-100} / 4))

seq 1 150000 >numbers
cat >threads.py <<'END'
import threading, zlib
def work(n, out):
    d = {}
    for i in range(3000):
        d[i] = str(i * n) * (i % 20)
    big = bytearray(1 << 20)
    big[::4096] = bytes(256)
    out[n] = zlib.crc32("".join(d.values()).encode()) + len(big)
out = {}
threads = [threading.Thread(target=work, args=(n, out)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(out.items()))
END

for ((i = 0; i < repeats; i++)); do
    same "xz -T2, run $i" xz -T2 -1 --block-size=200000 -c numbers || break
    reported 'xz threads faulted' '[.processes[].threads | length] | max >= 2'
    same "zstd -T2, run $i" zstd -T2 -q -B200000 -c numbers || break
    same "python3 threads, run $i" /usr/bin/python3 threads.py || break
    same "break from threads, run $i" "$programs/prog_breaks" threads || break
done
reported 'threads were served' '.total.faults > 100'

finish
