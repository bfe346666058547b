#!/bin/bash
# SPDX-License-Identifier: MIT
#
# format.sh: every C file is as .clang-format (version 14) lays it out. Prints
# the files that are not; clang-format -i FILE mends them.

set -euo pipefail

if ! command -v clang-format >/dev/null; then
    echo "clang-format is not installed"
    exit 77
fi

wrong=$(find include src tools demo bench tests -name '*.[ch]' -print0 |
        xargs -0 clang-format --dry-run 2>&1 |
        sed -n 's/^\([^ :]*\.[ch]\):[0-9].*/    \1/p' | sort -u)
if [ -n "$wrong" ]; then
    printf 'clang-format -i would change:\n%s\n' "$wrong"
    exit 1
fi
