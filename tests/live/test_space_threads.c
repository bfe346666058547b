/* SPDX-License-Identifier: MIT */
/*
 * One break, many threads: increments never overlap, and a break that moves up
 * and down under touching threads gives them zeros or SIGSEGV, never the bytes
 * of a page that had gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/live.h"

/* ------------------------------------------------------------------- sbrk --
 */

enum { SBRK_THREADS = 4, SBRK_CALLS = 1500 };

struct taker {
    struct uf_space *space;
    unsigned char tag;
    uintptr_t start[SBRK_CALLS];
    size_t len[SBRK_CALLS];
    unsigned failures;
};

static void *take_memory(void *arg)
{
    struct taker *t = arg;
    uint32_t random = t->tag;

    for (size_t i = 0; i < SBRK_CALLS; i++) {
        intptr_t got;

        random = random * 1664525u + 1013904223u;
        t->len[i] = 1 + (random >> 16) % 600;
        got = uf_sbrk(t->space, (intptr_t)t->len[i]);
        if (got <= 0) {
            t->failures++;
            t->len[i] = 0;
            continue;
        }
        t->start[i] = (uintptr_t)got;
        memset((void *)t->start[i], t->tag, t->len[i]);
    }
    return NULL;
}

static bool all_bytes_are(uintptr_t start, size_t len_bytes, unsigned char tag)
{
    const unsigned char *p = (const unsigned char *)start;

    for (size_t i = 0; i < len_bytes; i++)
        if (p[i] != tag)
            return false;
    return true;
}

/* Each thread fills what it was given; had two been given the same byte, one
 * of them would find the other's. */
static void increments_never_overlap(void **state)
{
    static struct taker takers[SBRK_THREADS];
    struct uf_space *space = live_space(NULL, 0);
    pthread_t threads[SBRK_THREADS];
    size_t total = 0;

    (void)state;
    for (size_t i = 0; i < SBRK_THREADS; i++) {
        takers[i] =
            (struct taker){.space = space, .tag = (unsigned char)(i + 1)};
        assert_int_equal(
            pthread_create(&threads[i], NULL, take_memory, &takers[i]), 0);
    }
    for (size_t i = 0; i < SBRK_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(takers[i].failures, 0);
    }
    for (size_t i = 0; i < SBRK_THREADS; i++) {
        for (size_t k = 0; k < SBRK_CALLS; k++) {
            total += takers[i].len[k];
            assert_true(all_bytes_are(takers[i].start[k], takers[i].len[k],
                                      takers[i].tag));
        }
    }
    assert_true(uf_brk(space, 0) == uf_space_base(space) + total);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* ---------------------------------------------------------- up, down, touch --
 */

enum {
    TOUCHERS = 3,
    PAGES = 24, /* the break's highest */
    FLOOR = 4,  /* pages that never go */
    MOVES = 30,
    RUNS = 200
};

/*
 * A word of a page names who wrote it and when: thread and ticket. A thread
 * publishes its ticket before it writes; so what was written with a ticket
 * below the published one was complete when the mover looked, and may not be
 * there after the page has gone and come back.
 */
struct toucher {
    struct arena *arena;
    unsigned id;
    _Atomic uint64_t ticket;
    unsigned wrong_signals;
    unsigned wrong_words;
    unsigned segvs;
};

struct arena {
    struct uf_space *space;
    atomic_bool stop;
    struct toucher touchers[TOUCHERS];
};

static _Thread_local sigjmp_buf escape;
static _Thread_local int escaped_code;

static void on_segv(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    escaped_code = info->si_code;
    siglongjmp(escape, 1);
}

static uint64_t word_of(unsigned id, size_t page, uint64_t ticket)
{
    return ((uint64_t)(id + 1) << 56) | ((uint64_t)page << 48) | ticket;
}

static bool word_is_of_page(uint64_t word, size_t page)
{
    return word == 0 || (((word >> 48) & 0xff) == page && (word >> 56) >= 1 &&
                         (word >> 56) <= TOUCHERS);
}

/* Reads the page's word, then writes the thread's own. */
static void touch_page(struct toucher *t, size_t page, uint64_t ticket)
{
    uint64_t *word = (uint64_t *)live_page(t->arena->space, page) + t->id * 8;
    uint64_t seen;

    if (sigsetjmp(escape, 1) != 0) {
        t->segvs++;
        if (page < FLOOR || escaped_code != SEGV_ACCERR)
            t->wrong_signals++;
        return;
    }
    seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (!word_is_of_page(seen, page))
        t->wrong_words++;
    __atomic_store_n(word, word_of(t->id, page, ticket), __ATOMIC_RELAXED);
}

static void *touch_about(void *arg)
{
    struct toucher *t = arg;
    uint32_t random = t->id + 1;

    while (!atomic_load(&t->arena->stop)) {
        uint64_t ticket = atomic_load(&t->ticket) + 1;

        atomic_store(&t->ticket, ticket);
        random = random * 1664525u + 1013904223u;
        touch_page(t, (random >> 16) % PAGES, ticket);
    }
    return NULL;
}

/* Words in [first, end) that were complete before `tickets` were read. */
static unsigned stale_words(const struct arena *arena, size_t first, size_t end,
                            const uint64_t *tickets)
{
    unsigned stale = 0;

    for (size_t page = first; page < end; page++) {
        for (unsigned id = 0; id < TOUCHERS; id++) {
            uint64_t *word = (uint64_t *)live_page(arena->space, page) + id * 8;
            uint64_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);

            if (!word_is_of_page(seen, page) ||
                (seen != 0 && (seen & 0xffffffffffff) < tickets[id]))
                stale++;
        }
    }
    return stale;
}

