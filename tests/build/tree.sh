#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tree.sh: what every file owes. One SPDX line; nothing left "to do"; listed in a
# CMakeLists.txt; and no page names a file that is not there.

set -euo pipefail
shopt -s globstar nullglob

failures=0
fail()
{
    echo "$@"
    failures=$((failures + 1))
}

sources=({include,src,tools,demo,bench,tests}/**/*.[ch])
scripts=({src,tools,demo,bench,tests,cmake,.ci}/**/*.{sh,awk,map,cmake}
         {src,tools,demo,bench,tests}/**/CMakeLists.txt
         CMakeLists.txt tests/run demo/run .ci/run)

for file in "${sources[@]}" "${scripts[@]}"; do
    n=$(head -n 3 "$file" | grep -c 'SPDX-License-Identifier: MIT' || true)
    [ "$n" = 1 ] || fail "$file: $n SPDX lines at its head"
done

# Spelled so that this file does not find itself.
if grep -nwE 'TO''DO|FIX''ME|X''XX' "${sources[@]}" "${scripts[@]}"; then
    fail "unfinished, say the lines above"
fi

# A C file that no list names is never compiled, and nobody would notice.
for file in {src,tools,demo,bench}/**/*.c; do
    folder=${file%%/*} path=${file#*/}
    grep -qxE " *$path\)?| *add_(demo|bench)\(${path%.c}\)" \
        "$folder/CMakeLists.txt" || fail "$file: not in $folder/CMakeLists.txt"
done
for file in tests/*/*.c; do
    path=${file#tests/} folder=$(basename "$(dirname "$file")")
    name=$(basename "$file" .c)
    name=${name#test_} name=${name#prog_}
    grep -qE "^ *$path\)?$|(ufault_${folder}_test|add_program)\($name\b" \
        tests/CMakeLists.txt || fail "$file: not in tests/CMakeLists.txt"
done

# Paths in the pages, relative to the top or, in src/README.md, to src; not those
# of addresses in the web.
for page in README.md CONTRIBUTING.md src/README.md docs/*.md; do
    [ -f "$page" ] || continue
    while read -r path; do
        [ -e "$path" ] || [ -e "$(dirname "$page")/$path" ] ||
            fail "$page: there is no $path"
    done < <(sed 's|https*://[^ )]*||g' "$page" |
                 grep -oE '\b(src|tests|include|tools|demo|bench|docs)/[A-Za-z0-9_./-]*[A-Za-z0-9_]' |
                 sort -u)
done

[ $failures = 0 ]
