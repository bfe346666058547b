/* SPDX-License-Identifier: MIT */
/*
 * prog_storm WHAT ROUNDS: maps, moves and unmaps from many places at once, and
 * checks every byte. It knows nothing of ufault.
 *
 *     threads   four threads
 *     storm     the same, and forks meanwhile, whose children do alike
 *     mallocs   forks while threads take and free blocks of all sizes
 *     signals   a signal's handler maps, touches and unmaps, whatever it cuts
 * in
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define RW   (PROT_READ | PROT_WRITE)

static unsigned rounds;

static char *map(size_t npages)
{
    char *p = mmap(NULL, npages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

static uint32_t roll(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

#define BLOCKS 24

struct block {
    char *p;
    size_t npages;
    char mark;
};

static void check_block(const struct block *b)
{
    for (size_t i = 0; i < b->npages; i++)
        if (b->p[i * PAGE] != b->mark && b->p[i * PAGE] != 0) {
            printf("wrong byte: %d, not %d\n", b->p[i * PAGE], b->mark);
            exit(1);
        }
    if (b->p[0] != b->mark) {
        printf("lost byte: %d, not %d\n", b->p[0], b->mark);
        exit(1);
    }
}

static void new_block(struct block *b, uint32_t *seed)
{
    b->npages = 1 + roll(seed) % 100;
    b->p = map(b->npages);
    b->mark = (char)(1 + roll(seed) % 100);
    for (size_t i = 0; i < b->npages; i++)
        if (b->p[i * PAGE] != 0) {
            printf("new memory holds %d\n", b->p[i * PAGE]);
            exit(1);
        }
    for (size_t i = 0; i < b->npages; i += 1 + roll(seed) % 3)
        b->p[i * PAGE] = b->mark;
}

static void grow_block(struct block *b, uint32_t *seed)
{
    size_t npages = 1 + roll(seed) % 200;
    char *p = mremap(b->p, b->npages * PAGE, npages * PAGE, MREMAP_MAYMOVE);

    if (p == MAP_FAILED) {
        perror("mremap");
        exit(1);
    }
    b->p = p;
    b->npages = npages;
}

static void work(uint32_t seed, unsigned n)
{
    struct block blocks[BLOCKS] = {{0}};

    while (n-- > 0) {
        struct block *b = &blocks[roll(&seed) % BLOCKS];

        if (!b->p) {
            new_block(b, &seed);
            continue;
        }
        check_block(b);
        switch (roll(&seed) % 5) {
        case 0:
            grow_block(b, &seed);
            break;
        case 1:
            if (b->npages > 2)
                madvise(b->p + PAGE, (b->npages - 1) * PAGE, MADV_DONTNEED);
            break;
        case 2:
            mprotect(b->p, b->npages * PAGE, PROT_READ);
            check_block(b);
            mprotect(b->p, b->npages * PAGE, RW);
            break;
        default:
            munmap(b->p, b->npages * PAGE);
            b->p = NULL;
        }
    }
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].p)
            munmap(blocks[i].p, blocks[i].npages * PAGE);
}

static void *worker(void *arg)
{
    work((uint32_t)(uintptr_t)arg, rounds);
    return NULL;
}

static void run_threads(void *(*run)(void *), void (*meanwhile)(void))
{
    pthread_t threads[4];

    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    if (meanwhile)
        meanwhile();
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("4 threads, %u rounds each: as it should be\n", rounds);
}

static void fork_meanwhile(void)
{
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            work(99, 50);
            _exit(7);
        }
        waitpid(pid, &status, 0);
        if (status != 7 << 8)
            printf("a child failed: %d\n", status);
    }
}

/* Each size has another way through malloc: break, arena, mapping. */
static void *allocator(void *arg)
{
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    char *blocks[BLOCKS] = {NULL};

    for (unsigned i = 0; i < 50 * rounds; i++) {
        char **b = &blocks[roll(&seed) % BLOCKS];
        size_t len = (size_t)64 << (roll(&seed) % 13);

        *b = realloc(*b, len);
        memset(*b, 1, len);
        if (roll(&seed) % 3 == 0) {
            free(*b);
            *b = NULL;
        }
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return NULL;
}

static atomic_uint ticks;

/* What allocators and language runtimes do in their handlers. */
static void on_tick(int signal)
{
    char *p = map(5);

    (void)signal;
    p[PAGE] = 1;
    p[3 * PAGE] = 1;
    mprotect(p, PAGE, PROT_READ);
    munmap(p, 5 * PAGE);
    atomic_fetch_add(&ticks, 1);
}

static void signals(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 300}, {0, 300}};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    while (atomic_load(&ticks) < rounds)
        work(atomic_load(&ticks), 50);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    printf("at least %u ticks\n", rounds);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "threads";

    rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 1000;
    if (strcmp(what, "threads") == 0)
        run_threads(worker, NULL);
    else if (strcmp(what, "storm") == 0)
        run_threads(worker, fork_meanwhile);
    else if (strcmp(what, "mallocs") == 0)
        run_threads(allocator, fork_meanwhile);
    else if (strcmp(what, "signals") == 0)
        signals();
    else
        return 2;
    return 0;
}