static unsigned move_break(struct arena *arena, uint32_t *random)
{
    uintptr_t base = uf_space_base(arena->space);
    uint64_t tickets[TOUCHERS];
    unsigned stale = 0;

    for (int i = 0; i < MOVES; i++) {
        size_t low;

        *random = *random * 1664525u + 1013904223u;
        low = FLOOR + (*random >> 16) % (PAGES - FLOOR);
        for (unsigned id = 0; id < TOUCHERS; id++)
            tickets[id] = atomic_load(&arena->touchers[id].ticket);
        if (uf_brk(arena->space, base + low * page_size()) !=
                base + low * page_size() ||
            uf_brk(arena->space, base + PAGES * page_size()) !=
                base + PAGES * page_size())
            return 1000;
        stale += stale_words(arena, low, PAGES, tickets);
    }
    return stale;
}

static void catch_segv(void)
{
    struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
}

static void run_once(uint32_t seed, struct uf_engine *engine)
{
    static const uint32_t windows[] = {1, 4, 64};
    struct uf_space_opts opts = {.engine = engine,
                                 .window_pages = windows[seed % 3]};
    struct arena arena = {.space = live_space(&opts, PAGES)};
    pthread_t threads[TOUCHERS];
    uint32_t random = seed;

    for (unsigned i = 0; i < TOUCHERS; i++) {
        arena.touchers[i].arena = &arena;
        arena.touchers[i].id = i;
        assert_int_equal(
            pthread_create(&threads[i], NULL, touch_about, &arena.touchers[i]),
            0);
    }
    assert_int_equal(move_break(&arena, &random), 0);
    atomic_store(&arena.stop, true);
    for (unsigned i = 0; i < TOUCHERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(arena.touchers[i].wrong_signals, 0);
        assert_int_equal(arena.touchers[i].wrong_words, 0);
    }
    assert_int_equal(live_stats(arena.space).resident,
                     live_mincore(uf_space_base(arena.space),
                                  live_page(arena.space, PAGES)));
    live_assert_law(arena.space);
    assert_int_equal(uf_space_destroy(arena.space), 0);
}

static void a_moving_break_under_touches(void **state)
{
    struct uf_engine *engine;

    (void)state;
    catch_segv();
    assert_int_equal(uf_engine_create(NULL, &engine), 0);
    for (uint32_t seed = 1; seed <= RUNS; seed++)
        run_once(seed, engine);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(increments_never_overlap),
        cmocka_unit_test(a_moving_break_under_touches),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("space threads", tests, NULL, NULL);
}
