#!/bin/bash
# SPDX-License-Identifier: MIT
#
# layers.sh [TOP]: every #include "LAYER/..." in src/ points down, as the table
# says. Without TOP it also shows that it can fail, on made-up trees.
#
# ufault/*.h, the public headers, may be included everywhere but in base, which
# knows nothing of ours. tools/ are above everything; demo/ sees ufault/ alone.

set -euo pipefail

declare -A allowed=(
    [base]=""
    [trace]="base ufault"
    [host]="base ufault"
    [store]="trace base ufault"
    [pager]="store trace base ufault"
    [mm]="pager host trace base ufault"
    [fault]="mm pager host trace base ufault"
    [snapshot]="fault mm pager host trace base ufault"
    [image]="fault mm pager store host trace base ufault"
    [run]="fault mm pager store host trace base ufault"
    [posix]="fault mm pager store host trace base ufault"
    [top]="posix run image snapshot fault mm pager store host trace base ufault"
    [demo]="ufault"
)

# check_file FILE LAYER: prints each include that is not allowed.
check_file()
{
    local included into

    while read -r included; do
        # A demo of several files includes what lies beside them.
        [ "$2" = demo ] && [ -e "$(dirname "$1")/$included" ] && continue
        into=${included%%/*}
        [ "$into" != "$included" ] || into=top # a file of src/ itself
        case " $2 ${allowed[$2]} " in
        *" $into "*) ;;
        *) echo "$1: $2 may not include \"$included\"" ;;
        esac
    done < <(sed -nE 's/^ *# *include *"([^"]+)".*/\1/p' "$1")
}

# check_tree TOP: prints every violation in TOP.
check_tree()
{
    local file layer

    while IFS= read -r -d '' file; do
        layer=${file#"$1"/src/}
        if [[ $layer != */* ]]; then
            layer=top
        else
            layer=${layer%%/*}
        fi
        if [ -z "${allowed[$layer]+known}" ]; then
            echo "$file: no layer is called $layer"
        else
            check_file "$file" "$layer"
        fi
    done < <(find "$1/src" -name '*.[ch]' -print0)
    while IFS= read -r -d '' file; do
        check_file "$file" demo
    done < <(find "$1/demo" -name '*.[ch]' -print0)
}

# expect_caught FILE TEXT: a tree with that one file is found wrong.
expect_caught()
{
    local top

    top=$(mktemp -d)
    mkdir -p "$top/src" "$top/demo" "$(dirname "$top/$1")"
    echo "$2" >"$top/$1"
    if [ -z "$(check_tree "$top")" ]; then
        echo "layers.sh does not see $2 in $1"
        exit 1
    fi
    rm -rf "$top"
}

top=${1-.}
violations=$(check_tree "$top")
if [ -n "$violations" ]; then
    echo "$violations"
    exit 1
fi
[ $# = 0 ] || exit 0

expect_caught src/base/x.c '#include "trace/counters.h"'
expect_caught src/base/x.c '#include "ufault/ufault.h"'
expect_caught src/pager/x.h '#include "mm/vma.h"'
expect_caught src/mm/x.c '#  include "fault/engine.h" /* why not */'
expect_caught src/fault/x.c '#include "api.h"'
expect_caught src/host/x.c '#include "trace/counters.h"'
expect_caught src/fault/x.c '#include "posix/parts.h"'
expect_caught src/posix/x.c '#include "run/wire.h"'
expect_caught src/new/x.c '#include "base/range.h"'
expect_caught demo/x.c '#include "base/range.h"'
