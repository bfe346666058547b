/* SPDX-License-Identifier: MIT */
/*
 * Memory with the huge policy comes in blocks of 2 MiB, moved from the pool,
 * and is right in every other way: what the kernel's own smaps says of huge
 * pages is what was counted, and what part of a block goes through is split.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault/background.h"
#include "fault/engine.h"
#include "fault/pool.h"
#include "lib/fake_wrap.h"
#include "lib/live.h"
#include "lib/sides.h"
#include "mm/advice.h"

#define HUGE  ((size_t)2 << 20)
#define BLOCK 512 /* pages */
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)

/* A space of 64 MiB at a multiple of 2 MiB, its heap of npages. */
static struct uf_space *space_with(uint32_t flags, enum uf_fork fork,
                                   struct uf_engine *engine, size_t npages)
{
    struct uf_space_opts opts = {
        .len_bytes = (size_t)64 << 20,
        .address = live_aligned_address(),
        .engine = engine,
        .flags = flags,
        .fork = fork,
    };

    return live_space(&opts, npages);
}

static struct uf_space *huge_space(size_t nblocks)
{
    return space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, NULL, nblocks * BLOCK);
}

static void await_ready(struct uf_space *space, size_t n)
{
    while (live_stats(space).huge_pool_ready < n)
        sched_yield();
}

static uintptr_t block(struct uf_space *space, size_t n)
{
    return live_page(space, n * BLOCK);
}

static unsigned char byte_at(uintptr_t addr)
{
    return *(volatile unsigned char *)addr;
}

static void set(uintptr_t addr, unsigned char byte)
{
    *(volatile unsigned char *)addr = byte;
}

static bool is_zero(uintptr_t start, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i += 512)
        if (byte_at(start + i) != 0)
            return false;
    return true;
}

/* Huge pages of the space's first nblocks, as the kernel says. */
static size_t kernel_huge(struct uf_space *space, size_t nblocks)
{
    return host_smaps_kb(block(space, 0), block(space, nblocks),
                         "AnonHugePages:") /
           (HUGE / 1024);
}

