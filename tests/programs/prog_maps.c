/* SPDX-License-Identifier: MIT */
/*
 * Maps, unmaps, protects, moves and advises memory through libc, and prints
 * what came of each call and what the memory held. It knows nothing of ufault:
 * natively and served its output is the same.
 *
 *     prog_maps calls | fixed | fork | threads N | storm N | signals N | large
 * | limits
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef BARE
/* The same program past libc, as runtimes with system calls of their own do;
 * only the first of a mapping is libc's. */
#include <sys/syscall.h>

static int range_call(long number, void *p, size_t len, int arg)
{
    return (int)syscall(number, p, len, arg);
}

static void *bare_mmap(void *p, size_t len, int prot, int flags, int fd,
                       off_t offset)
{
    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        return mmap(p, len, prot, flags, fd, offset);
    return (void *)syscall(SYS_mmap, p, len, prot, flags, fd, offset);
}

#define munmap(p, len)          range_call(SYS_munmap, p, len, 0)
#define mprotect(p, len, prot)  range_call(SYS_mprotect, p, len, prot)
#define madvise(p, len, advice) range_call(SYS_madvise, p, len, advice)
#define mlock(p, len)           range_call(SYS_mlock, p, len, 0)
#define mlock2(p, len, flags)   range_call(SYS_mlock2, p, len, flags)
#define munlock(p, len)         range_call(SYS_munlock, p, len, 0)
#define mremap(p, old, len, flags, to)                                         \
    (void *)syscall(SYS_mremap, p, old, len, flags, to)
#define mmap bare_mmap
#endif

#define PAGE ((size_t)4096)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)

/* ----------------------------------------------------- telling -- */

static void tell(const char *what, int rc)
{
    printf("%s: %d %s\n", what, rc, rc < 0 ? strerror(errno) : "");
    fflush(stdout);
}

static bool told(const char *what, const void *p)
{
    printf("%s: %s\n", what, p == MAP_FAILED ? strerror(errno) : "mapped");
    fflush(stdout);
    return p != MAP_FAILED;
}

static sigjmp_buf back;
static volatile sig_atomic_t caught;

static void on_fault(int signal)
{
    caught = signal;
    siglongjmp(back, 1);
}

static void touch(const char *what, volatile char *p, bool write)
{
    if (sigsetjmp(back, 1)) {
        printf("%s: signal %d\n", what, (int)caught);
        return;
    }
    if (write)
        *p = (char)(*p + 1);
    printf("%s: %d\n", what, *p);
}

