#!/bin/bash
# SPDX-License-Identifier: MIT
#
# symbols.sh HEADERS LIBDIR: libufault.so and libufault.a define for their users
# exactly the functions that HEADERS/*.h declare, all named uf_*, in the shared
# one all with the version UFAULT_0. What renames libc's functions to uf_posix_*
# agrees: posix.syms, posix_names.h, libufault_wrap.a, and uf_posix(3).

set -euo pipefail
export LC_ALL=C

headers=$1 libdir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A function is a name before "("; comments go first.
for header in "$headers"/*.h; do
    gcc -fpreprocessed -dD -E -P "$header" 2>/dev/null
done | grep -oE '\buf_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >"$work/declared"
[ -s "$work/declared" ] || { echo "no function found in $headers"; exit 1; }

same()
{
    if ! diff "$work/declared" "$work/defined" >"$work/diff"; then
        echo "$1: < is declared only, > is defined only:"
        cat "$work/diff"
        exit 1
    fi
}

# The name of the version itself is listed as an absolute symbol.
nm -D --defined-only "$libdir/libufault.so" | awk '$2 != "A" { print $3 }' \
    >"$work/versioned"
sed 's/@@UFAULT_0$//' "$work/versioned" | sort >"$work/defined"
same libufault.so
if grep -v '@@UFAULT_0$' "$work/versioned"; then
    echo "libufault.so: without the version UFAULT_0"
    exit 1
fi

nm -g --defined-only "$libdir/libufault.a" | awk 'NF == 3 { print $3 }' |
    sort >"$work/defined"
same libufault.a

# One list of names, four places.
grep '^[a-z]' src/posix/posix.syms | sort >"$work/renamed"
grep -oE '^uf_posix_[a-z0-9]+$' "$work/declared" |
    sed 's/^uf_posix_\(.*\)/\1 uf_posix_\1/' | grep -v '^space ' >"$work/defined"
# agree WHAT: $work/defined is the list.
agree()
{
    if ! diff "$work/renamed" "$work/defined" >"$work/diff"; then
        echo "posix.syms (<) and $1 (>) do not agree:"
        cat "$work/diff"
        exit 1
    fi
}
agree posix.h
sed -nE 's/^#define ([a-z0-9]+) +(uf_posix_[a-z0-9]+)$/\1 \2/p' \
    "$headers/posix_names.h" | sort >"$work/defined"
agree posix_names.h
grep -oE -- '-D[a-z0-9]+=uf_posix_[a-z0-9]+' docs/man/uf_posix.3 |
    sed 's/^-D//; s/=/ /' | sort >"$work/defined"
agree "the -D flags of uf_posix(3)"
grep -oE -- '--wrap=[a-z0-9]+' docs/man/uf_posix.3 |
    sed 's/.*=\(.*\)/\1 uf_posix_\1/' | sort >"$work/defined"
agree "the --wrap flags of uf_posix(3)"
nm -g --defined-only "$libdir/libufault_wrap.a" 2>/dev/null |
    sed -n 's/.* T __wrap_\(.*\)/\1 uf_posix_\1/p' | sort >"$work/defined"
agree libufault_wrap.a

soname=$(readelf -d "$libdir/libufault.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$soname" = libufault.so.0 ] || { echo "SONAME is $soname"; exit 1; }
needed=$(readelf -d "$libdir/libufault.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
         grep -vE '^(libc\.so|ld-linux|liburing\.so|lib(zstd|lz4|xxhash)\.so)' || true)
[ -z "$needed" ] || { echo "libufault.so needs more than it may: $needed"; exit 1; }
