/* SPDX-License-Identifier: MIT */
/*
 * install: one window at a time against a simulated descriptor, and after each
 * what unit/install_bench.h says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit/install_bench.h"

/* ------------------------------------------------------------- the good -- */

/* A whole absent window goes in with one call, from any source. */
static void a_whole_window_is_one_call(void **state)
{
    (void)state;
    for (int source = BYTES; source <= ZEROS_WRITE; source++) {
        struct bench b;
        struct install what;
        struct install_result r;

        bench_set_up(&b);
        what = bench_what(&b, (enum source)source, 2, false);
        r = bench_install(&b, &what);
        assert_int_equal(r.verdict, INSTALL_DONE);
        assert_int_equal(r.calls, 1);
        assert_int_equal(r.retries, 0);
        assert_int_equal(r.npages, NPAGES);
        assert_int_equal(r.npages_zero, source == ZEROS_READ ? NPAGES : 0);
        assert_int_equal(fake_asleep(b.fake), 0);
        assert_int_equal(fake_script_calls(&b.fake->script, FAKE_WAKE), 0);
        bench_tear_down(&b);
    }
}

/* After part of it the rest is asked for, with the rest's bytes. */
static void a_partial_answer_is_continued(void **state)
{
    struct bench b;
    struct install what;
    struct install_result r;

    (void)state;
    bench_set_up(&b);
    what = bench_what(&b, BYTES, 3, false);
    fake_script_add(
        &b.fake->script,
        (struct fake_row){FAKE_COPY, 1, -EAGAIN, 2 * (int64_t)page_size()});
    r = bench_install(&b, &what);
    assert_int_equal(r.verdict, INSTALL_DONE);
    assert_int_equal(r.calls, 2);
    assert_int_equal(r.retries, 1);
    assert_int_equal(r.npages, NPAGES);
    assert_int_equal(fake_tag_get(b.fake, bench_page(3)), 103);
    bench_tear_down(&b);
}

/* ----------------------------------------------------- pages in the way -- */

/* Every set of pages that are there already, every touched page: all others go
 * in, and everybody is awake. */
static void present_pages_are_stepped_over(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 1u << NPAGES; set++) {
        for (size_t touched = 0; touched < NPAGES; touched++) {
            struct bench b;
            struct install what;
            struct install_result r;

            bench_set_up(&b);
            what = bench_what(&b, BYTES, touched, false);
            bench_touch_all(&b);
            for (size_t i = 0; i < NPAGES; i++)
                if (set & (1u << i))
                    fake_page_set(b.fake, bench_page(i), PAGE_PRIVATE);
            r = install_pages(&what);
            assert_int_equal(r.verdict, (set & (1u << touched))
                                            ? INSTALL_PRESENT
                                            : INSTALL_DONE);
            assert_int_equal(r.npages,
                             (size_t)NPAGES - (size_t)__builtin_popcount(set));
            assert_int_equal(r.skipped, set != 0);
            assert_int_equal(fake_asleep(b.fake), 0);
            assert_int_equal(fake_resident(b.fake, b.window), NPAGES);
            bench_tear_down(&b);
        }
    }
}

/* -EEXIST wakes nobody by itself, so install does. */
static void who_waits_at_a_present_page_is_woken(void **state)
{
    struct bench b;
    struct install what;
    size_t index;

    (void)state;
    bench_set_up(&b);
    what = bench_what(&b, ZEROS_READ, 0, false);
    index = fake_touch(b.fake, 1, bench_page(0), false);
    fake_page_set(b.fake, bench_page(0), PAGE_PRIVATE);
    assert_int_equal(install_pages(&what).verdict, INSTALL_PRESENT);
    assert_int_equal(fake_toucher_state(b.fake, index), TOUCHER_SATISFIED);
    bench_tear_down(&b);
}

/* A page that is neither present nor empty: woken once, then copied over. */
static void a_marker_does_not_go_round_for_ever(void **state)
{
    struct bench b;
    struct install what;
    size_t index;

    (void)state;
    bench_set_up(&b);
    fake_page_set(b.fake, bench_page(1), PAGE_MARKER);
    index = fake_touch(b.fake, 1, bench_page(1), false);
    what = bench_what(&b, ZEROS_READ, 1, false);
    assert_int_equal(install_pages(&what).verdict, INSTALL_PRESENT);
    assert_int_equal(fake_toucher_state(b.fake, index), TOUCHER_UNREAD);
    what.again = true;
    what.window = (struct range){bench_page(1), bench_page(2)};
    assert_int_equal(install_pages(&what).verdict, INSTALL_DONE);
    assert_int_equal(fake_toucher_state(b.fake, index), TOUCHER_SATISFIED);
    assert_int_equal(fake_page_get(b.fake, bench_page(1)), PAGE_PRIVATE);
    bench_tear_down(&b);
}