static void destroy(struct uf_space *space)
{
    struct uf_stats s;

    do
        s = live_stats(space);
    while (s.pending > 0);
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void assert_counts(struct uf_space *space, size_t installed,
                          size_t fallback, size_t resident)
{
    struct uf_stats s = live_stats(space);

    assert_int_equal(s.huge_installed, installed);
    assert_int_equal(s.huge_fallback, fallback);
    assert_int_equal(s.resident, resident);
    assert_int_equal(live_mincore(uf_space_base(space),
                                  uf_space_base(space) + uf_space_len(space)),
                     resident);
}

/* ---------------------------------------------------------------- policy -- */

static void a_space_with_the_policy_comes_in_huge_pages(void **state)
{
    struct uf_space *space = huge_space(8);

    (void)state;
    await_ready(space, 32);
    for (size_t i = 0; i < 8; i++)
        set(block(space, i) + i * 5000, (unsigned char)(i + 1));
    assert_counts(space, 8, 0, 8 * BLOCK);
    assert_int_equal(kernel_huge(space, 8), 8);
    assert_int_equal(live_stats(space).faults, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(byte_at(block(space, i) + i * 5000), i + 1);
        set(block(space, i) + i * 5000, 0);
        assert_true(is_zero(block(space, i), HUGE));
    }
    assert_int_equal(live_stats(space).faults, 8);
    destroy(space);
}

static void a_read_brings_in_a_block_of_zeros(void **state)
{
    struct uf_space *space = huge_space(1);

    (void)state;
    assert_true(is_zero(block(space, 0), HUGE));
    assert_counts(space, 1, 0, BLOCK);
    destroy(space);
}

static void a_mapping_has_it_by_madvise_and_loses_it(void **state)
{
    struct uf_space *space = space_with(0, UF_FORK_DEFAULT, NULL, 8 * BLOCK);

    (void)state;
    set(block(space, 0), 1);
    assert_counts(space, 0, 0, 1);
    assert_int_equal(
        uf_madvise(space, block(space, 1), 6 * HUGE, MADV_HUGEPAGE), 0);
    assert_int_equal(uf_madvise(space, block(space, 3), HUGE, MADV_NOHUGEPAGE),
                     0);
    for (size_t i = 1; i < 7; i++)
        set(block(space, i), 1);
    assert_counts(space, 5, 0, 2 + 5 * BLOCK);
    assert_int_equal(kernel_huge(space, 8), 5);
    destroy(space);
}

static void nohugepage_is_above_the_space(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    assert_int_equal(uf_madvise(space, block(space, 1), HUGE, MADV_NOHUGEPAGE),
                     0);
    for (size_t i = 0; i < 4; i++)
        set(block(space, i), 1);
    assert_counts(space, 3, 0, 1 + 3 * BLOCK);
    assert_int_equal(kernel_huge(space, 4), 3);
    destroy(space);
}

static void uf_space_smaps_shows_them(void **state)
{
    struct uf_space *space = huge_space(4);
    char text[4096];
    const char *line;

    (void)state;
    set(block(space, 0), 1);
    set(block(space, 2), 1);
    assert_true(uf_space_smaps(space, text, sizeof(text)) > 0);
    line = strstr(text, "AnonHugePages:");
    assert_non_null(line);
    assert_int_equal(strtoul(line + strlen("AnonHugePages:"), NULL, 10), 4096);
    destroy(space);
}

/* With no huge pages for this process, nothing is different. */
static void nothing_is_different_without_huge_pages(void **state)
{
    struct uf_space *space;

    (void)state;
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    space = huge_space(2);
    set(block(space, 0), 1);
    assert_counts(space, 0, 0, 1);
    destroy(space);
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
}

/* ----------------------------------------------------------------- edges -- */

static void only_whole_blocks_are_taken(void **state)
{
    struct uf_space *space =
        space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, NULL, 4 * BLOCK + 100);
    intptr_t p;

    (void)state;
    set(live_page(space, 4 * BLOCK), 1); /* the break is in the middle */
    assert_counts(space, 0, 0, 1);
    p = uf_mmap(space, block(space, 8) + 4096, 2 * HUGE - 4096,
                PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
    assert_int_equal(p, block(space, 8) + 4096);
    set(block(space, 8) + 8192, 1); /* begins after the block */
    assert_counts(space, 0, 0, 2);
    set(block(space, 9), 1);
    assert_counts(space, 1, 0, 2 + BLOCK);
    assert_true(uf_sbrk(space, (intptr_t)(HUGE - 100 * 4096)) > 0);
    set(live_page(space, 5 * BLOCK - 1), 1); /* a page of it is resident */
    assert_counts(space, 1, 0, 3 + BLOCK);
    destroy(space);
}

static void a_guard_keeps_a_block_away(void **state)
{
    struct uf_space *space = huge_space(2);
    int err = uf_madvise(space, block(space, 0) + HUGE / 2, page_size(),
                         MADV_GUARD_INSTALL);

    (void)state;
    if (err == 0) {
        set(block(space, 0), 1);
        set(block(space, 1), 1);
        assert_counts(space, 1, 0, 1 + BLOCK);
        assert_int_equal(live_write(block(space, 0) + HUGE / 2, 1, NULL),
                         SIGSEGV);
    }
    destroy(space);
}

static void memory_that_is_not_plainly_writable(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    assert_int_equal(uf_mprotect(space, block(space, 0), HUGE, PROT_READ), 0);
    assert_int_equal(uf_mprotect(space, block(space, 1), HUGE,
                                 PROT_READ | PROT_WRITE | PROT_EXEC),
                     0);
    assert_int_equal(byte_at(block(space, 0)), 0);
    assert_true(live_stats(space).resident < BLOCK);
    set(block(space, 1),
        1); /* cannot be moved to, and is filled all the same */
    assert_int_equal(live_stats(space).huge_installed, 0);
    assert_int_equal(live_stats(space).huge_fallback, 1);
    assert_true(is_zero(block(space, 1) + 4096, HUGE - 4096));
    destroy(space);
}

/* -------------------------------------------------------------- fallback -- */

static void an_exhausted_pool_is_made_up_for_by_copies(void **state)
{
    struct uf_space *space = huge_space(4);
    struct huge_pool *pool = background_pool(space->background);
    void *taken[64];
    size_t n = 0;

    (void)state;
    assert_non_null(pool);
    /* All of it: what the thread is filling is taken a moment later. */
    while (n < 32)
        if ((taken[n] = pool_take(pool)))
            n++;
    set(block(space, 0), 1);
    assert_counts(space, 0, 1, BLOCK);
    assert_int_equal(kernel_huge(space, 4), 0);
    assert_true(is_zero(block(space, 0) + 4096, HUGE - 4096));
    for (size_t i = 0; i < n; i++)
        pool_give_back(pool, taken[i], false);
    background_kick(space->background);
    await_ready(space, 32); /* each has been mapped anew */
    set(block(space, 1), 1);
    assert_counts(space, 1, 1, 2 * BLOCK);
    destroy(space);
}

static void a_pool_of_nothing_is_allowed(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .huge_pool_bytes = 1};
    struct uf_engine *engine;
    struct uf_space *space;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    space = space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, engine, 2 * BLOCK);
    set(block(space, 0), 1);
    assert_counts(space, 0, 1, BLOCK);
    destroy(space);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

