#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs that move the break themselves: by libc, by the bare system call, from
# threads, with signals blocked or arriving; limits that they set.

. "$(dirname "$0")/lib.bash"

for what in walk threads above blocked fds; do
    same "break: $what" "$programs/prog_breaks" $what
done

for window in 1 7 64 512; do
    run_options=(--window $window)
    same "write touches, window $window" "$programs/prog_breaks" touch 2048
    reported 'no more faults than touches' '.total.faults <= 2048 + 64'
    reported 'every touched page installed' '.total.pages_installed >= 2048'
    reported 'the window is used' \
        ".total.faults >= 2048 / $window and .total.faults < 3 * 2048 / $window + 64"
    reported 'they are writes' '.total.faults_write >= 2048 / '$window
    reported 'the kernel saw them too' '.ru_minflt >= .total.faults'
    same "read touches, window $window" "$programs/prog_breaks" read 2048
    reported 'they are reads' '.total.faults_read >= 2048 / '$window
    reported 'zero pages' '.total.pages_zero >= 2048 - 600'
done
run_options=(--window 1)
same 'one page a fault' "$programs/prog_breaks" touch 3000
reported 'each touch is one fault' \
    '.total.faults_write >= 3000 and .total.faults_write <= 3064'
run_options=()

for how in libc malloc; do
    same "interrupted: $how" "$programs/prog_interrupted" $how 20000
done

# Ours is a part of what the limits count: a constant few MiB.
close_to()
{
    local n s i
    read -ra n <<<"$(tr -cs '0-9\n' ' ' <native.out | tr '\n' ' ')"
    read -ra s <<<"$(tr -cs '0-9\n' ' ' <served.out | tr '\n' ' ')"
    [ ${#n[@]} = ${#s[@]} ] || return 1
    for i in "${!n[@]}"; do
        [ $((n[i] - s[i])) -ge 0 ] && [ $((n[i] - s[i])) -le "$1" ] ||
            { [ $((s[i] - n[i])) -ge 0 ] && [ $((s[i] - n[i])) -le "$1" ]; } ||
            return 1
    done
}
limited()
{
    checks=$((checks + 1))
    (ulimit -d 204800 && "$programs/prog_limits" "$2") >native.out
    (ulimit -d 204800 && "$ufault" run --quiet "$programs/prog_limits" "$2") \
        >served.out
    close_to "$1" || { fail "limit: $2"; paste native.out served.out; }
}
limited 8 data
limited 8 as
limited 8 malloc
limited 0 zero
(ulimit -d 102400 && "$programs/prog_limits" malloc) >native.out
"$ufault" run --quiet --limit 100M "$programs/prog_limits" malloc >served.out
check '--limit is ulimit -d' close_to 8
check '--limit is set' grep -q '^262144$' <("$ufault" run --quiet --limit 256M \
    bash -c 'ulimit -d')

# stress-ng says 0 bogo operations and ends with 0 when brk fails at once.
if command -v stress-ng >/dev/null; then
    for stressor in brk malloc; do
        checks=$((checks + 1))
        "$ufault" run --quiet stress-ng --$stressor 1 --timeout 3 --verify \
            --metrics-brief >stress.out 2>&1 || fail "stress-ng --$stressor"
        ops=$(awk -v s=$stressor '$4 == s && !n++ { print $5 }' \
            stress.out)
        [ "${ops:-0}" -gt 0 ] || { fail "stress-ng --$stressor: no operation"
                                   cat stress.out; }
    done
fi

finish
