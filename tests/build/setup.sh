#!/bin/bash
# SPDX-License-Identifier: MIT
#
# setup.sh: what tools/setup.sh does on machines other than this one, played
# with fake commands: nothing missing, root, sudo, neither, a failing mirror.

set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fake NAME BODY: a command that records how it was called.
fake()
{
    printf '#!/bin/bash\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$work" "$2" \
        >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# play UID INSTALLED SUDO-EXIT APT-EXIT: output in out, calls in calls.
play()
{
    rm -rf "${work:?}/bin" "$work/calls"
    mkdir "$work/bin"
    touch "$work/calls"
    fake dpkg-query "case ' $2 ' in *\" \${@: -1} \"*) echo -n installed ;; esac"
    fake id "echo $1"
    fake sudo "[ $3 = 0 ] || exit $3; shift; exec \"\$@\""
    fake apt-get "exit $4"
    PATH=$work/bin:$PATH bash -c \
        'set -euo pipefail; . tools/setup.sh; need_packages one two; echo ready' \
        >"$work/out" 2>&1
}

expect() # FILE PATTERN
{
    grep -qE -- "$2" "$work/$1" || { echo "expected $2 in $1:"; cat "$work/$1"
                                     exit 1; }
}
refuse() # FILE PATTERN
{
    ! grep -qE -- "$2" "$work/$1" || { echo "did not expect $2 in $1:"
                                       cat "$work/$1"; exit 1; }
}

# Nothing missing: neither apt-get nor sudo is called.
play 0 "one two" 0 0
expect out ready
refuse calls 'apt-get|sudo'

# Root: an update, then what is missing and nothing else.
play 0 "two" 0 0
expect out ready
expect calls '^apt-get .*update$'
expect calls '^apt-get .*install --no-install-recommends one$'
refuse calls sudo

# Not root, sudo without a password.
play 1000 "" 0 0
expect out ready
expect calls '^sudo -n .*apt-get .*install .*one two$'

# Not root, sudo refuses: the exact command, and no way on.
! play 1000 "one" 1 0
expect out 'apt-get update && apt-get install --no-install-recommends two$'
refuse out ready
refuse calls '^apt-get'

# Root, but apt-get fails.
! play 0 "" 0 100
expect out 'apt-get install --no-install-recommends one two$'
refuse out ready
