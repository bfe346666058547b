/* SPDX-License-Identifier: MIT */
/*
 * Engines with several descriptors: a space that lies in several parts is the
 * same space, and who waits in one part does not wait for another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "lib/live.h"
#include "ufault/mman.h"

#define PARTS    4
#define PART_LEN ((size_t)4 << 20)
#define LEN      (PARTS * PART_LEN)

static struct uf_engine *engine_of(uint32_t ndescriptors)
{
    struct uf_engine_opts opts = {.size = sizeof(opts),
                                  .ndescriptors = ndescriptors};
    struct uf_engine *engine;

    assert_int_equal(uf_engine_create(&opts, &engine), 0);
    return engine;
}

static size_t all_pages(void)
{
    return LEN / page_size();
}

/* 16 MiB in parts of four. */
static struct uf_space *space_in_parts(struct uf_space_opts *opts,
                                       size_t npages)
{
    opts->len_bytes = LEN;
    opts->address = live_aligned_address();
    opts->engine = engine_of(PARTS);
    return live_space(opts, npages);
}

static void end(struct uf_space *space)
{
    struct uf_engine *engine = uf_space_engine(space);

    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_destroy(engine), 0);
}

static size_t part_page(size_t part)
{
    return part * PART_LEN / page_size();
}

/* Every page comes in once, whatever the window, streams over bounds included. */
static void every_page_comes_in_once(void **state)
{
    const uint32_t windows[] = {0, 1, 7, 512};

    (void)state;
    for (size_t w = 0; w < 4; w++) {
        struct uf_space_opts opts = {.window_pages = windows[w]};
        struct uf_space *space = space_in_parts(&opts, all_pages());

        for (size_t i = 0; i < all_pages(); i++)
            assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
        assert_int_equal(live_stats(space).pages_installed, all_pages());
        assert_int_equal(live_mincore(opts.address, opts.address + LEN),
                         all_pages());
        end(space);
    }
}

struct toucher {
    pthread_t thread;
    struct uf_space *space;
    size_t first, step, count;
    int signo;
};

static void *touch(void *arg)
{
    struct toucher *t = arg;

    for (size_t n = 0, i = t->first; n < t->count && !t->signo;
         n++, i = (i + t->step) % all_pages())
        t->signo = live_write(live_page(t->space, i), 1, NULL);
    return NULL;
}

/* Threads go through all parts at once, meeting each other. */
static void threads_touch_all_parts(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct uf_space_opts opts = {.window_pages = round % 2 ? 1 : 0};
        struct uf_space *space = space_in_parts(&opts, all_pages());
        struct toucher t[PARTS];

        for (size_t i = 0; i < PARTS; i++) {
            t[i] = (struct toucher){.space = space,
                                    .first = part_page(i),
                                    .step = 1 + 2 * i,
                                    .count = all_pages()};
            pthread_create(&t[i].thread, NULL, touch, &t[i]);
        }
        for (size_t i = 0; i < PARTS; i++) {
            pthread_join(t[i].thread, NULL);
            assert_int_equal(t[i].signo, 0);
        }
        assert_int_equal(live_stats(space).resident, all_pages());
        assert_int_equal(live_stats(space).pages_installed, all_pages());
        end(space);
    }
}

static ssize_t block_in_part_0(struct live_pager *p, const struct uf_fill *r)
{
    if (r->offset < PART_LEN)
        live_gate_pass(p->arg);
    return live_fill(r, r->len_bytes);
}

/* As many fills block as one part's handlers allow; the other parts' pages are
 * filled meanwhile. */
