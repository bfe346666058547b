/* SPDX-License-Identifier: MIT */
/*
 * The default space of uf_posix_*: what lives in it and what does not, who
 * makes it, and what becomes of it in a forked child. Each test has a process
 * of its own, as there is one such space in each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/sides.h"
#include "ufault/posix.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define MANY (64 * page_size())

static bool is_inside(const void *p)
{
    const struct uf_space *space = uf_posix_space();

    return (uintptr_t)p - uf_space_base(space) < uf_space_len(space);
}

static struct uf_stats stats_now(void)
{
    struct uf_stats stats = {.size = sizeof(stats)};

    uf_space_stats(uf_posix_space(), &stats);
    return stats;
}

/* ------------------------------------------------------- where things live */

static void mappings_are_inside(void *unused)
{
    int fd = memfd_create("posix", 0);
    char *p = uf_posix_mmap(NULL, MANY, RW, ANON, -1, 0), *file, *old;

    (void)unused;
    NEED(p != MAP_FAILED && is_inside(p));
    NEED(uf_space_len(uf_posix_space()) <= (size_t)1 << 40);
    memset(p, 7, MANY);
    NEED(stats_now().mmaps == 1 && stats_now().faults > 0);
    NEED(ftruncate(fd, 8192) == 0 && pwrite(fd, "text", 4, 0) == 4);
    file = uf_posix_mmap(NULL, 8192, RW, MAP_SHARED, fd, 0);
    NEED(file != MAP_FAILED && is_inside(file));
    NEED(memcmp(file, "text", 4) == 0);
    old = uf_posix_sbrk(8192);
    NEED(is_inside(old) && uf_posix_sbrk(0) == old + 8192);
    memset(old, 1, 8192);
    NEED(uf_posix_brk(old) == 0 && uf_posix_sbrk(0) == old);
    p = uf_posix_mremap(p, MANY, 2 * MANY, MREMAP_MAYMOVE);
    NEED(p != MAP_FAILED && is_inside(p) && p[MANY - 1] == 7);
    NEED(uf_posix_munmap(p, 2 * MANY) == 0);
    NEED(uf_posix_munmap(file, 8192) == 0);
    NEED(stats_now().map_count == 0 && stats_now().resident == 0);
}

static void test_mappings_live_in_the_default_space(void **unused)
{
    (void)unused;
    in_child(mappings_are_inside, NULL);
}

/* What others mapped is changed by the same functions. */
static void others_are_outside(void *unused)
{
    size_t page = page_size();
    char *p = mmap(NULL, 4 * page, RW, ANON, -1, 0), *q;
    unsigned char vec[4];

    (void)unused;
    NEED(p != MAP_FAILED);
    for (int i = 0; i < 2; i++) { /* before there is a space, and after */
        memset(p, 5, 4 * page);
        NEED(uf_posix_mincore(p, 4 * page, vec) == 0 && (vec[3] & 1));
        NEED(uf_posix_mprotect(p, page, PROT_READ) == 0);
        NEED(live_write((uintptr_t)p, 1, NULL) == SIGSEGV);
        NEED(uf_posix_mprotect(p, page, RW) == 0);
        NEED(uf_posix_mlock(p, page) == 0 && uf_posix_munlock(p, page) == 0);
        NEED(uf_posix_msync(p, page, MS_SYNC) == 0);
        NEED(uf_posix_madvise(p, page, MADV_DONTNEED) == 0 && p[0] == 0);
        if (i == 0)
            NEED(uf_posix_space() != NULL);
    }
    NEED(!is_inside(p) && stats_now().mmaps == 0);
    q = uf_posix_mmap(p, page, RW, ANON | MAP_FIXED, -1, 0);
    NEED(q == p && stats_now().mmaps == 0);
    q = uf_posix_mremap(p, 4 * page, 8 * page, MREMAP_MAYMOVE);
    NEED(q != MAP_FAILED && !is_inside(q));
    NEED(uf_posix_munmap(q, 8 * page) == 0);
    NEED(uf_posix_msync(q, page, MS_ASYNC) == -1 && errno == ENOMEM);
    q = uf_posix_mmap(NULL, page, RW, ANON | MAP_32BIT, -1, 0);
    NEED(q != MAP_FAILED && (uintptr_t)q >> 32 == 0 && !is_inside(q));
    NEED(uf_posix_munmap(q, page) == 0);
    NEED(stats_now().mmaps == 0 && stats_now().munmaps == 0);
}

static void test_memory_of_others_is_the_kernels(void **unused)
{
    (void)unused;
    in_child(others_are_outside, NULL);
}