/* ------------------------------------------------------ changed mappings -- */

/* A window that reaches beyond its mapping is narrowed to the touched page. */
static void a_split_mapping_narrows_to_the_touched_page(void **state)
{
    struct bench b;
    struct install what;
    struct install_result r;

    (void)state;
    bench_set_up(&b);
    fake_unmap(b.fake, (struct range){bench_page(0), bench_page(1)});
    what = bench_what(&b, BYTES, 2, false);
    r = bench_install(&b, &what);
    assert_int_equal(r.verdict, INSTALL_DONE);
    assert_int_equal(r.npages, 1);
    assert_int_equal(fake_tag_get(b.fake, bench_page(2)), 102);
    bench_tear_down(&b);
}

/* The touched page is unmapped: its thread is woken and finds that out. */
static void a_vanished_page_is_stale_and_woken(void **state)
{
    struct bench b;
    struct install what;
    size_t first;

    (void)state;
    bench_set_up(&b);
    first = bench_touch_all(&b);
    fake_unmap(b.fake, b.window);
    what = bench_what(&b, ZEROS_WRITE, 1, false);
    assert_int_equal(install_pages(&what).verdict, INSTALL_STALE);
    assert_int_equal(fake_asleep(b.fake), 0);
    assert_int_equal(fake_toucher_state(b.fake, first + 1), TOUCHER_SEGV);
    bench_tear_down(&b);
}

/* --------------------------------------------------------- single errnos -- */

static enum install_verdict verdict_after(enum source source, int err,
                                          int64_t done, bool again)
{
    enum fake_op op = source == ZEROS_READ ? FAKE_ZEROPAGE : FAKE_COPY;
    struct bench b;
    struct install what;
    struct install_result r;

    bench_set_up(&b);
    what = bench_what(&b, source, 1, again);
    fake_script_add(&b.fake->script, (struct fake_row){op, 0, err, done});
    r = bench_install(&b, &what);
    bench_tear_down(&b);
    return r.verdict;
}

/* What stays so for ever, by errno. */
static void each_errno_has_its_verdict(void **state)
{
    (void)state;
    for (int source = BYTES; source <= ZEROS_WRITE; source++) {
        enum source s = (enum source)source;
        bool zeropage = s == ZEROS_READ;

        assert_int_equal(verdict_after(s, -EAGAIN, -EAGAIN, false),
                         INSTALL_BUSY);
        assert_int_equal(verdict_after(s, -EAGAIN, 0, false), INSTALL_BUSY);
        assert_int_equal(verdict_after(s, -ENOMEM, -ENOMEM, false),
                         INSTALL_BUSY);
        assert_int_equal(verdict_after(s, -ENOMEM, -ENOMEM, true),
                         INSTALL_BUSY);
        assert_int_equal(verdict_after(s, -ENOENT, -ENOENT, false),
                         INSTALL_STALE);
        assert_int_equal(verdict_after(s, -ESRCH, 0, false), INSTALL_GONE);
        assert_int_equal(verdict_after(s, -ENOSPC, 0, true), INSTALL_GONE);
        assert_int_equal(verdict_after(s, -EEXIST, -EEXIST, false),
                         INSTALL_PRESENT);
        /* Zeros can be copied instead; a bad copy has no other way. */
        assert_int_equal(verdict_after(s, -EINVAL, 0, false),
                         zeropage ? INSTALL_DONE : INSTALL_REFUSED);
        assert_int_equal(verdict_after(s, -EINVAL, 0, true),
                         zeropage ? INSTALL_DONE : INSTALL_REFUSED);
        assert_int_equal(verdict_after(s, -EFAULT, 0, false), INSTALL_REFUSED);
        assert_int_equal(verdict_after(s, -EXFULL, 0, false), INSTALL_REFUSED);
    }
}

/* An out field that cannot be true is no progress: not negative, not more than
 * was asked for, not part of a page. */
