/* SPDX-License-Identifier: MIT */
/*
 * prog_interrupted HOW MOVES: moves the break while a timer signal, whose
 * handler is installed without SA_RESTART, arrives as often as it can. brk(2)
 * knows no EINTR; no move may fail.
 *
 *     libc     sbrk, up and down
 *     malloc   malloc and free of blocks that move the break
 *     bare     the system call itself
 *
 * Says "N failed" and ends with 1 if any did.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <malloc.h>

static volatile sig_atomic_t signals;

static void on_alarm(int signal)
{
    (void)signal;
    signals++;
}

static void start_timer(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval every = {{0, 100}, {0, 100}};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

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

static int by_libc(void)
{
    char *p = sbrk(65536);

    if (p == (void *)-1)
        return 1;
    p[0] = p[65535] = 1;
    return sbrk(-65536) == (void *)-1;
}

static int by_malloc(void)
{
    char *p = malloc(100000);
    int failed = p == NULL;

    if (p)
        memset(p, 1, 100000);
    free(p);
    return failed;
}

static int by_system_call(void)
{
    uintptr_t was = bare_brk(0);
    int failed = bare_brk(was + 65536) != was + 65536;

    failed |= bare_brk(was) != was;
    return failed;
}

int main(int argc, char **argv)
{
    int (*move)(void) = by_libc;
    int failed = 0;

    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "malloc") == 0)
        move = by_malloc;
    if (strcmp(argv[1], "bare") == 0)
        move = by_system_call;
    mallopt(M_TRIM_THRESHOLD, 4096);
    mallopt(M_TOP_PAD, 0);
    start_timer();
    for (int i = 0; i < atoi(argv[2]); i++)
        failed += move();
    if (argc > 9)
        printf("%d\n", (int)signals);
    printf("%d failed\n", failed);
    return failed > 0;
}