/* Nothing moves over the space's ends, and nothing is torn at them. */
static void moves_are_refused(void *unused)
{
    size_t page = page_size();
    char *in = uf_posix_mmap(NULL, 2 * page, RW, ANON, -1, 0);
    char *out = mmap(NULL, 2 * page, RW, ANON, -1, 0);
    int move = MREMAP_MAYMOVE | MREMAP_FIXED;
    char *base = (char *)uf_space_base(uf_posix_space()), *below;

    (void)unused;
    in[0] = out[0] = 3;
    NEED(uf_posix_mremap(in, page, page, move, out + page) == MAP_FAILED &&
         errno == EINVAL);
    NEED(uf_posix_mremap(out, page, page, move, in + page) == MAP_FAILED &&
         errno == EINVAL);
    NEED(in[0] == 3 && out[0] == 3);
    below = mmap(base - page, page, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    if (below == MAP_FAILED)
        return; /* somebody else's */
    NEED(uf_posix_mremap(below, 2 * page, 2 * page, MREMAP_MAYMOVE) ==
             MAP_FAILED &&
         errno == EFAULT);
    NEED(uf_posix_munmap(below, 2 * page) == 0);
}

static void test_nothing_moves_over_the_ends(void **unused)
{
    (void)unused;
    in_child(moves_are_refused, NULL);
}

/* The kernel writes the answer: into untouched memory of the space, too. */
static void mincore_into_the_space(void *unused)
{
    unsigned char *p = uf_posix_mmap(NULL, MANY, RW, ANON, -1, 0);
    unsigned char *vec = uf_posix_mmap(NULL, MANY, RW, ANON, -1, 0);

    (void)unused;
    p[0] = 1;
    NEED(uf_posix_mincore(p, MANY, vec) == 0 && (vec[0] & 1));
    NEED(uf_posix_mincore(p, MANY, (unsigned char *)16) == -1 &&
         errno == EFAULT);
}

static void test_mincore_answers_into_untouched_memory(void **unused)
{
    (void)unused;
    in_child(mincore_into_the_space, NULL);
}

/* ---------------------------------------------------------------- whose is it
 */

static struct uf_space *small_space(size_t len_bytes)
{
    struct uf_space_opts opts = {.size = sizeof(opts), .len_bytes = len_bytes};
    struct uf_space *space = NULL;

    uf_space_create(&opts, &space);
    return space;
}

/* provokes: uf_posix_set_space -EINVAL -EBUSY */
static void space_is_set(void *unused)
{
    struct uf_space *a = small_space((size_t)1 << 20);
    struct uf_space *b = small_space((size_t)1 << 20);

    (void)unused;
    NEED(uf_posix_set_space(NULL) == -EINVAL);
    NEED(uf_posix_set_space(a) == 0 && uf_posix_space() == a);
    NEED(uf_posix_set_space(a) == -EBUSY);
    NEED(uf_posix_set_space(b) == -EBUSY && uf_posix_space() == a);
    NEED(is_inside(uf_posix_mmap(NULL, 4096, RW, ANON, -1, 0)));
    NEED(uf_posix_mmap(NULL, (size_t)2 << 20, RW, ANON, -1, 0) == MAP_FAILED &&
         errno == ENOMEM);
    /* One that was destroyed counts as none. */
    NEED(uf_space_destroy(a) == 0);
    NEED(uf_posix_set_space(a) == -EINVAL);
    NEED(uf_posix_set_space(b) == 0 && uf_posix_space() == b);
}

static void test_a_program_may_set_its_own(void **unused)
{
    (void)unused;
    in_child(space_is_set, NULL);
}

#define NTHREADS 8

static pthread_barrier_t together;
static void *made[NTHREADS];

static void *map_first(void *arg)
{
    void **ret = arg;

    pthread_barrier_wait(&together);
    *ret = uf_posix_mmap(NULL, page_size(), RW, ANON, -1, 0);
    if (*ret != MAP_FAILED)
        *(char *)*ret = 1;
    return NULL;
}

static size_t fds_of_one_space(void)
{
    size_t before = live_count_fds(), with;
    struct uf_space *space = small_space((size_t)1 << 20);

    with = live_count_fds();
    uf_space_destroy(space);
    return with - before;
}

static void all_first_at_once(void *unused)
{
    size_t fds = fds_of_one_space(), before = live_count_fds();
    pthread_t threads[NTHREADS];

    (void)unused;
    pthread_barrier_init(&together, NULL, NTHREADS);
    for (int i = 0; i < NTHREADS; i++)
        NEED(pthread_create(&threads[i], NULL, map_first, &made[i]) == 0);
    for (int i = 0; i < NTHREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < NTHREADS; i++)
        NEED(made[i] != MAP_FAILED && is_inside(made[i]));
    NEED(stats_now().mmaps == NTHREADS);
    NEED(live_count_fds() == before + fds);
}

static void test_first_use_by_many_makes_one_space(void **unused)
{
    (void)unused;
    for (int round = 0; round < 20; round++)
        in_child(all_first_at_once, NULL);
}

/* --------------------------------------------------------------------- fork */

static void use_in_child(void *unused)
{
    char *p = uf_posix_mmap(NULL, MANY, RW, ANON, -1, 0);

    (void)unused;
    NEED(p != MAP_FAILED && is_inside(p));
    memset(p, 3, MANY);
    NEED(uf_posix_munmap(p, MANY) == 0);
}

/* The fork comes before, while or after a thread makes the space. */
static void fork_around_first_use(void *arg)
{
    unsigned spins = *(unsigned *)arg;
    void *p = NULL;
    pthread_t thread;

    pthread_barrier_init(&together, NULL, 2);
    NEED(pthread_create(&thread, NULL, map_first, &p) == 0);
    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < spins; i++)
        atomic_thread_fence(memory_order_seq_cst);
    NEED(child_status(use_in_child, NULL) == 0);
    NEED(pthread_join(thread, NULL) == 0);
    NEED(p != MAP_FAILED && is_inside(p));
    use_in_child(NULL);
}

