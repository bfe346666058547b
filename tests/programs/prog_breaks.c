/* SPDX-License-Identifier: MIT */
/*
 * prog_breaks WHAT: moves the break in ways that programs do, and says what it
 * sees without addresses, so that a native and a served run can be compared.
 *
 *     walk      by libc and by the bare system call, up and down, contents
 *     threads   bare system calls and sbrk from several threads at once
 *     above     msync and mincore above the break; what /proc says of the heap
 *     blocked   with every signal blocked
 *     fds       descriptor numbers, and closefrom(3)
 *     touch N   first touches of N pages of fresh heap, one write a page
 *     read N    the same, reads
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static uintptr_t bare_brk(uintptr_t brk)
{
    uintptr_t now = SYS_brk;

#ifdef __x86_64__
    __asm__ volatile("syscall" : "+a"(now) : "D"(brk) : "rcx", "r11", "memory");
#else
    now = (uintptr_t)syscall(SYS_brk, brk);
#endif
    return now;
}

/* Whole pages of fresh heap above a page-aligned break. */
static char *fresh(size_t npages)
{
    uintptr_t now = bare_brk(0);
    uintptr_t start = (now + PAGE - 1) & ~(uintptr_t)(PAGE - 1);

    if (brk((void *)(start + npages * PAGE)) < 0)
        return NULL;
    return (char *)start;
}

static int sum(const char *p, size_t n)
{
    int total = 0;

    for (size_t i = 0; i < n; i++)
        total += p[i];
    return total;
}

static void say_move(const char *what, uintptr_t from, uintptr_t to,
                     uintptr_t got)
{
    printf("%s %+ld: %s, by %+ld\n", what,
           to - from + 1000000 < 2000000 ? (long)(to - from) : 0,
           got == to ? "moved" : "refused", (long)(got - from));
}

static int walk(void)
{
    static const long steps[] = {1,      4095, 1,     8192,   -4096,
                                 100000, -1,   -8191, 300000, -50000,
                                 0,      4096, -4096, 70000,  -70000};
    char *base = fresh(16);
    uintptr_t at = bare_brk(0);

    memset(base, 7, 16 * PAGE);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        uintptr_t to = at + (uintptr_t)steps[i];
        uintptr_t got = bare_brk(to);

        say_move("bare", at, to, got);
        if (got > at)
            printf("new bytes sum to %d\n", sum((char *)at, got - at));
        at = got;
    }
    /* Far away both ways: refused. */
    say_move("bare", at, 4096, bare_brk(4096));
    say_move("bare", at, (uintptr_t)-4096, bare_brk((uintptr_t)-4096));
    printf("libc %s\n", brk((void *)(at + 20000)) == 0 ? "moved" : "refused");
    memset((char *)at, 3, 20000);
    printf("down and up: %s", sbrk(-20000) == (void *)-1 ? "refused" : "moved");
    printf(" %s\n", sbrk(20000) == (void *)-1 ? "refused" : "moved");
    /* The page that held the lowered break keeps its bytes. */
    printf("then sums to %d of the kept page\n",
           sum((char *)at, PAGE - at % PAGE));
    printf("and to %d above\n",
           sum((char *)((at | (PAGE - 1)) + 1), 20000 - 2 * PAGE));
    printf("old bytes %d\n", sum(base, 16 * PAGE));
    return 0;
}

#define NTHREADS 4
#define ROUNDS   200

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

/* Each takes pieces of its own by sbrk, under a lock as malloc would, and keeps
 * its pattern in them. */
static void *take_pieces(void *arg)
{
    char mark = (char)(1 + (long)arg);
    char *pieces[ROUNDS];
    long bad = 0;

    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&one);
        if (i % 2 == 0) {
            pieces[i] = sbrk(3000);
        } else {
            uintptr_t was = bare_brk(0);

            pieces[i] = (char *)was;
            if (bare_brk(was + 3000) != was + 3000)
                bad++;
            /* libc's idea follows at its next call: tell it. */
            brk((void *)(was + 3000));
        }
        pthread_mutex_unlock(&one);
        memset(pieces[i], mark, 3000);
    }
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < 3000; k++)
            bad += pieces[i][k] != mark;
    return (void *)bad;
}

/* Bare questions at the same time. */
static void *ask(void *arg)
{
    uintptr_t last = 0;
    long bad = 0;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        uintptr_t now = bare_brk(0);

        bad += now < last;
        last = now;
    }
    return (void *)bad;
}

static int threads(void)
{
    pthread_t t[2 * NTHREADS];
    long bad = 0;

    for (long i = 0; i < NTHREADS; i++) {
        pthread_create(&t[2 * i], NULL, take_pieces, (void *)i);
        pthread_create(&t[2 * i + 1], NULL, ask, NULL);
    }
    for (int i = 0; i < 2 * NTHREADS; i++) {
        void *result;

        pthread_join(t[i], &result);
        bad += (long)result;
    }
    printf("%ld bad\n", bad);
    return bad != 0;
}

/* The [heap] line's end, as an offset from the break's page. */
static void say_heap_line(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long start, end;

    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "[heap]") &&
            sscanf(line, "%lx-%lx", &start, &end) == 2)
            printf("[heap] ends %ld bytes from the break, %.4s\n",
                   (long)(end - ((bare_brk(0) + PAGE - 1) & ~(PAGE - 1ul))),
                   strchr(line, ' ') + 1);
    fclose(maps);
}

static int above(void)
{
    char *p = fresh(64);
    char *end = p + (size_t)64 * PAGE;
    unsigned char vec;

    memset(p, 1, PAGE);
    end = (char *)bare_brk(0);
    end = (char *)(((uintptr_t)end + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    printf("msync below %d\n", msync(end - PAGE, PAGE, MS_ASYNC));
    printf("msync above %d", msync(end, PAGE, MS_ASYNC));
    printf(" %s\n", strerror(errno));
    printf("mincore above %d", mincore(end, PAGE, &vec));
    printf(" %s\n", strerror(errno));
    say_heap_line();
    return 0;
}

static int blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    return walk();
}

static int fds(void)
{
    int first = open("/dev/null", O_RDONLY);
    int second = open("/dev/null", O_RDONLY);

    printf("%d %d\n", first, second);
    closefrom(3);
    for (int i = 0; i < 100; i++) {
        char *p = malloc(200000);

        memset(p, i, 200000);
    }
    printf("%d\n", open("/dev/null", O_RDONLY));
    close(0);
    close(1);
    close(2);
    if (!fresh(10))
        return 1;
    return open("/dev/null", O_RDWR);
}

static int touch(size_t npages, int write)
{
    volatile char *p = fresh(npages);
    int total = 0;

    for (size_t i = 0; i < npages; i++) {
        if (write)
            p[i * PAGE] = 1;
        else
            total += p[i * PAGE];
    }
    printf("touched %zu\n", npages);
    return total;
}

int main(int argc, char **argv)
{
    static char buffer[65536];
    const char *what = argc > 1 ? argv[1] : "";

    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); /* not on the heap */
    if (strcmp(what, "walk") == 0)
        return walk();
    if (strcmp(what, "threads") == 0)
        return threads();
    if (strcmp(what, "above") == 0)
        return above();
    if (strcmp(what, "blocked") == 0)
        return blocked();
    if (strcmp(what, "fds") == 0)
        return fds();
    if (strcmp(what, "touch") == 0 && argc > 2)
        return touch((size_t)atol(argv[2]), 1);
    if (strcmp(what, "read") == 0 && argc > 2)
        return touch((size_t)atol(argv[2]), 0);
    return 2;
}
