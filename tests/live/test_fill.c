/* SPDX-License-Identifier: MIT */
/*
 * Pagers of the user's, for real: the right bytes, honest failures, pauses,
 * lies and blocking; each ends for the touching thread as the contract in
 * ufault/pager.h says, and for nobody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/live.h"

static struct uf_space *space_with(struct live_pager *p, uint32_t window_pages,
                                   size_t npages, struct live_log *log)
{
    struct uf_space_opts opts = {.heap_pager = p->pager,
                                 .window_pages = window_pages,
                                 .address = live_aligned_address()};

    if (log) {
        opts.on_error = live_on_error;
        opts.hook_data = log;
    }
    return live_space(&opts, npages);
}

static void end(struct uf_space *space, struct live_pager *p)
{
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p->pager);
    assert_int_equal(atomic_load(&p->released), 1);
}

static bool page_is_pattern(struct uf_space *space, size_t n)
{
    return live_is_pattern(space, live_page(space, n), page_size());
}

static size_t page_of(const struct uf_fill *request)
{
    return (size_t)(request->offset / request->page_bytes);
}

static bool asks_for(const struct uf_fill *request, size_t page)
{
    size_t first = page_of(request);

    return page >= first &&
           page < first + request->len_bytes / request->page_bytes;
}

/* ------------------------------------------------------------- the bytes -- */

/* Every byte of every page, whatever the window and the order of touches. */
static void every_byte_is_the_pagers(void **state)
{
    static const uint32_t windows[] = {1, 3, 64, 512};
    const size_t npages = 200;

    (void)state;
    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        struct live_pager p;
        struct uf_space *space;
        struct uf_stats s;

        live_pager_init(&p, NULL, NULL);
        space = space_with(&p, windows[w], npages, NULL);
        for (size_t i = 0; i < npages; i++)
            assert_true(page_is_pattern(space, i * 77 % npages));
        s = live_stats(space);
        assert_int_equal(s.pages_installed, npages);
        assert_int_equal(s.pager_bytes, npages * page_size());
        assert_int_equal(s.pager_calls, atomic_load(&p.calls));
        assert_int_equal(s.pager_calls, s.installed);
        assert_int_equal(s.pages_zero, 0);
        assert_int_equal(s.resident, npages);
        end(space, &p);
    }
}

static ssize_t check_request(struct live_pager *p, const struct uf_fill *r)
{
    atomic_uint *wrong = p->arg;
    bool write = (r->flags & UF_FILL_WRITE) != 0;

    if (r->size != sizeof(*r) || r->page_bytes != page_size() ||
        r->offset % page_size() || r->len_bytes % page_size() ||
        r->len_bytes == 0 || r->len_bytes > 8 * page_size() ||
        (uintptr_t)r->buffer % page_size() || r->tid <= 0 ||
        write != (page_of(r) >= 8))
        atomic_fetch_add(wrong, 1);
    return live_fill(r, r->len_bytes);
}

/* What a request says is true: size, alignment, length, access, thread. */
static void a_request_is_as_documented(void **state)
{
    atomic_uint wrong = 0;
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, check_request, &wrong);
    space = space_with(&p, 8, 16, NULL);
    live_read(live_page(space, 3), NULL, NULL);
    live_write(live_page(space, 12), 1, NULL);
    assert_int_equal(atomic_load(&p.calls), 2);
    assert_int_equal(atomic_load(&wrong), 0);
    end(space, &p);
}

static ssize_t two_pages_at_most(struct live_pager *p, const struct uf_fill *r)
{
    size_t most = 2 * r->page_bytes;

    (void)p;
    return live_fill(r, r->len_bytes < most ? r->len_bytes : most);
}

/* Less than the window: the rest comes when it is touched. An answer that stops
 * before the touched page is followed by one more request, from that page. */
static void short_answers_are_completed(void **state)
{
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, two_pages_at_most, NULL);
    space = space_with(&p, 64, 64, NULL);
    live_read(live_page(space, 1), NULL, NULL);
    assert_int_equal(live_stats(space).pages_installed, 2);
    assert_int_equal(atomic_load(&p.calls), 1);
    live_read(live_page(space, 40), NULL, NULL);
    assert_int_equal(atomic_load(&p.calls), 3);
    for (size_t i = 0; i < 64; i++)
        assert_true(page_is_pattern(space, i));
    end(space, &p);
}

/* A page that went with the break is asked for anew. */
static void a_page_that_comes_back_is_filled_again(void **state)
{
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, NULL, NULL);
    space = space_with(&p, 1, 8, NULL);
    live_write(live_page(space, 6), 0, NULL);
    uf_brk(space, live_page(space, 2));
    uf_brk(space, live_page(space, 8));
    assert_true(page_is_pattern(space, 6));
    assert_int_equal(atomic_load(&p.calls), 2);
    end(space, &p);
}

