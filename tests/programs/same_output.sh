#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Real programs from Debian give the same output, messages and exit code under
# `ufault run` as natively, while their heaps are served.

. "$(dirname "$0")/lib.bash"

seq 1 60000 | awk '{ print ($1 * 7919) % 60013, "line", $1 }' >numbers

# Large blocks come from the break too, as far as one arena is enough.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296

# served_much WHAT: the last program did not just start.
served_much()
{
    reported "$1 was served" '.total.faults > 15 and .total.brk_calls > 0'
    reported "$1: nothing refused" '.total.refused == 0'
    reported "$1: faults all answered" '.total |
        .faults == .installed + .present + .stale + .refused + .folded + .pending'
}

perl_script='my %t; $t{$_} = "v$_" x ($_ % 5) for 1 .. 200000;
    print "$_ $t{$_}\n" for (sort { $a <=> $b } keys %t)[0 .. 999];
    exit 3'
same perl perl -e "$perl_script" && served_much perl

same gawk gawk '{ t[$1] = t[$1] $3; n += length(t[$1]) }
                END { for (i = 0; i < 60013; i += 1000) print i, t[i]; print n }' \
    numbers && served_much gawk

same python3 /usr/bin/python3 -c '
import json, zlib
d = {str(i): [i, str(i) * 3] for i in range(60000)}
s = json.dumps(d, sort_keys=True)
print(len(s), zlib.crc32(s.encode()))
print(json.loads(s) == d)' && served_much python3

same sqlite3 sqlite3 :memory: '
create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into t select i, printf("%x", i * 7919 % 60013) from n;
create index ib on t(b);
select count(*), min(b), max(b), sum(length(b)) from t;
select a from t order by b limit 20;' && served_much sqlite3

same sort sort -S 20M --parallel=2 -k1,1n -k3,3nr numbers && served_much sort
same 'bash loop' bash -c 'declare -A t; for ((i = 0; i < 20000; i++)); do
    t[k$i]=value$i; done; echo ${#t[@]} ${t[k777]}; exit 5' &&
    served_much 'bash loop'
same 'bash pipeline' bash -c 'cut -d" " -f3 numbers | sort -r | uniq |
    tee >(wc -l >count) | tail -2; wait; (echo sub; exit 4) || echo "$?";
    x=$(seq 1000 | paste -sd+ | bc); echo "$x"'
reported 'children were served' '.processes_served >= 8'

cat >small.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#define F(n) int f##n(int a) { int s = 0; \
    for (int i = 0; i < a; i++) s += i * n ^ (s << 1); return s; }
#define G(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7)
G(1) G(2) G(3) G(4) G(5) G(6) G(7) G(8) G(9) G(11) G(12) G(13) G(14) G(15)
int main(void) { printf("%d %d\n", f10(10), f157(20)); return EXIT_SUCCESS; }
END
same 'gcc -S' gcc -O2 -S -o - small.c && served_much gcc
same 'gcc error' gcc -O2 -S -o - -DG=++ small.c
same 'gcc link' gcc -O2 -o small small.c
same './small' ./small

git_work='set -e; rm -rf r; git init -q r; cd r
    export GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000"
    git config user.name n; git config user.email e@example.org
    for i in 1 2 3; do split -l 4000 -d ../numbers part$i; git add .
        git commit -qm "commit $i"; done
    git log --stat | tail -5; git gc -q; git fsck; git rev-parse HEAD
    git diff HEAD~2 --stat | tail -1'
same git bash -c "$git_work"
reported 'git was served' '[.processes[] | select(.program == "git")] | length > 5'

same 'xz -T2' xz -T2 --block-size=200000 -c numbers 
cp served.out numbers.xz
same 'xz -d' xz -dc numbers.xz
same 'tar | gzip' bash -c 'tar --sort=name --mtime=@0 -cf - numbers small.c |
    gzip -9n | tee t.gz | sha256sum; gzip -dc t.gz | tar tvf - | wc -l'
same 'sed and grep' bash -c "sed -E 's/([0-9]+) line/\\1 zeile/' numbers |
    grep -c 'zeile 5.*9'; sed -n '\$p;1!G;h' <(head -2000 numbers) | tail -3"
echo 'scale = 700; 4 * a(1); 2 ^ 9000; quit' >pi
same bc bc -lq pi
same find find /usr/include -name '*.h' -newer /nonexistent
same 'find sorted' bash -c 'find /usr/include -type f | sort | sha256sum'
sort numbers >sorted
same diff diff numbers sorted
same env env -u LD_PRELOAD -u UFAULT_RUN -u _ env
same 'a script' bash -c 'printf "#!/bin/bash\necho script \$1\n" >s; chmod +x s; ./s x'

finish
