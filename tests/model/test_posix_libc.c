/* SPDX-License-Identifier: MIT */
/*
 * uf_posix_* answer as libc's functions do: random calls, good and bad, on an
 * arena of the default space and on one of the kernel's with the same history.
 * Return value (addresses: as distance from the arena) and errno are the same,
 * and so is, page by page, what is mapped.
 *
 *     base                                      end
 *      [================ space ==================]
 *   AAAAAA                AAAAAA              AAAAAA
 *
 * Across the ends half of the arena is outside, and calls are split.
 * UFAULT_POSIX_SEED chooses others; a difference prints the call and its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/family.h"
#include "lib/live.h"
#include "model/posix_calls.h"
#include "ufault/posix.h"

#define NCALLS     10000
#define LOOK_EVERY 16

/* ------------------------------------------------------------- two arenas --
 */

static uintptr_t arena[2]; /* libc's, ours; free beyond on both sides */
static const struct family *const sides[2] = {&family_libc, &family_posix};
static struct posix_files files;

static void make_space(void)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = (size_t)256 << 20,
                                 .window_pages = 1};
    struct uf_space *space;

    opts.address = live_aligned_address() + ((size_t)128 << 20);
    assert_int_equal(uf_space_create(&opts, &space), 0);
    assert_int_equal(uf_posix_set_space(space), 0);
    arena[0] = live_aligned_address() + ((size_t)64 << 20);
}

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags);

    assert_true(fd >= 0);
    return fd;
}

