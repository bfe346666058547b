#!/bin/bash
# SPDX-License-Identifier: MIT
#
# headers.sh: each public header compiles alone, as strict C11 and as C++11,
# with both compilers and every warning.

set -euo pipefail

for header in include/ufault/*.h; do
    for compiler in gcc clang; do
        $compiler -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only \
            -Iinclude -x c "$header"
    done
    for compiler in g++ clang++; do
        $compiler -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only \
            -Iinclude -x c++ "$header"
    done
done
