/* SPDX-License-Identifier: MIT */
/*
 * User copies from unlikely places: a handler thread, a forked child, and while
 * another thread takes the memory away. In all modes of lib/copy_modes.h.
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
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/copy_modes.h"

/* ------------------------------------------------------------ elsewhere -- */

struct from_fill {
    struct uf_space *_Atomic space;
    atomic_int in, out, strnlen, read, write;
};

static ssize_t copy_from_fill(struct live_pager *p,
                              const struct uf_fill *request)
{
    struct from_fill *f = p->arg;
    uintptr_t other = live_page(f->space, 20);
    char byte = 0;

    f->in = uf_copy_in(f->space, &byte, other, 1, NULL);
    f->out = uf_copy_out(f->space, other, &byte, 1, NULL);
    f->strnlen = (int)uf_strnlen(f->space, other, 1);
    f->read = uf_populate_read(f->space, other, 1);
    f->write = uf_populate_write(f->space, other, 1);
    return live_fill(request, request->len_bytes);
}

/* provokes: uf_copy_in -EDEADLK
 * provokes: uf_copy_out -EDEADLK
 * provokes: uf_strnlen -EDEADLK
 * provokes: uf_populate_read -EDEADLK
 * provokes: uf_populate_write -EDEADLK */
static void a_handler_thread_may_not(void **state)
{
    struct from_fill f = {.space = NULL};
    struct live_pager p = {.behave = copy_from_fill, .arg = &f};
    struct uf_space *space = mode_pattern_space(&p);

    (void)state;
    f.space = space;
    assert_int_equal(*(volatile unsigned char *)live_page(space, 0),
                     live_pattern(0));
    assert_int_equal(f.in, -EDEADLK);
    assert_int_equal(f.out, -EDEADLK);
    assert_int_equal(f.strnlen, -EDEADLK);
    assert_int_equal(f.read, -EDEADLK);
    assert_int_equal(f.write, -EDEADLK);
    mode_destroy(space);
}

/* In a child: its line, or 0. */
#define NEED(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "child: line %d: %s\n", __LINE__, #cond);          \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

static void copies_in_child(struct uf_space *space)
{
    uintptr_t page3 = live_page(space, 3), end = live_page(space, MODE_PAGES);
    char bytes[10] = "";
    size_t copied;

    NEED(uf_copy_in(space, bytes, page3, 10, NULL) == 0 && bytes[0] == 9);
    NEED(uf_copy_in(space, bytes, page3 + page_size(), 10, NULL) == 0 &&
         bytes[0] == 0);
    NEED(uf_copy_out(space, page3, "child", 6, NULL) == 0);
    NEED(uf_strnlen(space, page3, 100) == 5);
    NEED(uf_copy_in(space, bytes, end - 4, 10, &copied) == -EFAULT &&
         copied == 4);
    NEED(uf_populate_read(space, page3, 20 * page_size()) == 0);
    NEED(uf_populate_write(space, page3, 20 * page_size()) == 0);
    NEED(uf_populate_write(space, end - 1, 2) == -EFAULT);
}

#if defined(__SANITIZE_THREAD__) /* no threads in forked children there */
#define POLICIES 1
#else
#define POLICIES 2
#endif

/* A forked child copies within its own memory, with an engine or without. */
static void in_a_forked_child(void **state)
{
    static const enum uf_fork policies[] = {UF_FORK_ZERO, UF_FORK_ENGINE};

    (void)state;
    for (int i = 0; i < POLICIES; i++) {
        struct uf_space_opts opts = {.fork = policies[i]};
        struct uf_space *space = mode_space(&opts);
        int status = -1;
        char byte = 9;
        pid_t pid;

        assert_int_equal(
            uf_copy_out(space, live_page(space, 3), &byte, 1, NULL), 0);
        pid = fork();
        if (pid == 0) {
            alarm(60);
            copies_in_child(space);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(uf_copy_in(space, &byte, live_page(space, 3), 1, NULL),
                         0);
        assert_int_equal(byte, 9);
        mode_destroy(space);
    }
}

/* --------------------------------------------------------------- a race -- */

struct race {
    struct uf_space *space;
    atomic_bool stop;
    atomic_uint rounds;
};

/* Unmaps and maps the heap's upper half, again and again. */
static void *unmap_and_map(void *arg)
{
    struct race *race = arg;
    uintptr_t half = live_page(race->space, MODE_PAGES / 2);
    uintptr_t all = live_page(race->space, MODE_PAGES);

    while (!atomic_load(&race->stop)) {
        if (uf_brk(race->space, half) != half ||
            uf_brk(race->space, all) != all)
            break;
        atomic_fetch_add(&race->rounds, 1);
        sched_yield();
    }
    return NULL;
}

/* Each copy ends well or with -EFAULT, what it copied is right, and the lower
 * half is always copied. */
static void race_once(struct uf_space *space, unsigned char *bytes, unsigned i)
{
    size_t page = page_size(), len = (i % 9 + 1) * page + 5, copied;
    size_t first = MODE_PAGES / 2 - 4;
    int err = uf_copy_in(space, bytes, live_page(space, first), len, &copied);

    assert_true(err == 0 || err == -EFAULT);
    assert_int_equal(err == 0, copied == len);
    if (copied < (len < 4 * page ? len : 4 * page))
        fail_msg("%s: %zu of %zu copied: %d", mode_name(), copied, len, err);
    for (size_t k = 0; k < copied; k += 997)
        assert_int_equal(bytes[k], live_pattern(first * page + k));
    err = uf_copy_out(space, live_page(space, first), bytes, copied, NULL);
    assert_true(err == 0 || err == -EFAULT);
    assert_int_not_equal(
        uf_strnlen(space, live_page(space, MODE_PAGES / 2 - 1), 3 * page), 0);
    err = uf_populate_read(space, live_page(space, first), len);
    assert_true(err == 0 || err == -EFAULT);
}

static void while_another_thread_unmaps(void **state)
{
    struct live_pager p = {0};
    struct race race = {.space = mode_pattern_space(&p)};
    unsigned char *bytes = malloc(16 * page_size());
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, unmap_and_map, &race), 0);
    for (unsigned i = 0; i < 300 || atomic_load(&race.rounds) < 300; i++)
        race_once(race.space, bytes, i);
    atomic_store(&race.stop, true);
    pthread_join(thread, NULL);
    free(bytes);
    mode_destroy(race.space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_thread_may_not),
        cmocka_unit_test(in_a_forked_child),
        cmocka_unit_test(while_another_thread_unmaps),
    };

    return modes_run(tests, sizeof(tests) / sizeof(tests[0]));
}
