#!/bin/bash
# SPDX-License-Identifier: MIT
#
# How programs end, and how ufault ends with them: exit codes, signals, stops;
# what it refuses to run, and what it then says.

. "$(dirname "$0")/lib.bash"

for code in 0 1 2 77 125 126 127 255; do
    same "exit code $code" sh -c "exit $code"
done

# By signal: seen from the parent, which is a shell here.
for signal in KILL SEGV TERM HUP USR1 ABRT INT; do
    checks=$((checks + 1))
    "$ufault" run --json --report report.json -- \
        perl -e '@a = (1 .. 300000); kill shift, $$; sleep 60' $signal 2>/dev/null
    status=$?
    [ $status = $((128 + $(kill -l $signal))) ] ||
        fail "ended by $signal: $status"
    reported "report of what $signal ended" \
        ".signal == $(kill -l $signal) and .total.faults > 20"
done 2>/dev/null

# Signals sent to ufault reach the program; it alone decides what they mean.
for signal in TERM HUP USR1 USR2; do
    rm -f ready
    "$ufault" run --quiet -- perl -e '$SIG{$ARGV[0]} = sub { print "got @_\n"; exit 9 };
        open my $f, ">", "ready"; close $f; sleep 1 while 1' $signal >got &
    pid=$!
    wait_until test -e ready || fail "$signal: not started"
    kill -$signal $pid
    wait $pid
    check "$signal is passed on" test "$? $(cat got)" = "9 got $signal"
done

# A program that is stopped by SIGSTOP and continued by its child goes on.
same 'stopped and continued' bash -c \
    '(until grep -q "^State:.T" /proc/$$/status; do :; done; kill -CONT $$) &
     kill -STOP $$; wait; echo on'

# refused STATUS PATTERN ARGS...: ufault run ends so and says so, in few words.
refused()
{
    local status=0 expected=$1 pattern=$2

    shift 2
    checks=$((checks + 1))
    timeout -k 5 $patience "$ufault" run "$@" >refused.out 2>refused.err \
        </dev/null || status=$?
    [ $status = "$expected" ] || fail "run $*: status $status, not $expected"
    grep -qE -- "$pattern" refused.err ||
        fail "run $*: does not say \"$pattern\" but: $(cat refused.err)"
    [ ! -s refused.out ] || fail "run $*: something on stdout"
}

refused 2 'no program'
refused 2 '--window "0": expected .* 1 to 512' --window 0 true
refused 2 '--window "513": expected' --window 513 true
refused 2 '--window "x": expected' --window x true
refused 2 '--limit "12Q": expected a size' --limit 12Q true
refused 2 '--limit "": expected a size' --limit '' true
refused 2 '--limit "99999999999T": expected' --limit 99999999999T true
refused 2 '--cpu "9999": expected a CPU number' --cpu 9999 true
refused 2 'unrecognized option' --nonsense true
refused 125 '--report "/nonexistent/f": No such file' --report /nonexistent/f true
refused 127 'nothing-of-this-name: No such file' nothing-of-this-name
refused 127 './none: No such file' ./none
echo 'exit 3' >plain; refused 126 'plain: Permission denied' ./plain
refused 126 'Is a directory' .
chmod +x plain
same 'a file of no known kind' sh -c ./plain

echo 'int main(void) { return 0; }' >main.c
gcc -static -o static main.c
refused 125 'is statically linked' ./static
printf '#!%s/static\n' "$PWD" >script; chmod +x script
refused 125 'is statically linked' ./script
gcc -o setuid main.c && chmod 4755 setuid
refused 125 'is set-uid' ./setuid
chmod 2755 setuid && refused 125 'is set-gid' ./setuid
if command -v setcap >/dev/null && gcc -o capable main.c &&
   setcap cap_net_raw+ep capable 2>/dev/null; then
    refused 125 'has file capabilities' ./capable
fi
gcc -o other main.c -Wl,--dynamic-linker=/lib/ld-other.so.1
refused 125 'is loaded by /lib/ld-other.so.1' ./other
head -c 64 /bin/true | sed 's/^\(....\)\x02/\1\x01/' >word32; chmod +x word32
refused 125 '64-bit' ./word32

refused 125 'already under' -- "$ufault" run true
refused 125 'already under|can be only one' --no-follow -- "$ufault" run true
check '--help' grep -q 'usage: ufault run' <("$ufault" run --help)

# Without privilege userfaultfd serves no touches by system calls, unless the
# machine is set up for it.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    cp "$(dirname "$ufault")/../lib"*/ufault/libufault-run.so . 2>/dev/null
    chmod 755 .
    if ! setpriv --reuid nobody --clear-groups -- "$ufault" run --quiet true \
        2>unprivileged; then
        check 'says what is missing' grep -q 'no userfaultfd' unprivileged
        check 'says what would allow it' grep -q 'to allow it:' unprivileged
    fi
fi

finish