static void make_files(void)
{
    char path[64];

    files.rw = memfd_create("posix", MFD_CLOEXEC);
    assert_true(files.rw >= 0);
    assert_int_equal(ftruncate(files.rw, (off_t)(FILE_PAGES * page_size())), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", files.rw);
    files.ro = open_file(path, O_RDONLY | O_CLOEXEC);
    files.wo = open_file(path, O_WRONLY | O_CLOEXEC);
    files.folder = open_file("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    files.gone = 999;
}

/* ---------------------------------------------------------------- playing --
 */

/* An address as distance from the arena. What a side chose by itself goes
 * again, as it is not the same on both. */
static struct answer place(int i, const struct posix_call *c, void *p,
                           bool chosen)
{
    struct answer a = answer_of((intptr_t)p);

    if (a.error)
        return a;
    a.value -= (intptr_t)arena[i];
    if (chosen &&
        (a.value < 0 || a.value >= (intptr_t)(ARENA_PAGES * page_size()))) {
        sides[i]->munmap(p, c->kind == CALL_MMAP ? c->len : c->new_len);
        a.value = -1;
    }
    return a;
}

static struct answer play_mmap(int i, const struct posix_call *c)
{
    bool fixed = (c->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    void *hint = fixed ? (void *)(arena[i] + (uintptr_t)c->at) : NULL;
    void *p = sides[i]->mmap(hint, c->len, c->how, c->flags, c->fd, c->offset);
    struct answer a = answer_of((intptr_t)p);

    if (fixed || a.error)
        return place(i, c, p, false);
    /* Found by each in a place of its own. */
    assert_int_equal(sides[i]->munmap(p, c->len), 0);
    return (struct answer){0, -1};
}

static struct answer play(int i, const struct posix_call *c)
{
    static unsigned char vec[ARENA_PAGES + 1];
    const struct family *f = sides[i];
    void *at = (void *)(arena[i] + (uintptr_t)c->at);
    void *to = (void *)(arena[i] + (uintptr_t)c->to);

    errno = 0;
    switch (c->kind) {
    case CALL_MMAP:
        return play_mmap(i, c);
    case CALL_MUNMAP:
        return answer_of(f->munmap(at, c->len));
    case CALL_MPROTECT:
        return answer_of(f->mprotect(at, c->len, c->how));
    case CALL_MREMAP:
        /* DONTUNMAP's new address is a hint: none, so that both are free. Of
         * locked memory it unlocks, in the kernel, more than it moves. */
        if (!(c->flags & MREMAP_FIXED))
            to = NULL;
        if (c->flags & MREMAP_DONTUNMAP)
            f->munlock(at, page_size());
        return place(i, c, f->mremap(at, c->len, c->new_len, c->flags, to),
                     true);
    case CALL_MADVISE:
        return answer_of(f->madvise(at, c->len, c->how));
    case CALL_MINCORE:
        return answer_of(f->mincore(at, c->len, c->null_vec ? NULL : vec));
    case CALL_MSYNC:
        return answer_of(f->msync(at, c->len, c->how));
    case CALL_MLOCK:
        return answer_of(f->mlock(at, c->len));
    case CALL_MLOCK2:
        return answer_of(f->mlock2(at, c->len, (unsigned)c->how));
    case CALL_MUNLOCK:
        return answer_of(f->munlock(at, c->len));
    default:
        fail();
    }
    return (struct answer){0, 0};
}

/* '#' mapped, '.' not; by msync(2), which asks for nothing else. */
static void look(int i, char text[ARENA_PAGES + 1])
{
    for (size_t n = 0; n < ARENA_PAGES; n++) {
        void *page = (void *)(arena[i] + n * page_size());

        text[n] = sides[i]->msync(page, page_size(), MS_ASYNC) == 0 ? '#' : '.';
    }
    text[ARENA_PAGES] = '\0';
}

static void play_both(uint64_t seed, unsigned n, bool with_mremap)
{
    struct posix_call c = posix_random_call(&files, with_mremap);
    struct answer a[2] = {play(0, &c), play(1, &c)};
    char text[2][ARENA_PAGES + 1];

    if (a[0].error != a[1].error || a[0].value != a[1].value) {
        posix_print_call(seed, n, &c);
        fail_msg("libc: %s, %lld; uf_posix: %s, %lld", strerror(a[0].error),
                 (long long)a[0].value, strerror(a[1].error),
                 (long long)a[1].value);
    }
    if (n % LOOK_EVERY != 0)
        return;
    look(0, text[0]);
    look(1, text[1]);
    if (strcmp(text[0], text[1]) != 0) {
        posix_print_call(seed, n, &c);
        fail_msg("mapped by libc and by uf_posix:\n%s\n%s", text[0], text[1]);
    }
}

/* What lies at the end may have grown beyond it. */
static void unmap_arenas(void)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            sides[i]->munmap((void *)arena[i], 2 * ARENA_PAGES * page_size()),
            0);
}

/* Across an end: without mremap, as nothing moves over it. */
static void play_at(uintptr_t ours, bool across)
{
    const char *chosen = getenv("UFAULT_POSIX_SEED");
    uint64_t seed = chosen ? strtoull(chosen, NULL, 0) : 20241;
    struct uf_stats before = live_stats(uf_posix_space()), after;

    arena[1] = ours;
    unmap_arenas();
    posix_random_seed(seed);
    for (unsigned n = 1; n <= NCALLS; n++)
        play_both(seed, n, !across);
    after = live_stats(uf_posix_space());
    /* It was not all refused, and it was the space that answered. */
    assert_true(after.mmaps > before.mmaps + NCALLS / 50);
    assert_true(after.munmaps > before.munmaps + NCALLS / 100);
    assert_true(after.mprotects > before.mprotects + NCALLS / 400);
    assert_true(across || after.mremaps > before.mremaps + NCALLS / 400);
    assert_true(after.madvises > before.madvises + NCALLS / 400);
    unmap_arenas();
}

static void test_calls_inside_answer_as_libc(void **unused)
{
    (void)unused;
    play_at(uf_space_base(uf_posix_space()) + ((size_t)64 << 20), false);
}

static void test_calls_across_the_start_answer_as_libc(void **unused)
{
    (void)unused;
    play_at(uf_space_base(uf_posix_space()) - ARENA_PAGES / 2 * page_size(),
            true);
}

static void test_calls_across_the_end_answer_as_libc(void **unused)
{
    struct uf_space *space = uf_posix_space();

    (void)unused;
    play_at(uf_space_base(space) + uf_space_len(space) -
                ARENA_PAGES / 2 * page_size(),
            true);
}

/* The break: libc's and the space's. malloc uses libc's, and so nothing that
 * may call malloc comes between raising and lowering it. */
static void test_the_break_answers_as_libc(void **unused)
{
    intptr_t steps[] = {0, 1,      4096, 100000,     -4096,
                        0, -96004, -1,   INTPTR_MAX, INTPTR_MIN};
    struct answer got[2][sizeof(steps) / sizeof(steps[0])];
    int brk_low[2], brk_high[2], brk_high_errno[2];

    (void)unused;
    for (int i = 0; i < 2; i++) {
        intptr_t first = (intptr_t)sides[i]->sbrk(0);

        for (size_t n = 0; n < sizeof(steps) / sizeof(steps[0]); n++) {
            got[i][n] = answer_of((intptr_t)sides[i]->sbrk(steps[n]));
            got[i][n].value -= got[i][n].error ? 0 : first;
        }
        brk_low[i] = sides[i]->brk((void *)8);
        errno = 0;
        brk_high[i] = sides[i]->brk((void *)(INTPTR_MAX - 4095));
        brk_high_errno[i] = errno;
    }
    for (size_t n = 0; n < sizeof(steps) / sizeof(steps[0]); n++) {
        assert_int_equal(got[0][n].error, got[1][n].error);
        assert_int_equal(got[0][n].value, got[1][n].value);
    }
    assert_int_equal(brk_low[0], brk_low[1]);
    assert_int_equal(brk_high[0], brk_high[1]);
    assert_int_equal(brk_high_errno[0], brk_high_errno[1]);
}

static void test_lockall_refuses_as_libc(void **unused)
{
    const int flags[] = {0, MCL_ONFAULT, 8, 16 | MCL_CURRENT};

    (void)unused;
    for (size_t n = 0; n < sizeof(flags) / sizeof(flags[0]); n++) {
        struct answer libc = answer_of(family_libc.mlockall(flags[n]));
        struct answer posix = answer_of(uf_posix_mlockall(flags[n]));

        assert_int_equal(libc.error, EINVAL);
        assert_int_equal(posix.error, libc.error);
    }
    assert_int_equal(uf_posix_mlockall(MCL_CURRENT), 0);
    assert_int_equal(uf_posix_munlockall(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_inside_answer_as_libc),
        cmocka_unit_test(test_calls_across_the_start_answer_as_libc),
        cmocka_unit_test(test_calls_across_the_end_answer_as_libc),
        cmocka_unit_test(test_the_break_answers_as_libc),
        cmocka_unit_test(test_lockall_refuses_as_libc),
    };
    int skip = live_begin();

    if (skip)
        return skip;
    make_space();
    make_files();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