struct rig {
    struct fake_wrap wrap;
    struct uf_engine *engine;
    struct uf_space *space;
};

static void rig_up(struct rig *rig, bool can_move)
{
    struct uf_engine_opts opts = {.size = sizeof(opts)};
    struct uffd handle;

    memset(rig, 0, sizeof(*rig));
    assert_int_equal(fake_wrap_init(&rig->wrap), 0);
    handle = fake_wrap_handle(&rig->wrap);
    handle.can_move = can_move;
    assert_int_equal(engine_create_on(&opts, &handle, &rig->engine), 0);
    rig->space =
        space_with(UF_SPACE_HUGE, UF_FORK_DEFAULT, rig->engine, 8 * BLOCK);
}

static void rig_down(struct rig *rig)
{
    destroy(rig->space);
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
}

static void a_kernel_without_move_copies(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, false);
    set(block(rig.space, 0), 1);
    assert_counts(rig.space, 0, 1, BLOCK);
    assert_int_equal(fake_script_calls(&rig.wrap.script, FAKE_MOVE), 0);
    rig_down(&rig);
}

static void what_cannot_be_moved_is_copied(void **state)
{
    const int errors[] = {-EBUSY, -EINVAL, -ENOENT, -EAGAIN, -ENOMEM};
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    for (size_t i = 0; i < 5; i++)
        fake_script_add(&rig.wrap.script,
                        (struct fake_row){FAKE_MOVE, (unsigned)i + 1, errors[i],
                                          errors[i]});
    for (size_t i = 0; i < 5; i++) {
        set(block(rig.space, i) + 7 * 4096, 9);
        assert_true(is_zero(block(rig.space, i) + 8 * 4096, HUGE - 8 * 4096));
    }
    assert_counts(rig.space, 0, 5, 5 * BLOCK);
    set(block(rig.space, 5), 1);
    assert_counts(rig.space, 1, 5, 6 * BLOCK);
    rig_down(&rig);
}

/* Part has moved; the rest does, or is copied. */
static void what_moves_in_part_is_whole_all_the_same(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 1, -EAGAIN, 100 * 4096});
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 2, -EBUSY, -EBUSY});
    set(block(rig.space, 0) + HUGE / 2, 1);
    assert_true(is_zero(block(rig.space, 0), HUGE / 2));
    assert_counts(rig.space, 0, 1, BLOCK);
    /* The slot it came from is as good as new. */
    await_ready(rig.space, 32);
    set(block(rig.space, 1), 1);
    assert_int_equal(live_stats(rig.space).huge_installed, 1);
    rig_down(&rig);
}

