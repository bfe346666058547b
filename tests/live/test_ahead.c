/* SPDX-License-Identifier: MIT */
/*
 * A working set comes in while its guest runs: whatever happens meanwhile, a
 * page has its own bytes or SIGBUS, nothing is waited for for ever, and nobody
 * is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/reader.h"
#include "lib/guest.h"
#include "lib/image_file.h"
#include "lib/live.h"

#define SET      700u
#define NTHREADS 3u
#define READS    400000u

static uint64_t pages[SET];

static int group_set_up(void **state)
{
    if (guest_set_up(state) != 0)
        return -1;
    guest_draw(7, pages, SET);
    guest_save_with(pages, SET);
    return 0;
}

struct reader {
    struct uf_space *space;
    uint64_t seed;
    size_t reads;
    size_t wrong;
};

static void *read_at_random(void *arg)
{
    struct reader *r = arg;

    for (size_t i = 0; i < r->reads; i++) {
        r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
        r->wrong +=
            !guest_read_is_right(r->space, (r->seed >> 33) % GUEST_PAGES);
    }
    return NULL;
}

/* Each space and thread: `reads` of them. */
static void read_all(struct uf_space **spaces, size_t nspaces, size_t reads)
{
    struct reader readers[8];
    pthread_t threads[8];
    size_t n = nspaces * NTHREADS;

    for (size_t i = 0; i < n; i++) {
        readers[i] = (struct reader){spaces[i % nspaces], i + 1, reads, 0};
        assert_int_equal(
            pthread_create(&threads[i], NULL, read_at_random, &readers[i]), 0);
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].wrong, 0);
    }
}