static void a_part_does_not_wait_for_another(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space;
    struct toucher t[3];
    struct live_pager p;
    unsigned char byte;

    (void)state;
    live_pager_init(&p, block_in_part_0, &gate);
    opts.heap_pager = p.pager;
    space = space_in_parts(&opts, all_pages());
    for (size_t i = 0; i < 3; i++) {
        t[i] = (struct toucher){
            .space = space, .first = 10 * i, .step = 1, .count = 1};
        pthread_create(&t[i].thread, NULL, touch, &t[i]);
    }
    live_gate_await(&gate, 1);
    while (live_stats(space).pending < 3)
        ;
    for (size_t part = 1; part < PARTS; part++) {
        uintptr_t page = live_page(space, part_page(part));

        assert_int_equal(live_read(page, &byte, NULL), 0);
        assert_true(live_is_pattern(space, page, page_size()));
    }
    assert_int_equal(live_stats(space).pending, 3);
    live_gate_open(&gate);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(t[i].thread, NULL);
        assert_int_equal(t[i].signo, 0);
    }
    end(space);
    uf_pager_unref(p.pager);
}

/* Mappings lie over bounds, move over them and go, like any others. */
static void mappings_span_parts(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = space_in_parts(&opts, 0);
    uintptr_t base = uf_space_base(space);
    uintptr_t from = base + PART_LEN - 8 * page_size();
    uintptr_t to = base + 3 * PART_LEN - 3 * page_size();
    size_t len = 16 * page_size();
    unsigned char byte = 1;

    (void)state;
    assert_int_equal(uf_mmap(space, from, len, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     from);
    for (size_t i = 0; i < 16; i += 2)
        assert_int_equal(
            live_write(from + i * page_size(), (unsigned char)(i + 1), NULL),
            0);
    assert_int_equal(
        uf_mremap(space, from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to),
        to);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(live_read(to + i * page_size(), &byte, NULL), 0);
        assert_int_equal(byte, i % 2 ? 0 : i + 1);
        assert_int_equal(live_read(from + i * page_size(), &byte, NULL),
                         SIGSEGV);
    }
    assert_int_equal(uf_madvise(space, to, len, MADV_DONTNEED), 0);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(live_read(to + i * page_size(), &byte, NULL), 0);
        assert_int_equal(byte, 0);
    }
    assert_int_equal(uf_munmap(space, to, len), 0);
    assert_int_equal(live_read(to, &byte, NULL), SIGSEGV);
    assert_int_equal(live_mincore(base, base + LEN), 0);
    end(space);
}

/* A child with an engine of its own has as many descriptors. */
static void a_child_is_served_in_all_parts(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1, .fork = UF_FORK_ENGINE};
    struct uf_space *space;
    int status = 0;
    pid_t child;

    (void)state;
    if (LIVE_SANITIZED) /* threads in a forked child: see test_fork.c */
        skip();
    space = space_in_parts(&opts, all_pages());
    for (size_t part = 0; part < PARTS; part++)
        assert_int_equal(live_write(live_page(space, part_page(part)), 5, NULL),
                         0);
    child = fork();
    if (child == 0) {
        bool good = true;
        unsigned char byte;

        alarm(60);
        for (size_t part = 0; part < PARTS; part++) {
            uintptr_t page = live_page(space, part_page(part));

            good &= live_read(page, &byte, NULL) == 0 && byte == 5;
            good &= live_write(page + page_size(), 6, NULL) == 0;
        }
        good &= live_stats(space).pages_installed == 2 * PARTS;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    end(space);
}

/* With descriptors for some of them only there is no engine, and nothing of it
 * is left. */
static void without_descriptors_for_all_there_is_none(void **state)
{
    struct uf_engine_opts opts = {.size = sizeof(opts), .ndescriptors = 8};
    size_t fds = live_count_fds(), live = slab_live_everywhere();
    struct rlimit before, few;
    struct uf_engine *engine;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = fds + 5;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(uf_engine_create(&opts, &engine), -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(live_count_fds(), fds);
    assert_int_equal(slab_live_everywhere(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_comes_in_once),
        cmocka_unit_test(threads_touch_all_parts),
        cmocka_unit_test(a_part_does_not_wait_for_another),
        cmocka_unit_test(mappings_span_parts),
        cmocka_unit_test(a_child_is_served_in_all_parts),
        cmocka_unit_test(without_descriptors_for_all_there_is_none),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("channels", tests, NULL, NULL);
}