/* Another thread was faster, says the kernel; it was not: the page comes. */
static void a_page_that_was_said_to_be_there_comes(void **state)
{
    struct rig rig;

    (void)state;
    rig_up(&rig, true);
    fake_script_add(&rig.wrap.script,
                    (struct fake_row){FAKE_MOVE, 1, -EEXIST, -EEXIST});
    set(block(rig.space, 0) + HUGE / 2, 1);
    assert_int_equal(byte_at(block(rig.space, 0) + HUGE / 2), 1);
    assert_int_equal(byte_at(block(rig.space, 0)), 0);
    rig_down(&rig);
}

/* ------------------------------------------------------------- promotion -- */

static void complete_blocks_are_promoted(void **state)
{
    struct uf_space *space =
        space_with(UF_SPACE_HUGE | UF_SPACE_PROMOTE, UF_FORK_DEFAULT, NULL, 0);

    (void)state;
    /* A heap that grows a little at a time: no touch finds a whole block. */
    for (size_t i = 0; i < 3 * BLOCK; i += 16) {
        assert_true(uf_sbrk(space, 16 * 4096) > 0);
        for (size_t k = 0; k < 16; k++)
            set(live_page(space, i + k), (unsigned char)(i + k));
    }
    while (live_stats(space).huge_promoted < 3)
        sched_yield();
    assert_int_equal(kernel_huge(space, 3), 3);
    assert_counts(space, 0, 0, 3 * BLOCK);
    for (size_t i = 0; i < 3 * BLOCK; i++)
        assert_int_equal(byte_at(live_page(space, i)), (unsigned char)i);
    destroy(space);
}

/* ------------------------------------------------------- parts of a block -- */

static void parts_of_a_block_go(void **state)
{
    struct uf_space *space = huge_space(8);
    struct uf_stats s;
    uintptr_t half = HUGE / 2;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < BLOCK; k++)
            set(block(space, i) + k * 4096, (unsigned char)(k + i));
    assert_int_equal(uf_madvise(space, block(space, 0), half, MADV_DONTNEED),
                     0);
    assert_true(is_zero(block(space, 0), half));
    assert_int_equal(byte_at(block(space, 0) + half), 0);
    assert_int_equal(byte_at(block(space, 0) + half + 4096), 1);

    assert_int_equal(uf_munmap(space, block(space, 1) + half, half), 0);
    assert_int_equal(byte_at(block(space, 1) + half - 4096), 0);
    assert_int_equal(live_read(block(space, 1) + half, NULL, NULL), SIGSEGV);
    assert_int_equal(uf_mmap(space, block(space, 1) + half, half,
                             PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0),
                     block(space, 1) + half);
    assert_true(is_zero(block(space, 1) + half, half));

    assert_int_equal(uf_mprotect(space, block(space, 2), half, PROT_READ), 0);
    assert_int_equal(live_write(block(space, 2), 1, NULL), SIGSEGV);
    assert_int_equal(byte_at(block(space, 2)), 2);
    set(block(space, 2) + half, 77);

    assert_int_equal(uf_mlock(space, block(space, 3), half), 0);
    assert_int_equal(byte_at(block(space, 3) + 4096), 4);
    assert_int_equal(uf_munlock(space, block(space, 3), half), 0);

    assert_int_equal(uf_mremap(space, block(space, 4), half, half,
                               MREMAP_MAYMOVE | MREMAP_FIXED, block(space, 20)),
                     block(space, 20));
    assert_int_equal(byte_at(block(space, 20) + 8 * 4096), 12);
    assert_int_equal(live_read(block(space, 4), NULL, NULL), SIGSEGV);
    assert_int_equal(uf_mremap(space, block(space, 5), HUGE, HUGE,
                               MREMAP_MAYMOVE | MREMAP_FIXED, block(space, 22)),
                     block(space, 22));
    assert_int_equal(byte_at(block(space, 22) + 8 * 4096), 13);

    s = live_stats(space);
    assert_int_equal(s.resident,
                     live_mincore(uf_space_base(space), block(space, 32)));
    destroy(space);
}

