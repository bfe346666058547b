/* SPDX-License-Identifier: MIT */
/*
 * mprotect: what may be touched how, and that nothing else changes; on a space
 * and on the kernel's own memory.
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
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/sides.h"

#define RW (PROT_READ | PROT_WRITE)

/* ------------------------------------------------------------ protections --
 */

/* Which accesses an x86 or ARM page of a protection allows: what may be written
 * or executed may be read. */
static bool may_read(int prot)
{
    return prot != PROT_NONE;
}

static void assert_allows(uintptr_t addr, int prot)
{
    siginfo_t info;

    if (may_read(prot))
        assert_int_equal(live_read(addr, NULL, &info), 0);
    else
        assert_refused(addr, false);
    if (prot & PROT_WRITE)
        assert_int_equal(live_write(addr, 1, &info), 0);
    else
        assert_refused(addr, true);
}

static void combinations_body(struct side *s)
{
    for (int from = 0; from < 8; from++) {
        for (int to = 0; to < 8; to++) {
            uintptr_t p = side_map(s, 4, 4, from, 0);

            if (from & PROT_WRITE)
                pages_write(p, 2, 1); /* two touched, two not */
            assert_int_equal(side_mprotect(s, p, 4 * page_size(), to), 0);
            if (may_read(to) && (from & PROT_WRITE))
                assert_true(pages_are(p, 2, 1, 0));
            assert_allows(p + 100, to);
            assert_allows(p + 3 * page_size(), to);
        }
    }
}

static void every_protection_can_become_every_other(void **state)
{
    (void)state;
    on_all_sides(combinations_body);
}

#ifdef __x86_64__
/* int f(void) { return 7; } */
static const unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};

static void exec_body(struct side *s)
{
    uintptr_t p = side_map(s, 4, 1, RW, 0);
    int (*f)(void);

    memcpy((void *)p, code, sizeof(code));
    assert_int_equal(side_mprotect(s, p, page_size(), PROT_READ | PROT_EXEC),
                     0);
    memcpy(&f, &p, sizeof(f));
    assert_int_equal(f(), 7);
    assert_refused(p, true);
}

static void code_can_be_written_and_then_run(void **state)
{
    (void)state;
    on_all_sides(exec_body);
}
#endif

/* A page that is closed and opened again still holds its bytes. */
static void contents_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 100, RW, 0);
    size_t page = page_size();

    pages_write(p, 100, 1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(side_mprotect(s, p + 10 * page, 50 * page, PROT_NONE),
                         0);
        assert_int_equal(side_resident(s, p, 100), 100);
        assert_refused(p + 10 * page, false);
        assert_refused(p + 59 * page, true);
        assert_int_equal(live_read(p + 60 * page, NULL, NULL), 0);
        assert_int_equal(side_mprotect(s, p, 100 * page, PROT_READ), 0);
        assert_true(pages_are(p, 100, 1, 0));
        assert_int_equal(side_mprotect(s, p, 100 * page, RW), 0);
    }
    assert_true(pages_are(p, 100, 1, 0));
}

static void closing_and_opening_keeps_the_bytes(void **state)
{
    (void)state;
    on_all_sides(contents_body);
}

/* A page first touched by a read is still ours to write to. */
static void upgrade_body(struct side *s)
{
    uintptr_t p = side_map(s, 0, 8, PROT_READ, 0);

    assert_true(pages_are_zero(p, 4));
    assert_refused(p, true);
    assert_int_equal(side_mprotect(s, p, 8 * page_size(), RW), 0);
    pages_write(p, 8, 1);
    assert_true(pages_are(p, 8, 1, 0));
}

static void a_page_of_zeros_can_be_written_to_later(void **state)
{
    (void)state;
    on_all_sides(upgrade_body);
}

/* ---------------------------------------------------------------- ranges -- */