static char *map(size_t npages)
{
    char *p = mmap(NULL, npages * PAGE, RW, ANON, -1, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

static unsigned sum(const char *p, size_t len)
{
    unsigned s = 0;

    for (size_t i = 0; i < len; i++)
        s = s * 31 + (unsigned char)p[i];
    return s;
}

/* ------------------------------------------------------- calls -- */

static void protections(void)
{
    char *p = map(8);

    memset(p, 1, 8 * PAGE);
    tell("read-only", mprotect(p + 2 * PAGE, 2 * PAGE, PROT_READ));
    touch("before it", p + PAGE, true);
    touch("in it, read", p + 2 * PAGE, false);
    touch("in it, write", p + 2 * PAGE, true);
    tell("none", mprotect(p + 3 * PAGE, PAGE, PROT_NONE));
    touch("none, read", p + 3 * PAGE, false);
    tell("back", mprotect(p, 8 * PAGE, RW));
    touch("back, write", p + 3 * PAGE, true);
    tell("a hole", munmap(p + 4 * PAGE, PAGE));
    touch("the hole", p + 4 * PAGE, false);
    tell("protect over the hole", mprotect(p, 8 * PAGE, PROT_READ));
    touch("before the hole", p + 3 * PAGE, true);
    touch("behind the hole", p + 5 * PAGE, true);
    tell("unaligned", mprotect(p + 1, PAGE, RW));
    tell("length 0", mprotect(p, 0, RW));
    tell("unmap unaligned", munmap(p + 1, PAGE));
    tell("unmap nothing", munmap(p, 0));
    tell("unmap over the hole", munmap(p, 8 * PAGE));
    touch("gone", p, false);
    tell("unmap again", munmap(p, 8 * PAGE));
}

static void advice(void)
{
    char *p = map(16);
    unsigned char vec[16];

    memset(p, 7, 16 * PAGE);
    tell("dontneed", madvise(p, 4 * PAGE, MADV_DONTNEED));
    touch("a page that was dropped", p + PAGE, true);
    touch("a page that was not", p + 5 * PAGE, true);
    tell("mincore", mincore(p, 8 * PAGE, vec));
    printf("%d %d %d %d\n", vec[0] & 1, vec[1] & 1, vec[4] & 1, vec[7] & 1);
    tell("posix dontneed",
         posix_madvise(p + 4 * PAGE, PAGE, POSIX_MADV_DONTNEED));
    touch("which loses nothing", p + 4 * PAGE, false);
    tell("populate", madvise(p, 4 * PAGE, MADV_POPULATE_WRITE));
    mincore(p, 4 * PAGE, vec);
    printf("%d %d %d %d\n", vec[0] & 1, vec[1] & 1, vec[2] & 1, vec[3] & 1);
    munmap(p + 8 * PAGE, PAGE);
    tell("mincore of a hole", mincore(p, 16 * PAGE, vec));
    tell("advice on a hole", madvise(p, 16 * PAGE, MADV_DONTNEED));
    touch("all dropped before it", p + 7 * PAGE, false);
    touch("and behind it", p + 9 * PAGE, false);
    tell("populate a hole", madvise(p, 16 * PAGE, MADV_POPULATE_READ));
    tell("no such advice", madvise(p, PAGE, 9999));
    tell("random", madvise(p, PAGE, MADV_RANDOM));
    tell("huge", madvise(p, 4 * PAGE, MADV_HUGEPAGE));
    tell("not huge", madvise(p, 4 * PAGE, MADV_NOHUGEPAGE));
    tell("free", madvise(p, 4 * PAGE, MADV_FREE));
    tell("msync", msync(p, 4 * PAGE, MS_SYNC));
    tell("msync of a hole", msync(p, 16 * PAGE, MS_ASYNC));
    tell("msync nonsense", msync(p, PAGE, MS_ASYNC | MS_SYNC));
    tell("lock", mlock(p, 4 * PAGE));
    mincore(p, 4 * PAGE, vec);
    printf("%d %d\n", vec[0] & 1, vec[3] & 1);
    tell("dontneed locked", madvise(p, PAGE, MADV_DONTNEED));
    tell("unlock", munlock(p, 4 * PAGE));
    tell("lock on fault", mlock2(p, PAGE, 1));
    tell("lock a hole", mlock(p + 7 * PAGE, 4 * PAGE));
    tell("unmap locked", munmap(p, 16 * PAGE));
    p = mmap(NULL, 8 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
    if (told("populated", p)) {
        mincore(p, 8 * PAGE, vec);
        printf("%d %d\n", vec[0] & 1, vec[7] & 1);
        munmap(p, 8 * PAGE);
    }
}

static void moves(void)
{
    char *p = map(64), *q, *r;

    for (size_t i = 0; i < 64; i++)
        memset(p + i * PAGE, (int)i, PAGE);
    q = mremap(p, 64 * PAGE, 300 * PAGE, MREMAP_MAYMOVE, NULL);
    if (told("longer", q))
        printf("%08x %d\n", sum(q, 300 * PAGE), q[299 * PAGE]);
    memset(q + 64 * PAGE, 3, 236 * PAGE);
    r = mremap(q, 300 * PAGE, 20 * PAGE, 0, NULL);
    printf("shorter: %s\n", r == q ? "in place" : "moved");
    touch("its end", q + 20 * PAGE, false);
    printf("%08x\n", sum(q, 20 * PAGE));
    r = map(40);
    munmap(r + 10 * PAGE, 30 * PAGE);
    told("to a place", mremap(q, 20 * PAGE, 20 * PAGE,
                              MREMAP_MAYMOVE | MREMAP_FIXED, r + 15 * PAGE));
    printf("%08x\n", sum(r + 15 * PAGE, 20 * PAGE));
    touch("the old place", q, false);
    told("a kept one", mremap(r + 15 * PAGE, 4 * PAGE, 4 * PAGE,
                              MREMAP_MAYMOVE | 4, NULL) == MAP_FAILED
                           ? MAP_FAILED
                           : r);
    touch("which is empty now", r + 15 * PAGE, true);
    touch("its neighbour is not", r + 19 * PAGE, true);
    told("no such range", mremap(r + 12 * PAGE, PAGE, 2 * PAGE, 0, NULL));
    told("overlap", mremap(r, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                           r + PAGE));
    told("no length", mremap(r, PAGE, 0, MREMAP_MAYMOVE, NULL));
    told("unaligned", mremap(r + 1, PAGE, PAGE, MREMAP_MAYMOVE, NULL));
    tell("unmap", munmap(r, 40 * PAGE));
}

/* As realloc of large blocks does. */
static void growing(void)
{
    size_t n = 1;
    char *p = map(n);

    p[0] = 1;
    while (n < 2000) {
        size_t more = n + n / 3 + 1;
        char *q = mremap(p, n * PAGE, more * PAGE, MREMAP_MAYMOVE, NULL);

        if (q == MAP_FAILED) {
            perror("mremap");
            exit(1);
        }
        p = q;
        for (size_t i = n; i < more; i += 7)
            p[i * PAGE] = (char)i;
        n = more;
    }
    printf("grown to %zu: %08x\n", n, sum(p, n * PAGE));
    munmap(p, n * PAGE);
}

static void calls(void)
{
    char *p;

    protections();
    advice();
    moves();
    growing();
    told("length 0", mmap(NULL, 0, RW, ANON, -1, 0));
    told("no kind", mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
    told("too long", mmap(NULL, (size_t)1 << 60, RW, ANON, -1, 0));
    told("no descriptor", mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
    errno = 77;
    p = map(3);
    p[0] = 1;
    munmap(p, 3 * PAGE);
    printf("errno is left alone: %d\n", errno);
    p = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);
    touch("mapped without access", p, false);
    munmap(p, PAGE);
}

/* ------------------------------------------------------- fixed -- */

static void fixed(void)
{
    size_t n = 1024;
    char *p = mmap(NULL, n * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    int fd = memfd_create("ring", 0);
    char *q;

    told("reserved", p);
    told("committed",
         mmap(p + 16 * PAGE, 16 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
    memset(p + 16 * PAGE, 5, 16 * PAGE);
    told("committed anew",
         mmap(p + 20 * PAGE, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
    touch("new memory", p + 21 * PAGE, true);
    touch("old memory", p + 19 * PAGE, true);
    told("uncommitted", mmap(p + 16 * PAGE, 8 * PAGE, PROT_NONE,
                             ANON | MAP_FIXED | MAP_NORESERVE, -1, 0));
    touch("closed", p + 16 * PAGE, false);
    touch("open", p + 24 * PAGE, false);
    told("not over something",
         mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    munmap(p + 100 * PAGE, 10 * PAGE);
    q = mmap(p + 100 * PAGE, 10 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    printf("into the hole: %s\n", q == p + 100 * PAGE ? "there" : "not there");
    q = mmap(p + 101 * PAGE, 2 * PAGE, RW, ANON, -1, 0);
    printf("a hint that is taken: %s\n",
           q == p + 101 * PAGE ? "there" : "elsewhere");
    munmap(q, 2 * PAGE);
    munmap(p + 100 * PAGE, 10 * PAGE);
    q = mmap(p + 101 * PAGE, 2 * PAGE, RW, ANON, -1, 0);
    printf("a hint that is free: %s\n",
           q == p + 101 * PAGE ? "there" : "elsewhere");
    told("unaligned", mmap(p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0));

    /* One file twice side by side: a ring buffer. */
    if (ftruncate(fd, 4 * (off_t)PAGE) < 0)
        return;
    told("ring 1",
         mmap(p + 200 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
    told("ring 2",
         mmap(p + 204 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
    strcpy(p + 204 * PAGE - 6, "across the end");
    printf("%.6s %s\n", p + 208 * PAGE - 6, p + 200 * PAGE);
    told("beyond the file",
         mmap(p + 300 * PAGE, 8 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
    touch("its last page", p + 303 * PAGE, true);
    touch("the page behind", p + 304 * PAGE, true);
    tell("unmap part of it", munmap(p + 302 * PAGE, 4 * PAGE));
    touch("memory anew", p + 302 * PAGE, false);
    told("anonymous again",
         mmap(p + 200 * PAGE, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
    touch("zeros", p + 203 * PAGE, true);
    tell("all of it", munmap(p, n * PAGE));
    touch("nothing", p + 200 * PAGE, false);
    close(fd);
    printf("the next descriptor: %d\n", open("/dev/null", O_RDONLY));
}

/* -------------------------------------------------------- fork -- */

static int child(void (*run)(char *p), char *p)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        run(p);
        fflush(stdout);
        _exit(7);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void grandchild(char *p)
{
    touch("grandchild reads", p + 3 * PAGE, true);
    tell("grandchild unmaps", munmap(p, 8 * PAGE));
    growing();
}

static void look(char *p)
{
    char *q = map(32);

    touch("child reads", p, false);
    touch("child writes", p + 3 * PAGE, true);
    touch("child touches a new page", p + 40 * PAGE, true);
    touch("child, wiped", p + 48 * PAGE, false);
    touch("child, not inherited", p + 56 * PAGE, false);
    memset(q, 9, 32 * PAGE);
    q = mremap(q, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE, NULL);
    printf("child maps and moves: %08x\n", sum(q, 64 * PAGE));
    tell("child protects", mprotect(p, 8 * PAGE, PROT_READ));
    touch("child, read-only", p + 3 * PAGE, true);
    tell("child drops", madvise(p + 4 * PAGE, PAGE, MADV_DONTNEED));
    touch("child, dropped", p + 4 * PAGE, false);
    tell("child unmaps nothing", munmap(q + 64 * PAGE, PAGE));
    tell("child unmaps", munmap(q, 64 * PAGE));
    touch("child, gone", q, false);
    tell("child protects a hole", mprotect(q, PAGE, PROT_READ));
    printf("grandchild: %d\n", child(grandchild, p));
    protections();
    moves();
}

static void forks(void)
{
    char *p = map(64);

    memset(p, 2, 32 * PAGE);
    memset(p + 48 * PAGE, 4, 16 * PAGE);
    tell("wipe", madvise(p + 48 * PAGE, 8 * PAGE, MADV_WIPEONFORK));
    tell("not inherited", madvise(p + 56 * PAGE, 8 * PAGE, MADV_DONTFORK));
    printf("child: %d\n", child(look, p));
    touch("parent reads", p + 3 * PAGE, true);
    touch("parent, new page", p + 40 * PAGE, true);
    touch("parent, wiped in the child", p + 48 * PAGE, false);
    touch("parent, not in the child", p + 56 * PAGE, false);
    for (int i = 0; i < 5; i++)
        if (child(grandchild, p) != 7 << 8)
            printf("a child failed\n");
    printf("vfork and exec: %d\n", system("exit 3"));
    munmap(p, 64 * PAGE);
    growing();
}

/* -------------------------------------------------------- rest -- */

/* More than there is: refused or not, as the kernel's policy has it. */
static void large(void)
{
    struct sysinfo info;
    size_t memory;
    char *p;

    sysinfo(&info);
    memory = (info.totalram + info.totalswap) * info.mem_unit;
    told("three times memory", mmap(NULL, 3 * memory, RW, ANON, -1, 0));
    told("unreserved", mmap(NULL, 3 * memory, RW, ANON | MAP_NORESERVE, -1, 0));
    told("closed", mmap(NULL, 3 * memory, PROT_NONE, ANON, -1, 0));
    p = malloc(memory * 2);
    printf("malloc: %s\n", p ? "had" : "not had");
    p = calloc(1, (size_t)200 << 20);
    p[100 << 20] = 1;
    printf("calloc: %d %d\n", p[0], p[100 << 20]);
    free(p);
}

static void limits(void)
{
    struct rlimit limit = {(size_t)64 << 20, (size_t)64 << 20};
    unsigned n = 0;
    void *p;

    setrlimit(RLIMIT_DATA, &limit);
    while ((p = mmap(NULL, (size_t)1 << 20, RW, ANON, -1, 0)) != MAP_FAILED)
        n++;
    printf("a data limit: %s, %s\n", strerror(errno),
           n > 40 && n < 64 ? "about 60 MiB" : "far off");
    printf("closed memory does not count: %s\n",
           mmap(NULL, (size_t)1 << 30, PROT_NONE, ANON, -1, 0) == MAP_FAILED
               ? "it does"
               : "right");
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_fault};
    const char *what = argc > 1 ? argv[1] : "calls";

    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (strcmp(what, "calls") == 0)
        calls();
    else if (strcmp(what, "fixed") == 0)
        fixed();
    else if (strcmp(what, "fork") == 0)
        forks();
    else if (strcmp(what, "large") == 0)
        large();
    else if (strcmp(what, "limits") == 0)
        limits();
    else
        return 2;
    return 0;
}
