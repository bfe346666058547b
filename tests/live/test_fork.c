/* SPDX-License-Identifier: MIT */
/*
 * What a forked child gets of a space, for each policy: never silent wrong
 * data. Children report by their exit code; a child that touches what it may
 * not is expected to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/live.h"

#define PAGES 32

/* In a child: ends it with the line at fault. */
#define NEED(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "child: line %d: %s\n", __LINE__, #cond);          \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

/* Runs body in a child; asserts that it found nothing wrong. */
static void in_child(void (*body)(struct uf_space *), struct uf_space *space)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        alarm(60);
        body(space);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static struct uf_space *space_of(enum uf_fork policy, struct live_pager *p,
                                 uint32_t window_pages)
{
    struct uf_space_opts opts = {.fork = policy,
                                 .heap_pager = p ? p->pager : NULL,
                                 .window_pages = window_pages};

    return live_space(&opts, PAGES);
}

static unsigned char byte_at(struct uf_space *space, size_t page)
{
    return *(volatile unsigned char *)live_page(space, page);
}

/* Odd pages resident, with their number; even ones untouched. */
static void touch_odd(struct uf_space *space)
{
    for (size_t i = 1; i < PAGES; i += 2)
        *(volatile unsigned char *)live_page(space, i) = (unsigned char)i;
}

/* The parent is served as before. */
static void assert_parent_unharmed(struct uf_space *space)
{
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(byte_at(space, i), i % 2 ? i : 0);
    assert_int_equal(live_stats(space).resident, PAGES);
    live_assert_law(space);
}

/* ------------------------------------------------------------------ zero -- */

static void zero_body(struct uf_space *space)
{
    struct uf_stats s = {.size = sizeof(s)};

    for (size_t i = 0; i < PAGES; i++) {
        NEED(byte_at(space, i) == (i % 2 ? i : 0));
        *(volatile unsigned char *)live_page(space, i) = 99;
    }
    NEED(uf_space_engine(space) == NULL);
    NEED(uf_brk(space, live_page(space, 4)) == live_page(space, 4));
    NEED(live_read(live_page(space, 5), NULL, NULL) == SIGSEGV);
    NEED(uf_brk(space, live_page(space, PAGES)) == live_page(space, PAGES));
    NEED(byte_at(space, 5) == 0 && byte_at(space, 3) == 99);
    NEED(uf_populate(space, live_page(space, 8), 8 * page_size()) == 0);
    NEED(uf_space_stats(space, &s) == 0 && s.pending == 0);
    NEED(uf_space_destroy(space) == 0);
}

/* The child sees the resident bytes, and zeros elsewhere; its break works. */
static void zero_child_sees_bytes_and_zeros(void **state)
{
    (void)state;
    for (int policy = 0; policy < 2; policy++) {
        struct uf_space *space =
            space_of(policy ? UF_FORK_ZERO : UF_FORK_DEFAULT, NULL, 1);

        touch_odd(space);
        in_child(zero_body, space);
        assert_parent_unharmed(space);
        uf_space_destroy(space);
    }
}

static void grandchild_body(struct uf_space *space)
{
    int status = -1;
    pid_t pid;

    *(volatile unsigned char *)live_page(space, 0) = 7;
    pid = fork();
    if (pid == 0) {
        NEED(byte_at(space, 0) == 7);
        *(volatile unsigned char *)live_page(space, 0) = 0;
        zero_body(space);
        _exit(0);
    }
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
    NEED(byte_at(space, 2) == 0 && byte_at(space, 3) == 3);
}

/* A child's child is a child. */
static void zero_grandchild_sees_the_same(void **state)
{
    struct uf_space *space = space_of(UF_FORK_ZERO, NULL, 1);

    (void)state;
    touch_odd(space);
    in_child(grandchild_body, space);
    assert_parent_unharmed(space);
    uf_space_destroy(space);
}