static void reads_while_it_comes(void **state)
{
    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        struct uf_space *space = guest_start(guest_other, 0);

        read_all(&space, 1, turn ? READS / 20 : READS);
        guest_await_ahead(space);
        for (uint64_t n = 0; n < GUEST_PAGES; n++)
            assert_true(guest_page_is_right(space, n));
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* Of one image, on one engine. The image is closed meanwhile (guest_start). */
static void two_spaces_at_once(void **state)
{
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .kind = live_engine_kind()};
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_space *spaces[2];
    struct uf_image *image;

    (void)state;
    assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
    assert_int_equal(uf_image_open(guest_other, &image), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(uf_space_from_image(image, &opts, &spaces[i]), 0);
    uf_image_close(image);
    read_all(spaces, 2, READS / 20);
    for (int i = 0; i < 2; i++) {
        struct uf_working_set_report r;

        guest_await_ahead(spaces[i]);
        r = guest_report(spaces[i]);
        assert_true(r.ahead + r.late <= SET);
        assert_int_equal(uf_space_destroy(spaces[i]), 0);
    }
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* The guest drops, unmaps and maps anew what is to come. */
static void what_changes_meanwhile(void **state)
{
    (void)state;
    for (uint32_t turn = 0; turn < 10; turn++) {
        struct uf_space *space = guest_start(guest_other, 0);
        uintptr_t at = live_page(space, 100 + turn * 20);
        size_t len = 40 * page_size();
        intptr_t map;

        assert_int_equal(uf_madvise(space, live_page(space, 0),
                                    50 * page_size(), MADV_DONTNEED),
                         0);
        assert_int_equal(uf_munmap(space, at, len), 0);
        map = uf_mmap(space, at, len, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        assert_int_equal(map, (intptr_t)at);
        guest_await_ahead(space);
        for (uint64_t n = 0; n < GUEST_PAGES; n++) {
            uintptr_t page = live_page(space, n);

            if (page - at < len)
                assert_int_equal(*(volatile char *)page, 0);
            else
                assert_true(guest_page_is_right(space, n));
        }
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

static void destroyed_while_it_comes(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 40; turn++) {
        struct uf_space *space = guest_start(guest_other, 0);

        for (unsigned i = 0; i < turn; i++)
            assert_true(guest_read_is_right(space, pages[i * 7]));
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* A child with an engine of its own has what was there, and the rest as it is
 * touched. Nothing comes ahead in it. */
static void forked_while_it_comes(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .fork = UF_FORK_ENGINE,
                                 .engine_kind = live_engine_kind()};
    struct uf_image *image;

    (void)state;
    if (LIVE_SANITIZED) /* which may not start threads in a forked child */
        skip();
    assert_int_equal(uf_image_open(guest_other, &image), 0);
    for (unsigned turn = 0; turn < 10; turn++) {
        struct uf_space *space;
        int status;
        pid_t pid;

        assert_int_equal(uf_space_from_image(image, &opts, &space), 0);
        assert_true(guest_read_is_right(space, pages[turn * 50]));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct uf_working_set_report r = {.size = sizeof(r)};
            struct uf_working_set *set;
            bool right = true;

            for (uint64_t n = 0; n < GUEST_PAGES; n++)
                right = right && guest_page_is_right(space, n);
            /* And it may have a set of its own. */
            right = right && uf_working_set_report(space, &r) == 0 &&
                    uf_working_set_create(pages, SET, &set) == 0 &&
                    uf_working_set_ahead(space, set, 0) == 0 &&
                    uf_space_destroy(space) == 0;
            _exit(right ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        guest_await_ahead(space);
        for (uint64_t n = 0; n < GUEST_PAGES; n++)
            assert_true(guest_page_is_right(space, n));
        assert_int_equal(uf_space_destroy(space), 0);
    }
    uf_image_close(image);
}

/* Changes a byte of the chunk that holds the first pages of the set; how many
 * pages that is. */
static uint64_t damage_first_chunk(const char *path)
{
    struct uf_image *image;
    uint64_t chunk, npages;
    int fd = open(path, O_RDWR);

    assert_int_equal(uf_image_open(path, &image), 0);
    chunk = image_first_ahead(&image->header) * page_size() /
            image->header.chunk_bytes;
    npages = image_chunk_pages(&image->header, chunk);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    image_file_put(fd, image->index.chunks[chunk].offset + 8, 0xa5);
    close(fd);
    uf_image_close(image);
    return npages;
}

/* Its pages alone cannot be had, and that is found at their touch: who brings
 * them in ahead says nothing. */
static void damage_is_sigbus_at_the_touch(void **state)
{
    /* Its engine finds the handlers of live_read in place. */
    struct uf_space *first = live_space(NULL, 0), *space;
    uint64_t ndamaged, sigbus = 0;

    (void)state;
    ndamaged = damage_first_chunk(guest_other);
    space = guest_start(guest_other, 0);
    guest_await_ahead(space);
    assert_int_equal(live_stats(space).refused, 0);
    for (uint64_t n = 0; n < GUEST_PAGES; n++) {
        int got = live_read(live_page(space, n), NULL, NULL);

        assert_true(got == 0 || got == SIGBUS);
        if (got == SIGBUS)
            sigbus++;
        else
            assert_true(guest_page_is_right(space, n));
    }
    assert_int_equal(sigbus, ndamaged);
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_space_destroy(first), 0);
    guest_save_with(pages, SET);
}

/* ---- any space: not from an image alone ---- */

static ssize_t wait_at_gate(struct live_pager *p, const struct uf_fill *request)
{
    live_gate_pass(p->arg);
    return live_fill(request, request->len_bytes);
}

/* provokes: uf_working_set_ahead -EBUSY */
static void one_set_at_a_time(void **state)
{
    struct live_gate gate = LIVE_GATE_INIT;
    struct uf_space *space = live_space(NULL, 0);
    struct uf_working_set *set;
    struct live_pager p;
    const uint64_t few[] = {2, 1, 3, 900000};
    intptr_t at;

    (void)state;
    live_pager_init(&p, wait_at_gate, &gate);
    at = uf_mmap_pager(space, uf_space_base(space), 8 * page_size(),
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, p.pager,
                       0);
    assert_int_equal(at, (intptr_t)uf_space_base(space));
    assert_int_equal(uf_working_set_create(few, 4, &set), 0);
    assert_int_equal(uf_working_set_ahead(space, set, 0), 0);
    live_gate_await(&gate, 1);
    assert_int_equal(uf_working_set_ahead(space, set, 0), -EBUSY);
    live_gate_open(&gate);
    guest_await_ahead(space);
    assert_int_equal(guest_report(space).pages, 3);
    assert_int_equal(guest_report(space).ahead, 3);
    assert_true(live_is_pattern(space, live_page(space, 1), 3 * page_size()));
    assert_int_equal(live_stats(space).faults, 0);
    while (uf_working_set_ahead(space, set, 0) == -EBUSY)
        sched_yield();
    uf_working_set_destroy(set);
    uf_pager_unref(p.pager);
    assert_int_equal(uf_space_destroy(space), 0);
}

struct caller {
    struct uf_space *space;
    atomic_bool right;
};

/* provokes: uf_working_set_record -EDEADLK
 * provokes: uf_working_set_stop -EDEADLK
 * provokes: uf_working_set_ahead -EDEADLK
 * provokes: uf_working_set_report -EDEADLK */
static ssize_t call_from_fill(struct live_pager *p,
                              const struct uf_fill *request)
{
    struct uf_working_set_report r = {.size = sizeof(r)};
    struct caller *caller = p->arg;
    struct uf_space *space = caller->space;
    struct uf_working_set *set;
    uint64_t page = 0;

    if (uf_working_set_create(&page, 1, &set) == 0) {
        caller->right = uf_working_set_record(space) == -EDEADLK &&
                        uf_working_set_stop(space, NULL) == -EDEADLK &&
                        uf_working_set_ahead(space, set, 0) == -EDEADLK &&
                        uf_working_set_report(space, &r) == -EDEADLK;
        uf_working_set_destroy(set);
    }
    return live_fill(request, request->len_bytes);
}

static void not_from_a_pager(void **state)
{
    struct uf_space *space = live_space(NULL, 0);
    struct caller caller = {.space = space};
    struct live_pager p;
    intptr_t at;

    (void)state;
    live_pager_init(&p, call_from_fill, &caller);
    at = uf_mmap_pager(space, 0, page_size(), PROT_READ, MAP_PRIVATE, p.pager,
                       0);
    assert_true(at > 0);
    assert_int_equal(live_read((uintptr_t)at, NULL, NULL), 0);
    assert_true(caller.right);
    uf_pager_unref(p.pager);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* provokes: uf_working_set_ahead -EAGAIN */
static void not_without_an_engine(void **state)
{
    struct uf_space *space = live_space(NULL, 8);
    struct uf_working_set *set;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(uf_working_set_create(pages, 1, &set), 0);
    pid = fork();
    if (pid == 0)
        _exit(uf_working_set_ahead(space, set, 0) == -EAGAIN ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    uf_working_set_destroy(set);
    assert_int_equal(uf_space_destroy(space), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_while_it_comes),
        cmocka_unit_test(two_spaces_at_once),
        cmocka_unit_test(what_changes_meanwhile),
        cmocka_unit_test(destroyed_while_it_comes),
        cmocka_unit_test(forked_while_it_comes),
        cmocka_unit_test(damage_is_sigbus_at_the_touch),
        cmocka_unit_test(one_set_at_a_time),
        cmocka_unit_test(not_from_a_pager),
        cmocka_unit_test(not_without_an_engine),
    };
    int skip = live_begin();

    if (skip)
        return skip;
    return cmocka_run_group_tests(tests, group_set_up, guest_tear_down);
}