static void a_misbehaving_out_field_is_no_progress(void **state)
{
    int64_t page = (int64_t)page_size();
    const int64_t lies[] = {
        -page,         -EAGAIN,    1,         page - 1,  page + 8,
        NPAGES * page, 100 * page, INT64_MAX, INT64_MIN, NPAGES * page + page};

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        int64_t lie = lies[i];

        assert_int_equal(verdict_after(BYTES, -EAGAIN, lie, false),
                         INSTALL_BUSY);
        assert_int_equal(verdict_after(ZEROS_READ, -EAGAIN, lie, false),
                         INSTALL_BUSY);
    }
}

/* ------------------------------------------------------------- sequences -- */

/* What one call may answer: 0 stands for "as it is", PARTIAL for one page. */
#define PARTIAL 1
static const int menu[] = {0,       PARTIAL, -EAGAIN, -EEXIST, -ENOENT,
                           -ENOMEM, -EINVAL, -ESRCH,  -EFAULT, -ENOSPC};
#define MENU (sizeof(menu) / sizeof(menu[0]))

static void add_answer(struct bench *b, unsigned nth, int answer)
{
    int64_t done = answer == PARTIAL ? (int64_t)page_size() : answer;
    int err = answer == PARTIAL ? -EAGAIN : answer;
    /* The kinds of install call are counted apart; the sequence is put on each,
     * so that "copy instead" meets injected answers as well. */

    if (answer == 0)
        return;
    fake_script_add(&b->fake->script,
                    (struct fake_row){FAKE_COPY, nth, err, done});
    fake_script_add(&b->fake->script,
                    (struct fake_row){FAKE_ZEROPAGE, nth, err, done});
    fake_script_add(&b->fake->script,
                    (struct fake_row){FAKE_MOVE, nth, err, done});
}

static void run_sequence(const int *answers, unsigned n, enum source source,
                         size_t touched, bool again, unsigned present)
{
    struct bench b;
    struct install what;

    bench_set_up(&b);
    for (unsigned i = 0; i < n; i++)
        add_answer(&b, i + 1, answers[i]);
    what = bench_what(&b, source, touched, again);
    if (present < NPAGES)
        fake_page_set(b.fake, bench_page(present), PAGE_PRIVATE);
    bench_install(&b, &what);
    bench_tear_down(&b);
}

/* Every single answer, pair and triple of answers to the first calls, at every
 * touched page, for every source, with and without a page in the way. */
static void every_sequence_of_three_answers_is_sound(void **state)
{
    int answers[3];

    (void)state;
    for (size_t i = 0; i < MENU * MENU * MENU; i++) {
        answers[0] = menu[i % MENU];
        answers[1] = menu[i / MENU % MENU];
        answers[2] = menu[i / MENU / MENU];
        for (size_t touched = 0; touched < NPAGES; touched++)
            for (int source = BYTES; source <= MOVED; source++)
                run_sequence(answers, 3, (enum source)source, touched,
                             (i & 1) != 0, touched % 2 ? NPAGES : 2);
    }
}

/* One errno at each possible call of a page-by-page walk. */
static void every_errno_at_every_call_is_sound(void **state)
{
    (void)state;
    for (size_t e = 1; e < MENU; e++)
        for (unsigned at = 0; at < 2 * NPAGES; at++)
            for (size_t touched = 0; touched < NPAGES; touched++) {
                int answers[2 * NPAGES] = {0};

                for (unsigned i = 0; i < at; i++)
                    answers[i] = PARTIAL;
                answers[at] = menu[e];
                run_sequence(answers, at + 1, BYTES, touched, false, NPAGES);
                run_sequence(answers, at + 1, ZEROS_READ, touched, true, 1);
                run_sequence(answers, at + 1, MOVED, touched, false, NPAGES);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_window_is_one_call),
        cmocka_unit_test(a_partial_answer_is_continued),
        cmocka_unit_test(present_pages_are_stepped_over),
        cmocka_unit_test(who_waits_at_a_present_page_is_woken),
        cmocka_unit_test(a_marker_does_not_go_round_for_ever),
        cmocka_unit_test(a_split_mapping_narrows_to_the_touched_page),
        cmocka_unit_test(a_vanished_page_is_stale_and_woken),
        cmocka_unit_test(each_errno_has_its_verdict),
        cmocka_unit_test(a_misbehaving_out_field_is_no_progress),
        cmocka_unit_test(every_sequence_of_three_answers_is_sound),
        cmocka_unit_test(every_errno_at_every_call_is_sound),
    };

    return cmocka_run_group_tests_name("install", tests, NULL, NULL);
}
