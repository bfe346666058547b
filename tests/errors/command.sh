#!/bin/bash
# SPDX-License-Identifier: MIT
#
# command.sh UFAULT: the command line of `ufault` itself. What it does not
# understand ends with 2 and a message on stderr that names it.

set -euo pipefail

ufault=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect CODE STREAM PATTERN ARGS...: runs ufault; the other stream is empty.
expect()
{
    local code=$1 stream=$2 pattern=$3 other=out got=0

    shift 3
    [ "$stream" = err ] || other=err
    "$ufault" "$@" >"$work/out" 2>"$work/err" || got=$?
    if [ $got != "$code" ] || [ -s "$work/$other" ] ||
       ! grep -qE -- "$pattern" "$work/$stream"; then
        echo "ufault $*: exit code $got, expected $code and $pattern on $stream"
        head "$work/out" "$work/err"
        exit 1
    fi
}

expect 2 err '^usage: ufault COMMAND'
expect 2 err '"nonsense"' nonsense
expect 2 err '"--nonsense"' --nonsense
expect 2 err '""' ''
expect 0 out '^usage: ufault COMMAND' --help
expect 0 out '^ufault [0-9]+\.[0-9]+\.[0-9]+$' --version
