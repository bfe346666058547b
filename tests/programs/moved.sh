#!/bin/bash
# SPDX-License-Identifier: MIT
#
# moved.sh BUILD: real programs move over to uf_posix_*, without a change to
# their code, in each of the three ways:
#
#     -D          the LMDB of Debian's golang-github-bmatsuo-lmdb-go-dev, from
#                 its C source; and the same under _FILE_OFFSET_BITS=64, with
#                 ufault/posix_names.h
#     objcopy     Debian's libjemalloc.a: a program's whole malloc
#     --wrap      a program with Debian's libsqlite3.a; with liblmdb.a, and
#                 libufault.a as well
#
# Each is also built as it is. Both print the same, and the moved one's memory
# was in the space, by the space's own count.

set -euo pipefail

build=$(cd "$1" && pwd)
src=$PWD
lmdb=/usr/share/gocode/src/github.com/bmatsuo/lmdb-go/lmdb
archives=$(dirname "$(gcc -print-file-name=libsqlite3.a)")
syms=$src/src/posix/posix.syms
for file in $lmdb/mdb.c "$archives"/lib{sqlite3,lmdb,jemalloc}.a; do
    [ -f "$file" ] || { echo "$file is not installed"; exit 77; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

names=$(sed -n '/^[a-z]/s/ .*//p' "$syms")
defines=$(sed -n '/^[a-z]/s/\(.*\) \(.*\)/-D\1=\2/p' "$syms")
wraps=$(sed -n '/^[a-z]/s/\(.*\) .*/-Wl,--wrap=\1/p' "$syms")
ufault=(-L"$build/lib" -lufault "-Wl,-rpath,$build/lib")
cflags=(-std=gnu11 -O1 -D_GNU_SOURCE -I"$src/include")
programs=$src/tests/programs

cc "${cflags[@]}" -c "$programs/moved_proof.c"

# run NAME: in a folder of its own; output in NAME.out, proof in NAME.proof.
run()
{
    mkdir -p "$1.d"
    if ! (cd "$1.d" && PROOF_FD=9 timeout -k 5 60 "../$1" file \
          >"../$1.out" 9>"../$1.proof"); then
        echo "$1 failed:"
        cat "$1.out"
        exit 1
    fi
}

# none_left NAME...: these programs and objects ask libc for none of the family.
none_left()
{
    local undefined

    undefined=$(nm -u "$1" 2>/dev/null | sed -n 's/.* U \([a-z0-9]*\).*/\1/p')
    if grep -qxF "$names" <<<"$undefined"; then
        echo "$1 still calls: $(grep -xF "$names" <<<"$undefined" | xargs)"
        exit 1
    fi
}

# same PLAIN MOVED FILES: the same output; mmaps, faults, and FILES files mapped
# at least.
same()
{
    local mmaps faults files

    cmp "$1.out" "$2.out"
    [ -s "$2.out" ]
    none_left "$2"
    read -r _ mmaps _ faults _ files <"$2.proof"
    echo "$2: $(cat "$2.proof")"
    [ "$mmaps" -gt 0 ] && [ "$faults" -gt 0 ] && [ "$files" -ge "$3" ]
}

# ---- -D ---------------------------------------------------------------------

lmdb_sources=("$programs/moved_lmdb.c" $lmdb/mdb.c $lmdb/midl.c)
lmdb_flags=("${cflags[@]}" -w -I$lmdb)

gcc "${lmdb_flags[@]}" -o lmdb "${lmdb_sources[@]}" -lpthread
# shellcheck disable=SC2086
gcc "${lmdb_flags[@]}" $defines -o lmdb-defined "${lmdb_sources[@]}" \
    moved_proof.o "${ufault[@]}" -lpthread
gcc "${lmdb_flags[@]}" -D_FILE_OFFSET_BITS=64 -include ufault/posix_names.h \
    -o lmdb-included "${lmdb_sources[@]}" moved_proof.o "${ufault[@]}" -lpthread
for name in lmdb lmdb-defined lmdb-included; do
    run $name
done
same lmdb lmdb-defined 1
same lmdb lmdb-included 1

# ---- objcopy ----------------------------------------------------------------

objcopy --redefine-syms="$syms" "$archives/libjemalloc.a" libmoved.a
gcc "${cflags[@]}" -o malloc "$programs/moved_malloc.c" \
    "$archives/libjemalloc.a" -lm -ldl -lpthread
gcc "${cflags[@]}" -o malloc-renamed "$programs/moved_malloc.c" \
    moved_proof.o libmoved.a -Wl,-u,uf_posix_early \
    "$build/lib/libufault_wrap.a" "${ufault[@]}" -lm -ldl -lpthread
run malloc
run malloc-renamed
same malloc malloc-renamed 0

# ---- --wrap -----------------------------------------------------------------

sqlite=("$programs/moved_sqlite.c" "$archives/libsqlite3.a" -lm -ldl -lz
        -lpthread)
gcc "${cflags[@]}" -o sqlite "${sqlite[@]}"
# shellcheck disable=SC2086
gcc "${cflags[@]}" -o sqlite-wrapped moved_proof.o "${sqlite[@]}" $wraps \
    "$build/lib/libufault_wrap.a" "${ufault[@]}"
run sqlite
run sqlite-wrapped
same sqlite sqlite-wrapped 1

# libufault.a is in reach of --wrap, and must not come back to itself.
private=$(sed -n 's/^Libs.private: *//p' "$build/ufault.pc")
# shellcheck disable=SC2086
gcc "${cflags[@]}" -I"$lmdb" -o lmdb-wrapped moved_proof.o \
    "$programs/moved_lmdb.c" "$archives/liblmdb.a" $wraps \
    "$build/lib/libufault_wrap.a" "$build/lib/libufault.a" $private -lpthread
run lmdb-wrapped
same lmdb lmdb-wrapped 1
