#!/bin/bash
# SPDX-License-Identifier: MIT
#
# man.sh: the man pages format without a warning and agree with the headers:
# every public function is in the NAME of one page and in its SYNOPSIS, that
# page names each errno of the function's comment; every statistic is in
# uf_stats.3, every option of `ufault run` in ufault.1. Then it shows that it
# would see each of these missing.

set -euo pipefail
export LC_ALL=C.UTF-8

# lint DIR: what mandoc, or else groff, has to say of the pages.
lint()
{
    local page

    for page in "$1"/*.[1-9]; do
        if command -v mandoc >/dev/null; then
            mandoc -T lint -W warning "$page" 2>/dev/null | grep -v 'mandoc.db' || true
        else
            groff -mandoc -ww -z -Tutf8 "$page" 2>&1
        fi
    done
}

# functions HEADERS: lines "uf_name -EONE -ETWO ...": each public function with
# the errnos of the comment above it.
functions()
{
    awk '
        /^\/\*/ { inside = 1; errnos = "" }
        inside {
            line = $0
            while (match(line, /-E[A-Z0-9]+/)) {
                errnos = errnos " " substr(line, RSTART, RLENGTH)
                line = substr(line, RSTART + RLENGTH)
            }
            if (/\*\//) inside = 0
            next
        }
        /^[a-z].*[ *]uf_[a-z0-9_]+\(/ && !/typedef|define/ {
            match($0, /uf_[a-z0-9_]+\(/)
            print substr($0, RSTART, RLENGTH - 1) errnos
        }' "$1"/*.h
}

# statistics HEADERS: the names in UF_COUNTERS and UF_GAUGES.
statistics()
{
    sed -nE 's/^ *X\(([a-z0-9_]+),.*/\1/p' "$1/stats.h"
}

# Long options but --help, which all commands have.
run_options()
{
    sed -nE 's/^ *\{"([a-z-]+)", (no|required)_argument.*/\1/p' \
        tools/run_options.c | grep -vx help
}

# check DIR HEADERS: prints what is wrong.
check()
{
    local name errnos errno page

    lint "$1"
    while read -r name errnos; do
        page=$(grep -lE "^\.Nm $name( ,)?\$" "$1"/*.3 || true)
        if [ -z "$page" ] || [ "$(wc -l <<<"$page")" != 1 ]; then
            echo "$name: in the NAME of not exactly one page: $page"
            continue
        fi
        grep -qE "^\.F[no] $name( |\$)" "$page" ||
            echo "$page: no $name in the synopsis"
        for errno in $errnos; do
            grep -qE "^\.It Dv (.* )?\\\\$errno( |\$)" "$page" ||
                echo "$page: $name fails with $errno, not documented"
        done
    done < <(functions "$2")
    for name in $(statistics "$2"); do
        grep -qx "\.It Va $name" "$1/uf_stats.3" ||
            echo "uf_stats.3: no statistic $name"
    done
    for name in $(run_options); do
        grep -qE "^\.It Fl -$name( |\$)" "$1/ufault.1" ||
            echo "ufault.1: no option --$name"
    done
}

if ! command -v mandoc >/dev/null && ! command -v groff >/dev/null; then
    echo "neither mandoc nor groff is installed"
    exit 77
fi

pages=docs/man headers=include/ufault
n=$(functions $headers | wc -l)
[ "$n" -ge 29 ] || { echo "only $n functions found in $headers"; exit 1; }
wrong=$(check $pages $headers)
if [ -n "$wrong" ]; then
    echo "$wrong"
    exit 1
fi

# expect_seen SED-SCRIPT PAGE: a page changed so is found wrong.
expect_seen()
{
    local work

    work=$(mktemp -d)
    cp $pages/* "$work"
    sed -i "$1" "$work/$2"
    if cmp -s "$work/$2" "$pages/$2" || [ -z "$(check "$work" $headers)" ]; then
        echo "man.sh does not see: $1 in $2"
        exit 1
    fi
    rm -rf "$work"
}
expect_seen '/^\.Nm uf_sbrk/d' uf_brk.3
expect_seen '/^\.Fn uf_sbrk/d' uf_brk.3
expect_seen '/^\.It Dv .-EFAULT/d' uf_brk.3
expect_seen '/^\.It Va stale$/d' uf_stats.3
expect_seen '/^\.It Fl -limit/d' ufault.1
expect_seen 's/^\.Sh ERRORS/.Nosuch/' uf_pager.3
