#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bare-calls.sh: the library asks the kernel for memory through base/sys.h
# alone. A call of libc's mmap and the like would come back to us under
# `ufault run --mmap`, while we hold a lock. Then it shows that it would see one.

set -euo pipefail

calls='mmap|munmap|mprotect|madvise|mincore|msync|munlock|mremap|mlock2?'

# bare TOP: prints every call that is not sys->..., comments aside.
bare()
{
    find "$1/src" -name '*.c' ! -path '*/base/sys.c' -print0 |
        xargs -0 grep -nE "(^|[^a-zA-Z0-9_>.])($calls)\(" |
        grep -vE ':[0-9]+:.*(/\*|^[^:]*:[0-9]+: \*)' |
        grep -vE ':[0-9]+: +\*' || true
}

found=$(bare .)
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
mkdir -p "$top/src/mm"
echo '    if (madvise(p, len, 4) < 0)' >"$top/src/mm/x.c"
[ -n "$(bare "$top")" ]
