#!/bin/bash
# SPDX-License-Identifier: MIT
#
# errno-coverage.sh [HEADERS TESTS]: every -ERRNO that a public header documents
# for a function has a test that says it provokes it, in a comment
#
#     provokes: FUNCTION -ERRNO [-ERRNO ...]
#
# and no test says so of an errno that is not documented. The documentation of
# a function is the comment right above its prototype (several prototypes may
# share one); "as uf_x" and "what uf_x returns" take over what uf_x documents.
# Without arguments it also shows that it can fail.

set -euo pipefail

# documented HEADERS: "FUNCTION -ERRNO" lines.
documented()
{
    cat "$1"/*.h | awk '
        # A comment, then prototypes up to an empty line or the next comment.
        /^\/\*/ { text = ""; inside = 1 }
        # uf_posix_* set errno: their lists have no minus. A line "as uf_x" is
        # covered there.
        inside && / as uf_/ && /^ \*   E/ { next }
        inside && match($0, /^ \*   E[A-Z0-9]+(, E[A-Z0-9]+)*  /) {
            list = substr($0, 1, RLENGTH)
            gsub(/E[A-Z0-9]+/, "-&", list)
            $0 = list substr($0, RLENGTH + 1)
        }
        inside { text = text " " $0 }
        inside && /\*\/ *$/ { inside = 0; next }
        inside { next }
        /^$/ { text = ""; next }
        text != "" && match($0, /uf_[a-z0-9_]+\(/) && !/^ / {
            name = substr($0, RSTART, RLENGTH - 1)
            rest = text
            while (match(rest, /-E[A-Z0-9]+/)) {
                print name, substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
            }
            rest = text
            gsub(/[*\n]/, " ", rest)
            while (match(rest, /([Aa]s +uf_[a-z0-9_]+ with|what +uf_[a-z0-9_]+ +returns)/)) {
                part = substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
                match(part, /uf_[a-z0-9_]+/)
                print name, "=" substr(part, RSTART, RLENGTH)
            }
        }' | sort -u | awk '
        { of[$1] = of[$1] " " $2 }
        END {
            for (name in of) {
                n = split(of[name], words, " ")
                for (i = 1; i <= n; i++) {
                    if (words[i] !~ /^=/) {
                        print name, words[i]
                        continue
                    }
                    m = split(of[substr(words[i], 2)], more, " ")
                    for (k = 1; k <= m; k++)
                        if (more[k] !~ /^=/)
                            print name, more[k]
                }
            }
        }' | sort -u
}

# claims FILE: "FUNCTION -ERRNO" lines of its comments.
claims()
{
    sed -nE 's/.*provokes: +(uf_[a-z0-9_]+ [^*]*).*/\1/p' "$1" |
        awk '{ for (i = 2; i <= NF; i++) print $1, $i }' | sort -u
}

# provoked TESTS: the claims of all files whose code has both words in it.
provoked()
{
    local file code name errno

    grep -rlZ --include='*.c' 'provokes:' "$1" | while IFS= read -r -d '' file; do
        code=$(grep -v 'provokes:' "$file")
        claims "$file" | while read -r name errno; do
            if grep -q -- "$name(" <<<"$code" &&
                    grep -qw -- "${errno#-}" <<<"$code"; then
                echo "$name $errno"
            else
                echo "$file: nothing in it tests $name $errno" >&2
            fi
        done
    done | sort -u
}

# compare HEADERS TESTS: prints what is missing on either side.
compare()
{
    comm -23 <(documented "$1") <(provoked "$2") |
        sed 's/$/ is documented, but no test says that it provokes it/'
    comm -13 <(documented "$1") <(provoked "$2") |
        sed 's/$/ is provoked by a test, but not documented/'
}

headers=${1-include/ufault} tests=${2-tests}
if [ "$(documented "$headers" | wc -l)" -lt 10 ]; then
    echo "$headers: hardly an errno is found; has the style changed?"
    exit 1
fi
wrong=$(compare "$headers" "$tests")
if [ -n "$wrong" ]; then
    echo "$wrong"
    exit 1
fi
[ $# = 0 ] || exit 0

# It can fail: on a header with one errno more, and with one less.
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
cp "$headers"/*.h "$top"
sed -i 's/-EEXIST /-EXDEV /' "$top/ufault.h"
for line in "uf_space_create -EXDEV is documented, but no test" \
            "uf_space_create -EEXIST is provoked by a test, but not"; do
    grep -q "^$line" <<<"$(compare "$top" "$tests")" || {
        echo "errno-coverage.sh does not see: $line"
        exit 1
    }
done