/* A block that went as a whole comes back as one. */
static void a_dropped_block_is_huge_again(void **state)
{
    struct uf_space *space = huge_space(4);

    (void)state;
    for (size_t i = 0; i < 4; i++)
        set(block(space, i), 1);
    assert_int_equal(
        uf_madvise(space, block(space, 1), 2 * HUGE, MADV_DONTNEED), 0);
    assert_counts(space, 4, 0, 2 * BLOCK);
    assert_true(is_zero(block(space, 1), 2 * HUGE));
    assert_counts(space, 6, 0, 4 * BLOCK);
    assert_int_equal(kernel_huge(space, 4), 4);
    assert_true(uf_sbrk(space, -(intptr_t)(2 * HUGE)) > 0);
    assert_true(uf_sbrk(space, (intptr_t)(2 * HUGE)) > 0);
    assert_true(is_zero(block(space, 2), 2 * HUGE));
    assert_counts(space, 8, 0, 4 * BLOCK);
    destroy(space);
}

/* ------------------------------------------------------------------ fork -- */

/* `first`: the first block, since a dead handle does not tell. */
static void child(struct uf_space *space, enum uf_fork policy, uintptr_t first)
{
    alarm(60);
    if (policy == UF_FORK_NONE) {
        NEED(live_read(first, NULL, NULL) == SIGSEGV);
        _exit(0);
    }
    NEED(byte_at(block(space, 0)) == 1);
    NEED(byte_at(block(space, 1)) == 0);
    set(block(space, 2), 3);
    set(block(space, 0), 9);
    NEED(byte_at(block(space, 2) + 4096) == 0);
    if (policy == UF_FORK_ENGINE) {
        struct uf_stats s = {.size = sizeof(s)};

        do {
            NEED(uf_space_stats(space, &s) == 0);
            sched_yield();
        } while (s.huge_pool_ready < 32);
        set(block(space, 3), 1);
        NEED(uf_space_stats(space, &s) == 0);
        NEED(s.huge_installed >= 2);
    }
    NEED(uf_space_destroy(space) == 0);
    _exit(0);
}

static void fork_with(enum uf_fork policy)
{
    struct uf_space *space = space_with(UF_SPACE_HUGE, policy, NULL, 4 * BLOCK);
    uintptr_t first = block(space, 0);
    int status = -1;
    pid_t pid;

    set(first, 1);
    pid = fork();
    if (pid == 0)
        child(space, policy, first);
    /* The pool is not shared with the child: pages move all the same. */
    set(block(space, 1), 1);
    assert_int_equal(live_stats(space).huge_installed, 2);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(byte_at(block(space, 0)), 1);
    set(block(space, 3), 1);
    assert_int_equal(live_stats(space).huge_installed, 3);
    destroy(space);
}

static void forks_keep_their_promises(void **state)
{
    (void)state;
    fork_with(UF_FORK_ZERO);
    fork_with(UF_FORK_NONE);
#if !defined(__SANITIZE_THREAD__) /* no threads in forked children there */
    fork_with(UF_FORK_ENGINE);
#endif
}

/* --------------------------------------------------------------- threads -- */

#define TOUCHERS 4
#define BLOCKS   16

struct storm {
    struct uf_space *space;
    atomic_bool stop;
    atomic_uint wrong;
};

struct toucher {
    pthread_t thread;
    struct storm *storm;
    unsigned number;
};

/* Each thread has a page of every block; all meet in the block. */
static void *touch_all(void *arg)
{
    struct toucher *t = arg;

    for (unsigned round = 0; round < 4; round++)
        for (size_t i = 0; i < BLOCKS; i++) {
            uintptr_t at = block(t->storm->space, i) + t->number * 4096;

            if (round > 0 && byte_at(at) != t->number + 1)
                atomic_fetch_add(&t->storm->wrong, 1);
            set(at, (unsigned char)(t->number + 1));
        }
    return NULL;
}