/* A space whose untouched pages are not zeros may not promise zeros. */
static void zero_with_a_pager_is_einval(void **state)
{
    struct uf_space_opts opts = {
        .size = sizeof(opts), .len_bytes = 1 << 20, .fork = UF_FORK_ZERO};
    struct uf_space *space = NULL;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    opts.heap_pager = p.pager;
    assert_int_equal(uf_space_create(&opts, &space), -EINVAL);
    opts.fork = (enum uf_fork)77;
    assert_int_equal(uf_space_create(&opts, &space), -EINVAL);
    assert_null(space);
    uf_pager_unref(p.pager);
}

/* ------------------------------------------------------------------ none -- */

static uintptr_t known_base;

static void none_body(struct uf_space *space)
{
    struct uf_stats s = {.size = sizeof(s)};

    for (size_t i = 0; i < PAGES; i++)
        NEED(live_read(known_base + i * page_size(), NULL, NULL) == SIGSEGV);
    NEED(uf_brk(space, 0) == 0);
    NEED(uf_sbrk(space, 1) == -EINVAL);
    NEED(uf_populate(space, known_base, page_size()) == -EINVAL);
    NEED(uf_space_stats(space, &s) == -EINVAL);
    NEED(uf_space_base(space) == 0 && uf_space_engine(space) == NULL);
    NEED(uf_space_destroy(space) == -EINVAL);
}

/* Not inherited: SIGSEGV for each page, -EINVAL for each call; by default so
 * for a space with a pager of its own. */
static void none_child_has_nothing(void **state)
{
    (void)state;
    for (int policy = 0; policy < 2; policy++) {
        struct live_pager p;
        struct uf_space *space;

        live_pager_init(&p, NULL, NULL);
        space = policy ? space_of(UF_FORK_NONE, NULL, 1)
                       : space_of(UF_FORK_DEFAULT, &p, 1);
        known_base = uf_space_base(space);
        live_read(live_page(space, 1), NULL, NULL);
        in_child(none_body, space);
        live_read(live_page(space, 2), NULL, NULL);
        assert_int_equal(live_stats(space).resident, 2);
        live_assert_law(space);
        uf_space_destroy(space);
        uf_pager_unref(p.pager);
    }
}

/* ---------------------------------------------------------------- engine -- */

/* The address sanitizer's allocator may be locked for good in the child of a
 * threaded process, and threads started there hang in it. */
static void skip_if_sanitized(void)
{
    if (LIVE_SANITIZED)
        skip();
}

static void engine_body(struct uf_space *space)
{
    struct uf_stats s = {.size = sizeof(s)};
    uint64_t before;

    NEED(uf_space_engine(space) != NULL);
    NEED(uf_space_stats(space, &s) == 0);
    before = s.faults;
    for (size_t i = 0; i < PAGES; i++)
        NEED(byte_at(space, i) == (i % 2 ? i : 0));
    NEED(uf_space_stats(space, &s) == 0);
    NEED(s.faults == before + PAGES / 2);
    NEED(live_mincore(live_page(space, 0), live_page(space, PAGES)) == PAGES);
    NEED(uf_space_destroy(space) == 0);
}

/* The child has handlers of its own: its first touches are faults there. */
static void engine_child_is_served(void **state)
{
    struct uf_space *space;

    (void)state;
    skip_if_sanitized();
    space = space_of(UF_FORK_ENGINE, NULL, 1);
    touch_odd(space);
    in_child(engine_body, space);
    assert_int_equal(live_stats(space).resident, PAGES / 2);
    assert_parent_unharmed(space);
    uf_space_destroy(space);
}

static void pattern_body(struct uf_space *space)
{
    NEED(live_is_pattern(space, live_page(space, 0), PAGES * page_size()));
    NEED(uf_brk(space, live_page(space, 2)) == live_page(space, 2));
    NEED(uf_brk(space, live_page(space, PAGES)) == live_page(space, PAGES));
    NEED(live_is_pattern(space, live_page(space, 0), PAGES * page_size()));
}

static void pattern_grandchild_body(struct uf_space *space)
{
    int status = -1;
    pid_t pid;

    NEED(live_is_pattern(space, live_page(space, 3), page_size()));
    pid = fork();
    if (pid == 0) {
        pattern_body(space);
        _exit(0);
    }
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
    pattern_body(space);
    NEED(uf_space_destroy(space) == 0);
}