static void test_fork_during_first_use(void **unused)
{
    (void)unused;
    if (LIVE_SANITIZED)
        skip(); /* a sanitizer's own locks are not ready for such a fork */
    for (unsigned spins = 1; spins < 1u << 20; spins += spins / 4 + 1)
        in_child(fork_around_first_use, &spins);
}

static void child_has_a_copy(void *arg)
{
    char *p = arg;

    NEED(p[0] == 1 && p[MANY - 1] == 0);
    p[0] = 2;
    NEED(uf_posix_munmap(p, page_size()) == 0);
    NEED(live_read((uintptr_t)p, NULL, NULL) == SIGSEGV);
    use_in_child(NULL);
}

static void fork_after_use(void *unused)
{
    char *p = uf_posix_mmap(NULL, MANY, RW, ANON, -1, 0);
    char *shared =
        uf_posix_mmap(NULL, MANY, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)unused;
    p[0] = shared[0] = 1;
    NEED(child_status(child_has_a_copy, p) == 0);
    NEED(p[0] == 1);
    NEED(child_status(child_has_a_copy, shared) == 0);
    NEED(shared[0] == 2);
}

static void test_a_child_has_a_copy(void **unused)
{
    (void)unused;
    in_child(fork_after_use, NULL);
}

/* ------------------------------------------------------------------- limits */

static size_t pages_mapped(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t n = 0;

    if (file) {
        if (fscanf(file, "%zu", &n) != 1)
            n = 0;
        fclose(file);
    }
    return n;
}

static void use_under_limit(void *unused)
{
    struct rlimit limit, tight;

    (void)unused;
    NEED(getrlimit(RLIMIT_AS, &limit) == 0);
    tight = limit;
    tight.rlim_cur = (pages_mapped() + 16) * page_size();
    NEED(setrlimit(RLIMIT_AS, &tight) == 0);
    NEED(uf_posix_mmap(NULL, 4096, RW, ANON, -1, 0) == MAP_FAILED &&
         errno == ENOMEM);
    NEED(uf_posix_sbrk(1) == (void *)-1 && errno == ENOMEM);
    /* It is tried again, and takes what there is room for. */
    tight.rlim_cur += (size_t)256 << 20;
    NEED(setrlimit(RLIMIT_AS, &tight) == 0);
    use_in_child(NULL);
    NEED(uf_space_len(uf_posix_space()) <= tight.rlim_cur / 2);
    NEED(uf_space_len(uf_posix_space()) >= (size_t)32 << 20);
}

static void test_the_size_respects_the_limit(void **unused)
{
    (void)unused;
    if (LIVE_SANITIZED)
        skip(); /* a shadow is larger than any limit */
    in_child(use_under_limit, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mappings_live_in_the_default_space),
        cmocka_unit_test(test_memory_of_others_is_the_kernels),
        cmocka_unit_test(test_nothing_moves_over_the_ends),
        cmocka_unit_test(test_mincore_answers_into_untouched_memory),
        cmocka_unit_test(test_a_program_may_set_its_own),
        cmocka_unit_test(test_first_use_by_many_makes_one_space),
        cmocka_unit_test(test_fork_during_first_use),
        cmocka_unit_test(test_a_child_has_a_copy),
        cmocka_unit_test(test_the_size_respects_the_limit),
    };
    int skip = live_begin();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
