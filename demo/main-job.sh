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
# Each job runs natively and under `ufault run`; the two outputs and exit codes
# must agree. Returns 0 if they all did.

# main_job NAME UFAULT WORK COMMAND...
main_job()
{
    local name=$1 ufault=$2 work=$3
    local native=0 served=0 started middle ended

    shift 3
    started=$(date +%s%N)
    "$@" >"$work/native" || native=$?
    middle=$(date +%s%N)
    "$ufault" run --report "$work/report" -- "$@" >"$work/served" || served=$?
    ended=$(date +%s%N)

    printf '%s: exit code %d natively, %d served; %d ms natively, %d ms served\n' \
        "$name" $native $served $(((middle - started) / 1000000)) \
        $(((ended - middle) / 1000000))
    sed 's/^/    /' "$work/report"
    [ $native = $served ] && cmp "$work/native" "$work/served"
}

run_main_job()
{
    local ufault=$1 work=$2 n=1000000 failures=0

    [ "$3" = no ] || n=100000
    main_job perl "$ufault" "$work" \
        perl -e 'my %t; $t{$_} = "v$_" for 1 .. shift; print scalar(keys %t), "\n"' \
        $n || failures=$((failures + 1))
    main_job gawk "$ufault" "$work" \
        gawk -v "n=$n" 'BEGIN { for (i = 0; i < n; i++) t[i] = "v" i
                              print length(t) }' || failures=$((failures + 1))
    main_job pipeline "$ufault" "$work" \
        bash -c 'seq "$1" | sort -r | uniq | wc -l' pipeline $n ||
        failures=$((failures + 1))
    [ $failures = 0 ]
}