/* Maps, touches and unmaps blocks, and halves of them, beside. */
static void *come_and_go(void *arg)
{
    struct storm *storm = arg;

    while (!atomic_load(&storm->stop)) {
        intptr_t p = uf_mmap(storm->space, 0, 2 * HUGE, PROT_READ | PROT_WRITE,
                             ANON, -1, 0);

        if (p <= 0)
            continue;
        set((uintptr_t)p, 1);
        set((uintptr_t)p + HUGE, 1);
        uf_munmap(storm->space, (uintptr_t)p + HUGE / 2, HUGE);
        if (byte_at((uintptr_t)p) != 1)
            atomic_fetch_add(&storm->wrong, 1);
        uf_munmap(storm->space, (uintptr_t)p, 2 * HUGE);
    }
    return NULL;
}

/* Touches what is unmapped meanwhile, if there is still anything. */
static void threads_meet_in_a_block(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .nhandlers = 3};
    struct toucher touchers[TOUCHERS];
    struct uf_engine *engine;
    struct storm storm = {.wrong = 0};
    pthread_t other;

    (void)state;
    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    storm.space = space_with(UF_SPACE_HUGE | UF_SPACE_PROMOTE, UF_FORK_DEFAULT,
                             engine, BLOCKS * BLOCK);
    assert_int_equal(pthread_create(&other, NULL, come_and_go, &storm), 0);
    for (unsigned i = 0; i < TOUCHERS; i++) {
        touchers[i] = (struct toucher){.storm = &storm, .number = i};
        assert_int_equal(
            pthread_create(&touchers[i].thread, NULL, touch_all, &touchers[i]),
            0);
    }
    for (unsigned i = 0; i < TOUCHERS; i++)
        pthread_join(touchers[i].thread, NULL);
    atomic_store(&storm.stop, true);
    pthread_join(other, NULL);
    assert_int_equal(atomic_load(&storm.wrong), 0);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_true(is_zero(block(storm.space, i) + TOUCHERS * 4096,
                            HUGE - TOUCHERS * 4096));
    assert_int_equal(
        live_stats(storm.space).resident,
        live_mincore(block(storm.space, 0), block(storm.space, 32)));
    destroy(storm.space);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_space_with_the_policy_comes_in_huge_pages),
        cmocka_unit_test(a_read_brings_in_a_block_of_zeros),
        cmocka_unit_test(a_mapping_has_it_by_madvise_and_loses_it),
        cmocka_unit_test(nohugepage_is_above_the_space),
        cmocka_unit_test(uf_space_smaps_shows_them),
        cmocka_unit_test(nothing_is_different_without_huge_pages),
        cmocka_unit_test(only_whole_blocks_are_taken),
        cmocka_unit_test(a_guard_keeps_a_block_away),
        cmocka_unit_test(memory_that_is_not_plainly_writable),
        cmocka_unit_test(an_exhausted_pool_is_made_up_for_by_copies),
        cmocka_unit_test(a_pool_of_nothing_is_allowed),
        cmocka_unit_test(a_kernel_without_move_copies),
        cmocka_unit_test(what_cannot_be_moved_is_copied),
        cmocka_unit_test(what_moves_in_part_is_whole_all_the_same),
        cmocka_unit_test(a_page_that_was_said_to_be_there_comes),
        cmocka_unit_test(complete_blocks_are_promoted),
        cmocka_unit_test(parts_of_a_block_go),
        cmocka_unit_test(a_dropped_block_is_huge_again),
        cmocka_unit_test(forks_keep_their_promises),
        cmocka_unit_test(threads_meet_in_a_block),
    };
    struct uffd uffd;
    int skip = live_begin();
    bool can_move;

    if (skip)
        return skip;
    if (engine_open_uffd(0, UF_ENGINE_THREAD, &uffd) != 0)
        return 77;
    can_move = uffd.can_move;
    uffd_close(&uffd);
    if (!can_move || !pool_is_of_use()) {
        printf("skipped: no UFFDIO_MOVE, or no huge pages\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
