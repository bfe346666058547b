#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The report: where it goes, what is in it, and that it is true.

. "$(dirname "$0")/lib.bash"

"$ufault" run perl -e '@a = (1 .. 200000); print "out\n"' >out 2>err
check 'the program has its stdout' test "$(cat out)" = out
for line in '== ufault run: perl ended with code 0 after' 'processes served    1' \
    'break calls  ' 'heap high water  ' 'faults  ' 'pages installed  ' \
    'time in faults .*p50 .*p99 ' "kernel's ru_minflt  "; do
    check "the text has: $line" grep -q -- "$line" err
done
check 'nothing else' test "$(grep -c . err)" -le 9

"$ufault" run --quiet perl -e 'print STDERR "mine\n"' 2>err
check '--quiet' test "$(cat err)" = mine
"$ufault" run --report r.txt perl -e 'print STDERR "mine\n"' 2>err
check '--report leaves stderr alone' test "$(cat err)" = mine
check '--report writes' grep -q 'ended with code' r.txt
"$ufault" run --json true 2>err
check '--json is JSON' jq -e '.total | type == "object"' err
"$ufault" run --json -- bash -c 'exec -a "$1" sleep 0' - \
    "$(printf 'odd "\\\001\377 name')" 2>err
check 'JSON of an odd name' jq -e '.processes | length == 2' err
"$ufault" run true 2>&1 >/dev/full | grep -q 'ended with code'
check 'stdout is not ours' test "$?" = 0
"$ufault" run true 2>/dev/full
check 'a full stderr changes nothing' test "$?" = 0

# Threads, by what each touched.
same threads /usr/bin/env GLIBC_TUNABLES=glibc.malloc.arena_max=1 \
    "$programs/prog_breaks" threads
reported 'threads are told apart' '[.processes[].threads | length] | max >= 4'
reported 'they add up' '[.processes[] | .faults ==
    ([.threads[] | .faults_read + .faults_write] | add // 0)] | all'
reported 'the totals are the sum' \
    '.total.faults == ([.processes[].faults] | add)'

# What is counted agrees with what was touched.
run_options=(--window 1)
same touches "$programs/prog_breaks" touch 5000
reported 'a fault a page' '.total.faults >= 5000 and .total.faults < 5064'
reported 'the kernel counts as many, and those of other memory' \
    '.ru_minflt >= .total.faults and .ru_minflt < .total.faults + 3000'
reported 'and so does the process itself' \
    '.processes[0].ru_minflt <= .ru_minflt and
     .processes[0].ru_minflt > .total.faults - 10'
reported 'heap high water' '.total.total_vm_peak >= 5000'
reported 'p50 <= p99 <= longest' '.total | .fault_p50_ns > 0 and
    .fault_p50_ns <= .fault_p99_ns and .fault_p99_ns <= .fault_max_ns'
run_options=()

# Many processes: the text shows the busiest.
"$ufault" run bash -c 'for i in $(seq 30); do /bin/true; done' 2>err
check 'a table' grep -q 'pid  program' err
check 'and how many more' grep -q 'more with fewer faults' err

finish
