# SPDX-License-Identifier: MIT
#
# Sourced by the scripts of this folder, which are called as
#
#     NAME.sh UFAULT PROGRAMS
#
#     UFAULT    the `ufault` command
#     PROGRAMS  where the helper programs (prog_*.c) were built
#
# A script calls the functions below and ends with `finish`.

set -uo pipefail

ufault=$(realpath "$1")
programs=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export LC_ALL=C
failures=0
checks=0

# Programs run for as long as they need, but not for ever.
patience=60

if ! "$ufault" run --quiet true 2>"$work/refusal"; then
    cat "$work/refusal"
    echo "skipped: ufault run does not work here"
    exit 77
fi

fail()
{
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# check WHAT COMMAND...: the command succeeds.
check()
{
    local what=$1

    shift
    checks=$((checks + 1))
    "$@" || fail "$what"
}

# same WHAT COMMAND...: natively and served: the same output, byte for byte, the
# same messages and the same exit code. In the report: $work/report.json.
# $run_options are passed on.
run_options=()
same()
{
    local what=$1 native=0 served=0

    shift
    checks=$((checks + 1))
    timeout -k 5 $patience "$@" \
        >"$work/native.out" 2>"$work/native.err" </dev/null || native=$?
    timeout -k 5 $patience "$ufault" run --json --report "$work/report.json" \
        ${run_options[@]+"${run_options[@]}"} -- "$@" \
        >"$work/served.out" 2>"$work/served.err" </dev/null || served=$?
    if [ $native != $served ]; then
        fail "$what: exit code $native natively, $served served"
        tail -3 "$work/served.err"
    elif ! cmp "$work/native.out" "$work/served.out"; then
        fail "$what: output"
    elif ! cmp "$work/native.err" "$work/served.err"; then
        fail "$what: messages"
    else
        return 0
    fi
    return 1
}

# report EXPRESSION: jq on the last report.
report()
{
    jq -r "$1" "$work/report.json"
}

# reported WHAT EXPRESSION: the expression is true of the last report.
reported()
{
    checks=$((checks + 1))
    [ "$(report "$2")" = true ] || fail "$1: $2 of $(report .total)"
}

# wait_until COMMAND...: until it succeeds; gives up after a minute.
wait_until()
{
    local tries=0

    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 6000 ] || return 1
        sleep 0.01
    done
}

finish()
{
    echo "$checks checks, $failures failed"
    [ $failures = 0 ] || exit 1
    exit 0
}
