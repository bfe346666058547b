#!/bin/bash
# SPDX-License-Identifier: MIT
#
# embedding.sh: the code in docs/embedding.md is demo/embedding.c, which is
# compiled and run. Then it shows that it would see a difference.

set -euo pipefail

# quoted PAGE: its first block of C.
quoted()
{
    awk '/^```c$/ { on = 1; next } /^```$/ && on { exit } on' "$1"
}

if ! diff demo/embedding.c <(quoted docs/embedding.md); then
    echo "docs/embedding.md does not quote demo/embedding.c as it is"
    exit 1
fi
! diff -q demo/embedding.c \
    <(quoted docs/embedding.md | sed 's/uf_pool_put/uf_pool_get/') >/dev/null