/* With a pager: the right bytes in the child, its child, and the parent. */
static void engine_child_with_a_pager_has_its_bytes(void **state)
{
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    skip_if_sanitized();
    live_pager_init(&p, NULL, NULL);
    space = space_of(UF_FORK_ENGINE, &p, 1);
    live_read(live_page(space, 9), NULL, NULL);
    in_child(pattern_body, space);
    in_child(pattern_grandchild_body, space);
    assert_int_equal(live_stats(space).resident, 1);
    assert_true(
        live_is_pattern(space, live_page(space, 0), PAGES * page_size()));
    live_assert_law(space);
    uf_space_destroy(space);
    uf_pager_unref(p.pager);
}

/* ------------------------------------------------------------ under load -- */

struct busy {
    pthread_t thread;
    struct uf_space *space;
    atomic_bool stop;
    bool moves;
};

/* Touches the lower half, or moves the break above it. */
static void *keep_busy(void *arg)
{
    struct busy *b = arg;

    for (size_t i = 0; !atomic_load(&b->stop); i++) {
        if (b->moves)
            uf_brk(b->space, live_page(b->space, PAGES / 2 + i % (PAGES / 2)));
        else
            live_read(live_page(b->space, i * 5 % PAGES), NULL, NULL);
    }
    return NULL;
}

static void look_body(struct uf_space *space)
{
    struct uf_stats s = {.size = sizeof(s)};

    NEED(uf_space_stats(space, &s) == 0);
    NEED(uf_brk(space, live_page(space, PAGES)) == live_page(space, PAGES));
    for (size_t i = 0; i < PAGES; i++)
        NEED(live_read(live_page(space, i), NULL, NULL) == 0);
    NEED(uf_brk(space, live_page(space, 1)) == live_page(space, 1));
}

static void look_pattern_body(struct uf_space *space)
{
    look_body(space);
    NEED(uf_brk(space, live_page(space, PAGES)) == live_page(space, PAGES));
    NEED(live_is_pattern(space, live_page(space, 0), PAGES * page_size()));
}

/* Forks in the middle of faults and moving breaks: no child finds a lock that
 * nobody holds, or a page half made. */
static void forks_under_load_are_sound(void **state)
{
    (void)state;
    /* See skip_if_sanitized. */
    for (int with_pager = 0; with_pager < 2 - LIVE_SANITIZED; with_pager++) {
        struct live_pager p;
        struct uf_space *space;
        struct busy b[3];

        live_pager_init(&p, NULL, NULL);
        space = with_pager ? space_of(UF_FORK_ENGINE, &p, 2)
                           : space_of(UF_FORK_ZERO, NULL, 2);
        for (size_t i = 0; i < 3; i++) {
            b[i].space = space;
            b[i].moves = i == 0;
            atomic_init(&b[i].stop, false);
            assert_int_equal(
                pthread_create(&b[i].thread, NULL, keep_busy, &b[i]), 0);
        }
        for (int n = 0; n < 120; n++)
            in_child(with_pager ? look_pattern_body : look_body, space);
        for (size_t i = 0; i < 3; i++)
            atomic_store(&b[i].stop, true);
        for (size_t i = 0; i < 3; i++)
            pthread_join(b[i].thread, NULL);
        while (live_stats(space).pending > 0)
            ;
        live_assert_law(space);
        uf_space_destroy(space);
        uf_pager_unref(p.pager);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_child_sees_bytes_and_zeros),
        cmocka_unit_test(zero_grandchild_sees_the_same),
        cmocka_unit_test(zero_with_a_pager_is_einval),
        cmocka_unit_test(none_child_has_nothing),
        cmocka_unit_test(engine_child_is_served),
        cmocka_unit_test(engine_child_with_a_pager_has_its_bytes),
        cmocka_unit_test(forks_under_load_are_sound),
    };
    int skipped = live_begin();

#if defined(__SANITIZE_THREAD__)
    printf("skipped: the thread sanitizer does not support threads started "
           "in a forked child of a threaded program\n");
    return 77;
#endif
    return skipped ? skipped
                   : cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
