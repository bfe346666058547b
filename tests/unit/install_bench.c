/* SPDX-License-Identifier: MIT */
/* See install_bench.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "unit/install_bench.h"

#define BASE ((uintptr_t)0x10000000)

uintptr_t bench_page(size_t i)
{
    return BASE + i * page_size();
}

void bench_set_up(struct bench *b)
{
    b->fake = fake_uffd_create();
    assert_non_null(b->fake);
    b->uffd = fake_uffd_handle(b->fake);
    b->window = (struct range){bench_page(0), bench_page(NPAGES)};
    fake_segment_add(b->fake, b->window);
    fake_map(b->fake, b->window);
    b->bytes = calloc(NPAGES, page_size());
    assert_non_null(b->bytes);
    for (uint64_t i = 0; i < NPAGES; i++) {
        uint64_t tag = i + 100;

        memcpy(b->bytes + i * page_size(), &tag, sizeof(tag));
    }
    assert_int_equal(install_zeros_init(), 0);
}

void bench_tear_down(struct bench *b)
{
    fake_uffd_destroy(b->fake);
    free(b->bytes);
}

struct install bench_what(struct bench *b, enum source source, size_t touched,
                          bool again)
{
    return (struct install){
        .uffd = &b->uffd,
        .window = b->window,
        .touched = bench_page(touched) + 8,
        .bytes = source == BYTES ? b->bytes : NULL,
        .write = source == ZEROS_WRITE || source == MOVED,
        .again = again,
        .source = source >= MOVED ? b->bytes : NULL,
    };
}

/* A thread waits at every page; returns the index of the first. */
size_t bench_touch_all(struct bench *b)
{
    size_t first = fake_touch(b->fake, 1, bench_page(0), false);

    for (size_t i = 1; i < NPAGES; i++)
        fake_touch(b->fake, (pid_t)i + 1, bench_page(i), false);
    return first;
}

bool bench_is_in(enum fake_page page)
{
    return page == PAGE_ZERO || page == PAGE_PRIVATE;
}

/* What went in is counted, has the right bytes and lies in `done`. */
static void check_counts(struct bench *b, const struct install *what,
                         const struct install_result *r)
{
    assert_int_equal(r->npages, b->fake->nzero + b->fake->nprivate);
    assert_int_equal(r->npages_zero, b->fake->nzero);
    assert_true(range_covers(what->window, r->done) || r->npages == 0);
    if (!r->skipped)
        assert_int_equal(range_len(r->done), r->npages * page_size());
    for (size_t i = 0; i < NPAGES; i++)
        if (what->bytes && fake_tag_get(b->fake, bench_page(i)))
            assert_int_equal(fake_tag_get(b->fake, bench_page(i)), i + 100);
}

/* Whoever has no reason to sleep is awake. `first`: of touch_all. */
static void check_sleepers(struct bench *b, const struct install *what,
                           const struct install_result *r, size_t first)
{
    size_t touched = (what->touched - BASE) / page_size();
    bool promised = r->verdict == INSTALL_BUSY || r->verdict == INSTALL_REFUSED;

    for (size_t i = 0; i < NPAGES; i++) {
        struct fake_toucher *t = &b->fake->touchers[first + i];
        bool asleep = t->state < TOUCHER_SATISFIED;

        if (bench_is_in(fake_page_get(b->fake, bench_page(i))))
            assert_false(asleep && !promised);
        /* Asleep once and for all, unless promised: not the touched one. */
        if (i == touched && asleep && t->faults == 1)
            assert_true(promised);
    }
}

static void check_verdict(struct bench *b, const struct install *what,
                          const struct install_result *r)
{
    enum fake_page page =
        fake_page_get(b->fake, align_down(what->touched, page_size()));

    if (r->verdict == INSTALL_DONE)
        assert_true(bench_is_in(page));
    if (r->verdict != INSTALL_DONE && r->verdict != INSTALL_PRESENT) {
        assert_true(r->err < 0);
        assert_non_null(r->why);
    }
}

/* Installs and checks what always holds. */
struct install_result bench_install(struct bench *b, const struct install *what)
{
    size_t first = bench_touch_all(b);
    struct install_result r = install_pages(what);

    assert_int_equal(r.calls,
                     fake_script_calls(&b->fake->script, FAKE_COPY) +
                         fake_script_calls(&b->fake->script, FAKE_ZEROPAGE) +
                         fake_script_calls(&b->fake->script, FAKE_MOVE));
    check_counts(b, what, &r);
    check_sleepers(b, what, &r, first);
    check_verdict(b, what, &r);
    return r;
}
