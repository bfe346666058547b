#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `ufault run --mmap`: libc's calls on memory answer as natively, in one thread
# and in many, in children, in signal handlers and at limits; and what cannot be
# served is refused, or the kernel's.

. "$(dirname "$0")/lib.bash"

maps=$programs/prog_maps
storm=$programs/prog_storm

# Sums that hold of every report with mappings.
sound()
{
    reported "$1: faults all answered" '[.mapped, .processes[].mapped // .mapped]
        | all(.faults == .installed + .present + .stale + .refused + .folded
                         + .pending)'
    reported "$1: none refused" '.mapped.refused == 0'
}

# One page a fault: which pages are resident is then as natively, too.
run_options=(--mmap --window 1)
same calls "$maps" calls && sound calls
reported 'calls were served' '.mapped | .mmaps > 5 and .munmaps > 5 and
    .mprotects > 2 and .mremaps > 10 and .madvises > 4 and .faults > 500'
same 'fixed places' "$maps" fixed && sound fixed
reported 'in the region' '.mapped | .mmaps > 5 and .faults > 5'
same 'children' "$maps" fork && sound children
reported 'children were served' '.processes_mapped > 7 and
    ([.processes[] | select(.forked) | .mapped.faults > 50] | all)'

# System calls past libc, on addresses of the region, are led here by the filter.
same 'bare calls' "$programs/prog_maps_bare" calls && sound 'bare calls'
reported 'they were served' '.mapped | .mmaps > 5 and .munmaps > 5 and
    .mprotects > 2 and .mremaps > 10 and .madvises > 4 and .faults > 500'
same 'bare calls: fixed places' "$programs/prog_maps_bare" fixed
reported 'in the region' '.mapped | .mmaps > 5 and .munmaps > 1'
same 'bare calls: children' "$programs/prog_maps_bare" fork
run_options=(--mmap --no-follow)
same 'children left alone' "$storm" storm 400
run_options=(--mmap --no-follow --window 1)
same 'children left alone: calls' "$maps" fork
reported 'one process' '.processes_mapped == 1'

run_options=(--mmap)
same 'threads' "$storm" threads 2000 && sound threads
reported 'threads were served' '.mapped | .mmaps > 1000 and .mremaps > 200 and
    .mprotects > 200 and .faults > 2000'
same 'forks beside threads' "$storm" storm 1000 && sound storm
reported 'all children were served' '.processes_mapped == 31'
same 'forks beside threads inside malloc' "$storm" mallocs 150
reported 'all children were served' '.processes_mapped == 31'
same 'signal handlers that map' "$storm" signals 200 && sound signals
run_options=()
same 'the same on the heap alone' "$storm" mallocs 150

# Thread stacks, when asked for; our own threads' are not among them.
run_options=(--stacks)
same 'stacks: threads' "$storm" threads 300 && sound stacks
reported 'four more mappings' '.mapped.mmaps > 100'
same 'stacks: forks beside threads' "$storm" storm 300
reported 'all children were served' '.processes_mapped == 31'
same 'stacks: forks inside malloc' "$storm" mallocs 50
same 'stacks: signals' "$storm" signals 50

# Limits are those of the kernel.
run_options=(--mmap)
same 'more than there is' "$maps" large
reported 'that was left to the kernel' '.mapped.left_to_kernel > 0'
same 'a data limit' "$maps" limits
reported 'reached by what was served' '.mapped.mmaps > 40'
run_options=(--mmap-size 8M)
same 'a small region' "$storm" threads 500
reported 'what does not fit is the kernel'\''s' \
    '.mapped | .left_to_kernel > 0 and .mmaps > 0'
run_options=(--mmap)
same 'children with a limited address space' \
    bash -c 'ulimit -v 4000000; "$1" calls | tail -1; exec "$1" large' - "$maps"
reported 'are not served' '[.processes[] | select(.program == "prog_maps") |
    .mapped == null and (.mapped_error | test("ulimit -v"))] | all'
(ulimit -v 4000000 && "$ufault" run --mmap true) 2>err
check 'a limited address space is refused' test $? = 125
check 'and said why' grep -q 'ulimit -v' err
"$ufault" run --mmap true 2>err
check 'the text tells of mappings' grep -q '^mmap calls   ' err
for size in 0 1 2T x; do
    "$ufault" run --mmap-size $size true 2>err
    check "--mmap-size $size is refused" test $? = 2
done

# Nothing of it without the option.
run_options=()
same 'not asked for' "$maps" fixed
reported 'not served' 'has("mapped") | not'

finish