/* -------------------------------------------------------------- failures -- */

#define BAD 5

static ssize_t fails_at_bad(struct live_pager *p, const struct uf_fill *r)
{
    atomic_int *err = p->arg;

    if (atomic_load(err) && asks_for(r, BAD))
        return atomic_load(err);
    return live_fill(r, r->len_bytes);
}

/* SIGBUS at the very byte that was touched; the neighbours, asked for in the
 * same window, are unaffected; EFAULT in a system call. */
static void a_failed_page_is_sigbus_and_efault(void **state)
{
    static struct live_log log = LIVE_LOG_INIT;
    atomic_int err = -EIO;
    struct live_pager p;
    struct uf_space *space;
    siginfo_t info;
    int fds[2];

    (void)state;
    live_pager_init(&p, fails_at_bad, &err);
    space = space_with(&p, 8, 16, &log);
    for (size_t i = 0; i < 16; i++) {
        uintptr_t byte = live_page(space, i) + 77;

        if (i != BAD) {
            assert_true(page_is_pattern(space, i));
            continue;
        }
        assert_int_equal(live_read(byte, NULL, &info), SIGBUS);
        assert_true((uintptr_t)info.si_addr == byte ||
                    (uintptr_t)info.si_addr == live_page(space, i));
        /* A kernel without CONFIG_MEMORY_FAILURE says ADRERR. */
        assert_true(info.si_code == BUS_MCEERR_AR ||
                    info.si_code == BUS_ADRERR);
        assert_int_equal(live_write(byte, 1, NULL), SIGBUS);
    }
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], (char *)live_page(space, BAD), 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(live_stats(space).refused, 1);
    assert_int_equal(live_errors(&log, UF_ERROR_PAGER_FAILED), 1);
    assert_int_equal(log.last[UF_ERROR_PAGER_FAILED].error, -EIO);
    assert_int_equal(log.last[UF_ERROR_PAGER_FAILED].tid, live_tid());
    assert_int_equal(
        align_down(log.last[UF_ERROR_PAGER_FAILED].address, page_size()),
        live_page(space, BAD));
    assert_string_equal(log.pager[UF_ERROR_PAGER_FAILED], "told");
    assert_true(live_stats(space).pager_failures >= 1);
    close(fds[0]);
    close(fds[1]);
    end(space, &p);
}

/* The first touch may be the system call's. */
static void a_system_call_on_a_failing_page_is_efault(void **state)
{
    atomic_int err = -ENXIO;
    struct live_pager p;
    struct uf_space *space;
    int fds[2];

    (void)state;
    LIVE_NEEDS_KERNEL_TOUCHES();
    live_pager_init(&p, fails_at_bad, &err);
    space = space_with(&p, 8, 16, NULL);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], (char *)live_page(space, BAD), 8), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(write(fds[1], (char *)live_page(space, BAD + 1), 8), 8);
    close(fds[0]);
    close(fds[1]);
    end(space, &p);
}

/* A refused page is refused until the break takes it away; the new one is
 * asked for again. */
static void a_refused_page_can_come_back_good(void **state)
{
    atomic_int err = -EIO;
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, fails_at_bad, &err);
    space = space_with(&p, 1, 8, NULL);
    assert_int_equal(live_read(live_page(space, BAD), NULL, NULL), SIGBUS);
    atomic_store(&err, 0);
    assert_int_equal(live_read(live_page(space, BAD), NULL, NULL), SIGBUS);
    uf_brk(space, live_page(space, BAD));
    uf_brk(space, live_page(space, 8));
    assert_true(page_is_pattern(space, BAD));
    end(space, &p);
}

/* uf_populate stops where the pager fails, with -EFAULT. */
static void populate_of_a_failing_page_is_efault(void **state)
{
    atomic_int err = -EIO;
    struct live_pager p;
    struct uf_space *space;

    (void)state;
    live_pager_init(&p, fails_at_bad, &err);
    space = space_with(&p, 1, 16, NULL);
    assert_int_equal(uf_populate(space, live_page(space, 0), 16 * page_size()),
                     -EFAULT);
    assert_int_equal(live_stats(space).resident, BAD);
    assert_int_equal(
        uf_populate(space, live_page(space, BAD + 1), 10 * page_size()), 0);
    assert_int_equal(live_stats(space).resident, 15);
    end(space, &p);
}

/* ---------------------------------------------------------------- pauses -- */

static ssize_t not_yet(struct live_pager *p, const struct uf_fill *r)
{
    atomic_int *left = p->arg;

    if (atomic_fetch_sub(left, 1) > 0)
        return -EAGAIN;
    return live_fill(r, r->len_bytes);
}