static void hole_body(struct side *s)
{
    uintptr_t p = side_map(s, 10, 2, RW, 0);
    size_t page = page_size();

    side_map(s, 14, 2, RW, 0);
    /* What lies before the hole has changed. */
    assert_int_equal(side_mprotect(s, p, 6 * page, PROT_READ), -ENOMEM);
    assert_refused(p, true);
    assert_refused(p + page, true);
    assert_int_equal(live_write(p + 4 * page, 1, NULL), 0);
    assert_int_equal(side_mprotect(s, p - page, 4 * page, RW), -ENOMEM);
    assert_refused(p, true);
    assert_int_equal(side_mprotect(s, p + 2 * page, page, RW), -ENOMEM);
    /* Rounded up; nothing; unaligned; unknown. */
    assert_int_equal(side_mprotect(s, p + page, 1, RW), 0);
    assert_int_equal(live_write(p + 2 * page - 1, 1, NULL), 0);
    assert_refused(p, true);
    assert_int_equal(side_mprotect(s, p, 0, RW), 0);
    assert_refused(p, true);
    assert_int_equal(side_mprotect(s, p + 1, page, RW), -EINVAL);
    assert_int_equal(side_mprotect(s, p, page, 0x100), -EINVAL);
    assert_int_equal(
        side_mprotect(s, p, page, RW | PROT_GROWSDOWN | PROT_GROWSUP), -EINVAL);
    assert_int_equal(side_mprotect(s, p, page, RW | PROT_GROWSUP), -EINVAL);
    assert_int_equal(side_mprotect(s, p, SIZE_MAX - 2 * page, RW), -ENOMEM);
}

static void a_hole_stops_it_half_way(void **state)
{
    (void)state;
    on_all_sides(hole_body);
}

/* Over mappings of several kinds at once. */
static void several_body(struct side *s)
{
    int fd = pages_file(4, 7);
    uintptr_t p = side_map(s, 0, 4, RW, 0);
    size_t page = page_size();

    side_map(s, 4, 4, PROT_NONE, 0);
    assert_int_equal(side_mmap(s, p + 8 * page, 4 * page, RW,
                               MAP_PRIVATE | MAP_FIXED, fd, 0),
                     p + 8 * page);
    assert_int_equal(side_mmap(s, p + 12 * page, 4 * page, RW,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     p + 12 * page);
    pages_write(p, 4, 1);
    pages_write(p + 12 * page, 4, 2);
    assert_int_equal(side_mprotect(s, p + page, 14 * page, PROT_READ), 0);
    for (size_t n = 1; n < 15; n++)
        assert_refused(p + n * page, true);
    assert_int_equal(live_write(p + 15 * page, 1, NULL), 0);
    assert_true(pages_are(p, 4, 1, 0));
    assert_true(pages_are_zero(p + 4 * page, 4));
    assert_true(pages_are(p + 8 * page, 4, 7, 0));
    assert_true(pages_are(p + 12 * page, 3, 2, 0));
    close(fd);
}

static void mappings_of_all_kinds_change_in_one_call(void **state)
{
    (void)state;
    on_all_sides(several_body);
}

/* ---------------------------------------------------------------- threads --
 */

struct closer {
    struct side *side;
    uintptr_t addr;
    atomic_bool stop;
    int wrong;
};

static void *close_and_open(void *arg)
{
    struct closer *c = arg;

    while (!atomic_load(&c->stop)) {
        c->wrong += side_mprotect(c->side, c->addr, page_size(), PROT_NONE);
        c->wrong += side_mprotect(c->side, c->addr, page_size(), RW);
    }
    return NULL;
}

/* While one page is closed and opened over and over, each touch of it ends: it
 * goes through or is a SIGSEGV; its neighbours do not notice. */
static void threads_body(struct side *s)
{
    struct closer c = {.side = s, .addr = side_at(s, 5)};
    size_t page = page_size();
    pthread_t thread;

    side_map(s, 4, 200, RW, 0);
    assert_int_equal(pthread_create(&thread, NULL, close_and_open, &c), 0);
    for (size_t i = 0; i < 190; i++) {
        int signo = live_write(c.addr, (unsigned char)i, NULL);

        assert_true(signo == 0 || signo == SIGSEGV);
        assert_int_equal(live_write(c.addr + (1 + i) * page, 1, NULL), 0);
        assert_int_equal(live_write(c.addr - page, 1, NULL), 0);
    }
    atomic_store(&c.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(live_write(c.addr, 9, NULL), 0);
}

static void touches_during_a_change_go_through_or_are_sigsegv(void **state)
{
    (void)state;
    on_all_sides(threads_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protection_can_become_every_other),
#ifdef __x86_64__
        cmocka_unit_test(code_can_be_written_and_then_run),
#endif
        cmocka_unit_test(closing_and_opening_keeps_the_bytes),
        cmocka_unit_test(a_page_of_zeros_can_be_written_to_later),
        cmocka_unit_test(a_hole_stops_it_half_way),
        cmocka_unit_test(mappings_of_all_kinds_change_in_one_call),
        cmocka_unit_test(touches_during_a_change_go_through_or_are_sigsegv),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("mprotect", tests, NULL, NULL);
}
