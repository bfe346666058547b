# SPDX-License-Identifier: MIT
#
# The main job: an unmodified program with its whole brk heap served by ufault.
# Sourced by demo/run, which calls
#
#     run_main_job UFAULT WORK CHECK
#
#     UFAULT  the built `ufault` command
#     WORK    an empty directory for files; demo/run removes it
#     CHECK   yes: small sizes, for CI; no: the sizes of the README
#
# Each job runs natively and under `ufault run`, in turns; the outputs and exit
# codes must agree. Returns 0 if they all did.

# median NUMBER...
median()
{
    printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

# timed RESULT COMMAND...: sets RESULT_status and appends to the array
# RESULT_times, in microseconds.
timed()
{
    local started ended
    local -n status_of=$1_status times_of=$1_times

    shift
    started=$(date +%s%N)
    status_of=0
    "$@" || status_of=$?
    ended=$(date +%s%N)
    times_of+=($(((ended - started) / 1000)))
}

# main_job WHAT UFAULT WORK REPEATS COMMAND...
main_job()
{
    local what=$1 ufault=$2 work=$3 repeats=$4 n s
    local native_status served_status native_times=() served_times=()

    shift 4
    while [ $repeats -gt 0 ]; do
        repeats=$((repeats - 1))
        timed native "$@" >"$work/native"
        timed served "$ufault" run --report "$work/report" -- "$@" \
            >"$work/served"
        if [ $native_status != $served_status ] ||
           ! cmp "$work/native" "$work/served"; then
            echo "$what: exit code $native_status natively, $served_status" \
                 "served, or another output"
            return 1
        fi
    done
    n=$(median "${native_times[@]}") s=$(median "${served_times[@]}")
    awk -v what="$what" -v n="$n" -v s="$s" -v code="$native_status" 'BEGIN {
        printf "%s: same output, same exit code %d; %.0f ms natively, %.0f ms " \
               "served: %.2f times\n", what, code, n / 1000, s / 1000, s / n }'
    sed 's/^/    /' "$work/report"
    echo
}

run_main_job()
{
    local ufault=$1 work=$2 n=750000 repeats=5 failures=0

    [ "$3" = no ] || n=50000 repeats=1
    main_job 'perl, a hash of strings' "$ufault" "$work" $repeats \
        perl -e 'my %t; $t{$_} = "v$_" for 1 .. shift;
                 print scalar(keys %t), "\n"' $n || failures=$((failures + 1))
    main_job 'gawk, an array' "$ufault" "$work" $repeats \
        gawk -v "n=$n" 'BEGIN { for (i = 0; i < n; i++) t[i] = "v" i
                              print length(t); exit 3 }' ||
        failures=$((failures + 1))
    main_job 'python3, lists and threads' "$ufault" "$work" $repeats \
        /usr/bin/python3 -c 'import sys, threading
n, out = int(sys.argv[1]), []
def work(k): out.append(sum(len(s) for s in [str(i * k) for i in range(n // 4)]))
t = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3)]
[x.start() for x in t]; [x.join() for x in t]; print(sorted(out))' $n ||
        failures=$((failures + 1))
    main_job 'a shell pipeline, its children served too' "$ufault" "$work" \
        $repeats bash -c 'seq "$1" | sort -r | uniq | wc -l' pipeline $n ||
        failures=$((failures + 1))
    [ $failures = 0 ]
}