/* -EAGAIN some times, then bytes: the thread just waits. */
static void eagain_is_asked_again(void **state)
{
    atomic_int left = 5;
    struct live_pager p;
    struct uf_space *space;
    struct uf_stats s;

    (void)state;
    live_pager_init(&p, not_yet, &left);
    space = space_with(&p, 4, 16, NULL);
    assert_true(page_is_pattern(space, 9));
    s = live_stats(space);
    assert_int_equal(s.deferred, 5);
    assert_int_equal(s.pager_calls, 6);
    assert_int_equal(s.pager_failures, 0);
    assert_int_equal(s.installed, 1);
    end(space, &p);
}

/* -EAGAIN for longer than the engine's limit: refused, and said why. */
static void eagain_for_too_long_is_refused(void **state)
{
    static struct live_log log = LIVE_LOG_INIT;
    struct uf_engine_opts engine_opts = {.size = sizeof(engine_opts),
                                         .defer_limit_ms = 3};
    atomic_int left = INT32_MAX;
    struct uf_space_opts opts = {.on_error = live_on_error, .hook_data = &log};
    struct uf_space *space;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, not_yet, &left);
    opts.heap_pager = p.pager;
    assert_int_equal(uf_engine_create(&engine_opts, &opts.engine), 0);
    space = live_space(&opts, 8);
    assert_int_equal(live_read(live_page(space, 2), NULL, NULL), SIGBUS);
    assert_true(live_stats(space).deferred >= 1);
    assert_int_equal(live_stats(space).refused, 1);
    assert_int_equal(live_errors(&log, UF_ERROR_INSTALL), 1);
    assert_int_equal(log.last[UF_ERROR_INSTALL].error, -EAGAIN);
    end(space, &p);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* ------------------------------------------------------------------ lies -- */

struct lie {
    const char *name;
    ssize_t answer; /* in pages if `pages`; else as it is */
    bool pages;
    bool overrun; /* also writes past the end */
    const char *message;
};

static ssize_t tell(struct live_pager *p, const struct uf_fill *r)
{
    const struct lie *lie = p->arg;
    ssize_t all = live_fill(r, r->len_bytes);

    if (!asks_for(r, BAD))
        return all;
    if (lie->overrun)
        ((char *)r->buffer)[r->len_bytes] = 1;
    if (lie->pages)
        return all + lie->answer * (ssize_t)r->page_bytes;
    return lie->answer ? lie->answer : 0;
}

/* Each broken promise: SIGBUS, counted, and named in the error hook. */
static void a_lie_is_refused_counted_and_named(void **state)
{
    static const struct lie lies[] = {
        {"nothing", 0, false, false, "returned 0: no bytes and no error"},
        {"too long", 1, true, false, "returned more bytes than were asked for"},
        {"unaligned", 100, false, false,
         "returned a length that is not whole pages"},
        {"no errno", -4096, false, false,
         "returned neither a length nor an -errno"},
        {"overrun", 0, true, true, "wrote past the end of the buffer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        static struct live_log log;
        struct live_pager p;
        struct uf_space *space;

        log = (struct live_log)LIVE_LOG_INIT;
        live_pager_init(&p, tell, (void *)&lies[i]);
        space = space_with(&p, 1, 8, &log);
        assert_true(page_is_pattern(space, BAD - 1));
        assert_int_equal(live_read(live_page(space, BAD), NULL, NULL), SIGBUS);
        assert_true(page_is_pattern(space, BAD + 1));
        assert_int_equal(live_stats(space).pager_lies, 1);
        assert_int_equal(live_stats(space).refused, 1);
        assert_int_equal(live_errors(&log, UF_ERROR_PAGER_LIED), 1);
        assert_string_equal(log.message[UF_ERROR_PAGER_LIED], lies[i].message);
        assert_string_equal(log.pager[UF_ERROR_PAGER_LIED], "told");
        end(space, &p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_the_pagers),
        cmocka_unit_test(a_request_is_as_documented),
        cmocka_unit_test(short_answers_are_completed),
        cmocka_unit_test(a_page_that_comes_back_is_filled_again),
        cmocka_unit_test(a_failed_page_is_sigbus_and_efault),
        cmocka_unit_test(a_system_call_on_a_failing_page_is_efault),
        cmocka_unit_test(a_refused_page_can_come_back_good),
        cmocka_unit_test(populate_of_a_failing_page_is_efault),
        cmocka_unit_test(eagain_is_asked_again),
        cmocka_unit_test(eagain_for_too_long_is_refused),
        cmocka_unit_test(a_lie_is_refused_counted_and_named),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("fill", tests, NULL, NULL);
}
