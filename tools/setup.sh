# SPDX-License-Identifier: MIT
#
# setup: installs the Debian packages that a script needs and lacks. Sourced by
# tests/run and demo/run:
#
#     . tools/setup.sh
#     need_packages "${build_packages[@]}" "${demo_packages[@]}"
#
# Nothing missing: no network, no root. Otherwise apt-get runs as root or
# through sudo without a password; where neither works the exact command is
# printed, and the script ends with 1.

build_packages=(cmake ninja-build pkg-config gcc libc6-dev liburing-dev
                libseccomp-dev libcmocka-dev
                libzstd-dev liblz4-dev libxxhash-dev)

# What the demos run under `ufault run`.
demo_packages=(perl gawk python3 bash coreutils procps liblz4-dev
               libmimalloc-dev libjemalloc-dev)

# The guests of demo/wasm: from C to wasm and back, and what they are made of.
# Without these there is no such demo.
wasm_packages=(wabt wasi-libc clang-14 lld-14 libclang-rt-14-dev-wasm32
               liblzo2-dev libxxhash-dev librust-lua52-sys-dev liblua5.4-dev)

# What the benchmarks run under `ufault run`, and a baseline to compare with,
# which they do without where it cannot be had.
bench_packages=(perl gawk python3 gcc coreutils sqlite3 xz-utils nodejs
                redis-server redis-tools openjdk-17-jre-headless)
bench_optional=(libsigsegv-dev fio)

# What the tests compile with, look at the tree with, and run.
test_packages=(g++ clang libclang-rt-14-dev clang-format binutils groff-base
               perl gawk python3 sqlite3 bash coreutils git xz-utils zstd
               stress-ng jq procps util-linux bc redis-server nodejs
               openjdk-17-jre-headless libmimalloc-dev
               libjemalloc-dev libsqlite3-dev zlib1g-dev liblmdb-dev
               golang-github-bmatsuo-lmdb-go-dev)

package_is_installed()
{
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# as_root COMMAND...: as root, or through sudo if it asks for no password.
as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# apt_get COMMAND...: without questions and, as long as it works, in silence.
apt_get()
{
    local log status=0

    log=$(mktemp)
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 </dev/null || status=$?
    [ $status = 0 ] || cat "$log" >&2
    rm -f "$log"
    return $status
}

# want_packages PACKAGE...: tries to install what is missing; says so if not.
want_packages()
{
    (need_packages "$@" 2>/dev/null) || echo "setup: going on without $*"
}

# need_packages PACKAGE...: returns when all are installed, else exits with 1.
need_packages()
{
    local package missing=()

    if ! command -v dpkg-query >/dev/null; then
        echo "setup: no dpkg here; taking for granted what Debian has in: $*"
        return
    fi
    for package in "$@"; do
        package_is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} != 0 ] || return 0

    echo "setup: installing ${missing[*]}"
    if as_root true 2>/dev/null && apt_get update &&
       apt_get install --no-install-recommends "${missing[@]}"; then
        return 0
    fi
    {
        echo "setup: cannot install what is missing; as root, run"
        echo "    apt-get update && apt-get install --no-install-recommends" \
             "${missing[*]}"
    } >&2
    exit 1
}
