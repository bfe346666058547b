/* SPDX-License-Identifier: MIT */
/*
 * prog_children WHAT: programs that make processes, and check their heaps.
 *
 *     fork       a child without exec reads and grows what it inherited
 *     deep       children of children
 *     bare       a child made by the bare system call, without fork handlers
 *     busy       forks while other threads allocate
 *     vfork      a child that moves the break of the memory it shares
 *     spawn      posix_spawn
 *     exec       becomes prog_breaks-like: itself, with "leaf", in the same pid
 *     leaf       allocates, says so
 *     daemon F   leaves a process behind that allocates once the parent and
 *                ufault are gone, then writes to F
 *     main-exit  main ends by pthread_exit, another thread ends the program
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 300

static char *self;
extern char **environ;

/* Blocks below the mmap threshold, so that they come from the break. */
struct block {
    char *p;
    char mark;
};

static void fill(struct block *blocks, char mark)
{
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = (struct block){malloc(10000), mark};
        memset(blocks[i].p, mark, 10000);
    }
}

static long check(const struct block *blocks)
{
    long bad = 0;

    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < 10000; k++)
            bad += blocks[i].p[k] != blocks[i].mark;
    return bad;
}

static int wait_for(pid_t pid)
{
    int status;

    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* What a child does with an inherited heap. */
static int live_on(const struct block *inherited)
{
    struct block own[BLOCKS];
    long bad = check(inherited);

    fill(own, 'c');
    bad += check(inherited) + check(own);
    return bad == 0 ? 7 : 8;
}

static int do_fork(pid_t (*make)(void))
{
    struct block blocks[BLOCKS], more[BLOCKS];
    pid_t pid;

    fill(blocks, 'p');
    pid = make();
    if (pid == 0)
        _exit(live_on(blocks));
    fill(more, 'm');
    printf("child %d\n", wait_for(pid));
    printf("parent %ld\n", check(blocks) + check(more));
    return 0;
}

static pid_t bare_fork(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int deep(int depth)
{
    struct block blocks[BLOCKS];
    pid_t pid;
    int below = 0;

    fill(blocks, (char)('a' + depth));
    if (depth < 4) {
        pid = fork();
        if (pid == 0)
            _exit(deep(depth + 1));
        below = wait_for(pid);
    }
    return check(blocks) == 0 ? below + 1 : 100;
}

static volatile int stop;

static void *allocate(void *arg)
{
    while (!stop) {
        char *p = malloc(60000);

        memset(p, 1, 60000);
        free(p);
    }
    return arg;
}

static int busy(void)
{
    pthread_t threads[3];
    struct block blocks[BLOCKS];
    int good = 0;

    fill(blocks, 'b');
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(live_on(blocks));
        good += wait_for(pid) == 7;
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("%d good\n", good);
    return 0;
}

/* The child has the parent's memory and another pid; what it does to the break
 * the parent sees. (clone(2) as vfork(2) makes it; what C allows a vfork child
 * is far less.) */
static char *from_child;

static int in_shared_memory(void *arg)
{
    (void)arg;
    from_child = sbrk(50000);
    memset(from_child, 9, 50000);
    return 5;
}

static int do_vfork(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    char *before = sbrk(0);
    pid_t pid = clone(in_shared_memory, stack + sizeof(stack),
                      CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);

    printf("child %d\n", wait_for(pid));
    printf("break by %ld, mark %d\n", (long)((char *)sbrk(0) - before),
           from_child[49999]);
    return 0;
}

static int spawn(void)
{
    char *args[] = {self, (char *)(uintptr_t) "leaf", NULL};
    pid_t pid;

    fflush(stdout);
    if (posix_spawn(&pid, self, NULL, NULL, args, environ) != 0)
        return 1;
    printf("child %d\n", wait_for(pid));
    return 0;
}

static int leaf(void)
{
    struct block blocks[BLOCKS];

    fill(blocks, 'l');
    printf("leaf %ld\n", check(blocks));
    return 4;
}

static int become(void)
{
    struct block blocks[BLOCKS];

    fill(blocks, 'e');
    printf("before %ld\n", check(blocks));
    fflush(stdout);
    execl(self, self, "leaf", (char *)NULL);
    return 1;
}

/* Of a process that is nobody's child here. */
static void await_end(pid_t pid)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0),
                         .events = POLLIN};

    if (end.fd < 0)
        return; /* it is gone */
    poll(&end, 1, -1);
    close(end.fd);
}

/* Waits until the one that was its grandparent, ufault or the shell, is gone:
 * then it has a new parent, and so has that one's child. */
static int leave_daemon(const char *file)
{
    pid_t starter = getppid();
    pid_t pid = fork();

    if (pid == 0) {
        struct block blocks[BLOCKS];
        FILE *out;

        setsid();
        fclose(stdin);
        fclose(stdout);
        fclose(stderr);
        await_end(starter);
        fill(blocks, 'd');
        out = fopen(file, "w");
        fprintf(out, "daemon %ld\n", check(blocks));
        fclose(out);
        _exit(0);
    }
    puts("left");
    return 0;
}

static pthread_t main_thread;

static void *outlive(void *arg)
{
    struct block blocks[BLOCKS];

    pthread_join(main_thread, NULL);
    fill(blocks, 'o');
    printf("outlived %ld\n", check(blocks)); /* not flushed here */
    return arg;
}

static int main_exit(void)
{
    pthread_t thread;

    main_thread = pthread_self();
    pthread_create(&thread, NULL, outlive, NULL);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    static char buffer[65536];
    const char *what = argc > 1 ? argv[1] : "";

    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); /* not on the heap */
    self = argv[0];
    if (strcmp(what, "fork") == 0)
        return do_fork(fork);
    if (strcmp(what, "bare") == 0)
        return do_fork(bare_fork);
    if (strcmp(what, "deep") == 0) {
        printf("%d levels\n", deep(0));
        return 0;
    }
    if (strcmp(what, "busy") == 0)
        return busy();
    if (strcmp(what, "vfork") == 0)
        return do_vfork();
    if (strcmp(what, "spawn") == 0)
        return spawn();
    if (strcmp(what, "exec") == 0)
        return become();
    if (strcmp(what, "leaf") == 0)
        return leaf();
    if (strcmp(what, "daemon") == 0 && argc > 2)
        return leave_daemon(argv[2]);
    if (strcmp(what, "main-exit") == 0)
        return main_exit();
    return 2;
}
