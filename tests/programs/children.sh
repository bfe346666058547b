#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs that make processes: each child's heap is its own and right, served
# when children are followed, left to the kernel when they are not.

. "$(dirname "$0")/lib.bash"

children=$programs/prog_children

# Of the last report: processes that began as a fork / by exec, and served.
forked='[.processes[] | select(.forked and .served)] | length'
execed='[.processes[] | select((.forked | not) and .served)] | length'

same fork "$children" fork
reported 'the child was served' "($forked) == 1"
reported 'its faults are its own' \
    '[.processes[] | select(.forked) | .faults > 10] | all'
same 'children of children' "$children" deep
reported 'all were served' "($forked) == 4"
same 'fork beside allocating threads' "$children" busy
reported 'all were served' "($forked) == 20"
same 'fork by the bare system call' "$children" bare
same vfork "$children" vfork
reported 'one process, with the break of both' '.processes_served == 1'
same posix_spawn "$children" spawn
reported 'the spawned was served' "($execed) == 2"
same 'exec in the same process' "$children" exec
reported 'before and after' \
    '.processes_served == 2 and .processes[0].pid == .processes[1].pid'
same 'main leaves by pthread_exit' "$children" main-exit

run_options=(--no-follow)
for what in fork deep busy bare vfork spawn exec; do
    same "not followed: $what" "$children" $what
    reported 'the first alone' '.processes_served == 1'
done
# `_` is the path of what bash ran.
same 'environment' env -u _
same 'environment of children' bash -c 'env | grep -v ^_='
LD_PRELOAD= same 'environment, LD_PRELOAD empty' bash -c 'env | grep -v ^_='
LD_PRELOAD=libm.so.6 same 'environment, LD_PRELOAD set' \
    bash -c 'env | grep -v ^_='
run_options=()
LD_PRELOAD=libm.so.6 same 'followed, LD_PRELOAD set' grep -c libm /proc/self/maps

# Static and set-uid programs as children are left to the kernel.
cat >leaf.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) { long n = 0; for (int i = 0; i < 1000; i++) {
    char *p = malloc(5000); memset(p, 1, 5000); n += p[4999]; }
    printf("%ld\n", n); return 0; }
END
gcc -O1 -static -o static leaf.c
same 'a static child' sh -c './static; echo $?'
if [ "$(id -u)" = 0 ]; then
    gcc -O1 -o setuid leaf.c
    chown nobody setuid && chmod 4755 setuid && chmod 755 .
    same 'a set-uid child' sh -c './setuid; echo $?'
    same 'a child of another user' perl -e '$< = $> = 65534;
        exec "perl", "-e", "\@a = (1 .. 50000); print \"\$> \$#a\""'
    same 'a program that changes its user' perl -e '
        $< = $> = 65534; my @a = (1 .. 100000); print "$> ", scalar(@a), "\n"'
fi

# A daemon outlives the program and ufault, and its breaks are still answered.
same daemon "$children" daemon "$work/daemon.out"
check 'the daemon went on' wait_until grep -qs 'daemon 0' daemon.out

finish
