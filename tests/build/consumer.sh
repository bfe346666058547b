#!/bin/bash
# SPDX-License-Identifier: MIT
#
# consumer.sh BUILD: installs BUILD under a path with a space in it and builds
# tests/build/consumer against that, through find_package and pkg-config,
# shared and static; runs each. A version that is not there is refused. The
# installed `ufault run` finds its preload library.

set -euo pipefail

build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix="$work/a prefix"
project="$work/a project"

cmake --install "$build" --prefix "$prefix" >"$work/log"
cp -r tests/build/consumer "$project"

"$prefix/bin/ufault" --version
[ -f "$prefix/include/ufault/ufault.h" ]
for page in docs/man/*.[1-9]; do
    [ -f "$prefix/share/man/man${page##*.}/$(basename "$page")" ]
done

# The dynamic loader preloads nothing from a path with a space: another prefix.
cmake --install "$build" --prefix "$work/plain" >"$work/log"
if "$work/plain/bin/ufault" probe >/dev/null; then
    "$work/plain/bin/ufault" run --report "$work/report" -- true
    grep -qE '^processes served +1\b' "$work/report"
fi

# configure NAME VERSION: find_package(ufault VERSION) in a build of its own.
configure()
{
    cmake -S "$project" -B "$work/$1" -G Ninja -DWANTED="$2" \
        -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1
}

configure cmake "" || { cat "$work/log"; exit 1; }
cmake --build "$work/cmake" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/cmake/shared"
"$work/cmake/static"
"$work/cmake/wrapped"
[ -f "$prefix/share/ufault/posix.syms" ]
if configure refused 99; then
    echo "find_package(ufault 99) was content with less"
    exit 1
fi
grep -q 'version' "$work/log"

pc=$(find "$prefix" -name ufault.pc)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}
version=$(pkg-config --modversion ufault)
[ "$version" = "$("$prefix/bin/ufault" --version | cut -d' ' -f2)" ]
if pkg-config --exists 'ufault >= 99'; then
    echo "pkg-config found a version 99"
    exit 1
fi

# pkg-config quotes its answer for a shell: eval reads it as one would.
# compile NAME CFLAGS LIBS-OPTIONS
compile()
{
    eval "gcc $2 -DEXPECTED='\"$version\"' -o '$work/$1' '$project/main.c'" \
        "$(pkg-config $3 --cflags --libs ufault)"
}
compile with-shared "" ""
LD_LIBRARY_PATH=$libdir "$work/with-shared"
compile with-static -static --static
"$work/with-static"
