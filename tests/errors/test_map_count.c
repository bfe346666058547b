/* SPDX-License-Identifier: MIT */
/*
 * vm.max_map_count is reached: a child fills its map with pages of alternating
 * protection. What needs one more mapping is refused with a documented errno;
 * spaces that exist go on: their heap is a boundary that moves, not a mapping
 * more.
 *
 * The comments "provokes: FUNCTION -ERRNO ..." are read by
 * tests/build/errno-coverage.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"

#define COUNT_MAX ((size_t)1 << 20) /* more than that is not filled */

#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: not true\n", __FILE__, __LINE__,       \
                    #condition);                                               \
            return 1;                                                          \
        }                                                                      \
    } while (0)

static size_t max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    size_t n = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%zu", &n) != 1)
        n = 0;
    fclose(file);
    return n;
}

static char *filler;
static size_t filler_bytes;

/* Every second page readable, until the kernel has no mapping left. */
static int fill_map(void)
{
    size_t page = page_size();

    filler_bytes = (max_map_count() + 2) * page;
    filler = mmap(NULL, filler_bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(filler != MAP_FAILED);
    for (size_t at = page; at + page < filler_bytes; at += 2 * page) {
        if (mprotect(filler + at, page, PROT_READ) == 0)
            continue;
        NEED(errno == ENOMEM);
        /* An interior page is two mappings more; an end is one. */
        mprotect(filler + filler_bytes - page, page, PROT_READ);
        return 0;
    }
    return 1;
}

static int empty_map(void)
{
    return munmap(filler, filler_bytes);
}

static struct uf_space_opts small_opts(struct uf_engine *engine)
{
    return (struct uf_space_opts){.size = sizeof(struct uf_space_opts),
                                  .len_bytes = (size_t)1 << 20,
                                  .engine = engine,
                                  .window_pages = 1};
}

static int existing_space_goes_on(struct uf_space *space)
{
    size_t page = page_size();
    uintptr_t base = uf_space_base(space);
    unsigned char byte;

    NEED(uf_brk(space, base + 64 * page) == base + 64 * page);
    for (size_t i = 4; i < 64; i++)
        NEED(live_write(base + i * page, (unsigned char)i, NULL) == 0);
    NEED(uf_brk(space, base + 5 * page) == base + 5 * page);
    NEED(live_read(base + 5 * page, NULL, NULL) == SIGSEGV);
    NEED(uf_brk(space, base + 6 * page) == base + 6 * page);
    NEED(live_read(base + 5 * page, &byte, NULL) == 0 && byte == 0);
    NEED(live_read(base + 4 * page, &byte, NULL) == 0 && byte == 4);
    NEED(live_read(base, &byte, NULL) == 0 && byte == 9);
    return 0;
}

/* Needs a mapping more for its first page; may find one, or change nothing. */
static int empty_space_is_as_before(struct uf_space *space)
{
    uintptr_t base = uf_space_base(space);
    uintptr_t now = uf_brk(space, base + page_size());

    if (now == base) {
        NEED(live_stats(space).map_count == 0);
        NEED(live_read(base, NULL, NULL) == SIGSEGV);
        NEED(uf_sbrk(space, 1) == -ENOMEM);
        return 0;
    }
    NEED(now == base + page_size());
    return live_read(base, NULL, NULL);
}

static int refuse_new_ones(struct uf_engine *engine)
{
    struct uf_space_opts opts = small_opts(engine);
    struct uf_space *space = NULL;
    struct uf_engine *own = NULL;
    size_t fds = live_count_fds();
    int err;

    NEED(uf_space_create(&opts, &space) == -ENOMEM && !space);
    opts.engine = NULL;
    err = uf_space_create(&opts, &space);
    NEED((err == -ENOMEM || err == -EAGAIN) && !space);
    err = uf_engine_create(NULL, &own);
    NEED((err == -ENOMEM || err == -EAGAIN) && !own);
    NEED(live_count_fds() == fds);
    return 0;
}

static int body(void)
{
    struct uf_space_opts opts = small_opts(NULL);
    struct uf_space *used, *empty, *later = NULL;

    NEED(uf_engine_create(NULL, &opts.engine) == 0);
    NEED(uf_space_create(&opts, &empty) == 0);
    NEED(uf_space_create(&opts, &used) == 0);
    NEED(uf_sbrk(used, (intptr_t)(4 * page_size())) > 0);
    NEED(live_write(uf_space_base(used), 9, NULL) == 0);
    NEED(live_count_fds() > 0);

    NEED(fill_map() == 0);
    NEED(existing_space_goes_on(used) == 0);
    NEED(refuse_new_ones(opts.engine) == 0);
    NEED(empty_space_is_as_before(empty) == 0);
    NEED(existing_space_goes_on(used) == 0);
    NEED(uf_space_destroy(empty) == 0);
    NEED(uf_space_destroy(used) == 0);
    NEED(empty_map() == 0);

    NEED(uf_space_create(&opts, &later) == 0);
    NEED(uf_sbrk(later, 1) > 0);
    NEED(live_read(uf_space_base(later), NULL, NULL) == 0);
    NEED(uf_space_destroy(later) == 0);
    return uf_engine_destroy(opts.engine);
}

/* provokes: uf_space_create -ENOMEM
 * provokes: uf_sbrk -ENOMEM */
static void the_map_count_is_reached(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (max_map_count() == 0 || max_map_count() > COUNT_MAX) {
        print_message("vm.max_map_count is %zu\n", max_map_count());
        skip();
    }
    if (LIVE_SANITIZED) {
        print_message("a sanitizer dies without mappings of its own\n");
        skip();
    }
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_count_is_reached),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("map count", tests, NULL, NULL);
}
