/* SPDX-License-Identifier: MIT */
/*
 * A space from create to destroy: sizes and places, what it says of itself,
 * the signal outside its mappings, its accounting step by step, limits,
 * populating, and a locked space.
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
#include <unistd.h>

#include "lib/live.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

#define MANY(array) (sizeof(array) / sizeof((array)[0]))

/* --------------------------------------------------------- sizes and places --
 */

static void use_both_ends(struct uf_space *space)
{
    uintptr_t base = uf_space_base(space), end = base + uf_space_len(space);
    unsigned char byte = 9;

    assert_true(uf_brk(space, end) == end);
    assert_int_equal(live_read(base, &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_write(end - 1, 7, NULL), 0);
    assert_true(uf_brk(space, base) == base);
    assert_true(uf_brk(space, end) == end);
    assert_int_equal(live_read(end - 1, &byte, NULL), 0);
    assert_int_equal(byte, 0);
}

/* From the smallest to the largest, where the kernel likes. */
static void every_size_anywhere(void **state)
{
    static const size_t lengths[] = {64 * KIB, 68 * KIB, GIB, 16 * TIB,
                                     64 * TIB};

    (void)state;
    for (size_t i = 0; i < MANY(lengths); i++) {
        struct uf_space_opts opts = {
            .size = sizeof(opts), .len_bytes = lengths[i], .window_pages = 1};
        struct uf_space *space = NULL;
        int err = uf_space_create(&opts, &space);

        if (err == -ENOMEM && LIVE_SANITIZED && lengths[i] >= TIB)
            continue; /* the sanitizer's shadow is there */
        assert_int_equal(err, 0);
        assert_int_equal(uf_space_len(space), lengths[i]);
        assert_true(is_aligned(uf_space_base(space), page_size()));
        assert_non_null(uf_space_engine(space));
        assert_int_not_equal(uf_engine_tier(uf_space_engine(space)),
                             UF_TIER_NONE);
        use_both_ends(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* At an address of the caller's; taken as long as the space lives. */
static void every_size_at_an_address(void **state)
{
    static const size_t lengths[] = {64 * KIB, GIB, TIB};

    (void)state;
    for (size_t i = 0; i < MANY(lengths); i++) {
        struct uf_space_opts opts = {.size = sizeof(opts),
                                     .len_bytes = lengths[i]};
        struct uf_space *space, *second = NULL;
        void *p = mmap(NULL, 4 * TIB, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        /* The low end of a gap: what else is mapped goes to the high one. */
        if (p == MAP_FAILED && LIVE_SANITIZED)
            continue; /* the sanitizer's shadow leaves none so long */
        assert_true(p != MAP_FAILED);
        munmap(p, 4 * TIB);
        opts.address = (uintptr_t)p;
        assert_int_equal(uf_space_create(&opts, &space), 0);
        assert_true(uf_space_base(space) == opts.address);
        assert_int_equal(uf_space_create(&opts, &second), -EEXIST);
        assert_null(second);
        use_both_ends(space);
        assert_int_equal(uf_space_destroy(space), 0);
        assert_int_equal(uf_space_create(&opts, &space), 0);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

enum { SPACES = 500 };

/* Naming the zero pager is the same as naming none, references included, and
 * the fork policy that wants zeros takes it. */
static void the_zero_pager_by_name(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts),
                                 .len_bytes = MIB,
                                 .heap_pager = uf_pager_zero(),
                                 .fork = UF_FORK_ZERO};
    struct uf_space *space;
    unsigned char byte = 9;

    (void)state;
    assert_ptr_equal(uf_pager_ref(uf_pager_zero()), uf_pager_zero());
    uf_pager_unref(uf_pager_zero());
    uf_pager_unref(uf_pager_zero());
    assert_int_equal(uf_space_create(&opts, &space), 0);
    assert_true(uf_sbrk(space, (intptr_t)page_size()) > 0);
    assert_int_equal(live_read(uf_space_base(space), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_stats(space).pages_zero, 1);
    assert_int_equal(live_stats(space).pager_calls, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static void make_and_unmake_many(void)
{
    static struct uf_space *spaces[SPACES];
    struct uf_space_opts opts = {.len_bytes = 64 * KIB, .window_pages = 1};
    unsigned char byte;

    assert_int_equal(uf_engine_create(NULL, &opts.engine), 0);
    for (size_t i = 0; i < SPACES; i++) {
        spaces[i] = live_space(&opts, 1);
        assert_ptr_equal(uf_space_engine(spaces[i]), opts.engine);
    }
    for (size_t i = 0; i < SPACES; i++)
        live_write(live_page(spaces[i], 0), (unsigned char)(i % 251 + 1), NULL);
    for (size_t i = 0; i < SPACES; i++) {
        assert_int_equal(live_read(live_page(spaces[i], 0), &byte, NULL), 0);
        assert_int_equal(byte, i % 251 + 1);
        assert_int_equal(live_stats(spaces[i]).faults, 1);
    }
    for (size_t i = 0; i < SPACES; i++)
        assert_int_equal(uf_space_destroy(spaces[(i * 7 + 3) % SPACES]), 0);
    assert_int_equal(uf_engine_destroy(opts.engine), 0);
}

/* Many spaces on one engine: their pages are their own. Records stay with the
 * library for the next ones, and nothing else does. */
static void many_spaces_at_once(void **state)
{
    size_t fds = live_count_fds(), maps;

    (void)state;
    make_and_unmake_many();
    maps = live_count_maps();
    make_and_unmake_many();
    make_and_unmake_many();
    assert_int_equal(live_count_fds(), fds);
    if (!LIVE_SANITIZED)
        assert_in_range(live_count_maps(), 0, maps + 4);
}

/* ----------------------------------------------------------------- outside --
 */

/* Outside every mapping a touch is the kernel's SIGSEGV, and no fault of ours.
 * Reserved means SEGV_ACCERR where brk(2) means SEGV_MAPERR. */
static void outside_is_sigsegv(void **state)
{
    struct uf_space_opts opts = {.len_bytes = 64 * MIB};
    struct uf_space *space = live_space(&opts, 3);
    const uintptr_t outside[] = {
        live_page(space, 3),
        live_page(space, 4),
        live_page(space, 600),
        uf_space_base(space) + 64 * MIB - 1,
    };

    (void)state;
    for (size_t i = 0; i < MANY(outside); i++) {
        siginfo_t info;

        assert_int_equal(live_read(outside[i], NULL, &info), SIGSEGV);
        assert_int_equal(info.si_code, live_unmapped_code());
        assert_true((uintptr_t)info.si_addr == outside[i]);
        assert_int_equal(live_write(outside[i], 1, &info), SIGSEGV);
    }
    assert_int_equal(live_stats(space).faults, 0);
    /* The last byte of the break's page is inside. */
    assert_true(uf_sbrk(space, 1) > 0);
    assert_int_equal(live_read(live_page(space, 4) - 1, NULL, NULL), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------- accounting --
 */

struct expected {
    uint64_t brk, brk_peak, total, total_peak, resident, resident_peak;
};

static void expect(struct uf_space *space, struct expected e)
{
    struct uf_stats s = live_stats(space);
    uintptr_t base = uf_space_base(space);

    assert_int_equal(s.start_brk, base);
    assert_int_equal(s.brk - base, e.brk);
    assert_int_equal(s.brk_peak - base, e.brk_peak);
    assert_int_equal(s.total_vm, e.total);
    assert_int_equal(s.data_vm, e.total);
    assert_int_equal(s.total_vm_peak, e.total_peak);
    assert_int_equal(s.locked_vm, 0);
    assert_int_equal(s.map_count, e.total > 0);
    assert_int_equal(s.resident, e.resident);
    assert_int_equal(s.resident_peak, e.resident_peak);
    if (e.total > 0)
        assert_int_equal(live_mincore(base, base + e.total * page_size()),
                         e.resident);
    live_assert_law(space);
}

static void touch_pages(struct uf_space *space, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
}

/* Every gauge after every step. */
static void accounting_step_by_step(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = live_space(&opts, 0);
    uintptr_t base = uf_space_base(space);
    size_t page = page_size();
    struct uf_stats s;

    (void)state;
    expect(space, (struct expected){0});
    assert_true(uf_brk(space, base + 10 * page + 1) == base + 10 * page + 1);
    expect(space,
           (struct expected){10 * page + 1, 10 * page + 1, 11, 11, 0, 0});
    touch_pages(space, 0, 6);
    expect(space,
           (struct expected){10 * page + 1, 10 * page + 1, 11, 11, 6, 6});
    live_read(live_page(space, 10), NULL, NULL);
    expect(space,
           (struct expected){10 * page + 1, 10 * page + 1, 11, 11, 7, 7});
    uf_brk(space, base + 4 * page);
    expect(space, (struct expected){4 * page, 10 * page + 1, 4, 11, 4, 7});
    uf_brk(space, base + 3 * page + 1); /* the same page */
    expect(space, (struct expected){3 * page + 1, 10 * page + 1, 4, 11, 4, 7});
    uf_brk(space, base + 20 * page);
    expect(space, (struct expected){20 * page, 20 * page, 20, 20, 4, 7});
    touch_pages(space, 0, 20);
    expect(space, (struct expected){20 * page, 20 * page, 20, 20, 20, 20});
    uf_brk(space, base);
    expect(space, (struct expected){0, 20 * page, 0, 20, 0, 20});
    assert_true(uf_brk(space, base - 1) == base);
    assert_true(uf_brk(space, 0) == base);

    s = live_stats(space);
    assert_int_equal(s.brk_grown, 2);
    assert_int_equal(s.brk_shrunk, 2);
    assert_int_equal(s.brk_refused, 1);
    assert_int_equal(s.brk_calls, 7);
    assert_int_equal(s.pages_dropped, 23);
    assert_int_equal(s.pages_installed, 23);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* The gauge and mincore agree under every window, whatever was touched. */
static void residency_by_recount(void **state)
{
    static const uint32_t windows[] = {1, 2, 7, 64, 512};
    uint32_t random = 1;

    (void)state;
    for (size_t w = 0; w < MANY(windows); w++) {
        struct uf_space_opts opts = {.window_pages = windows[w]};
        struct uf_space *space = live_space(&opts, 0);
        uintptr_t base = uf_space_base(space);

        for (int i = 0; i < 400; i++) {
            size_t npages;

            random = random * 1664525u + 1013904223u;
            if (i % 8 == 0)
                uf_brk(space, base + 1 + (random >> 8) % (900 * page_size()));
            npages = live_stats(space).total_vm;
            live_write(live_page(space, (random >> 12) % npages), 1, NULL);
            assert_int_equal(live_stats(space).resident,
                             live_mincore(base, base + npages * page_size()));
        }
        live_assert_law(space);
        assert_int_equal(uf_space_destroy(space), 0);
    }
}

/* ------------------------------------------------------------------ limits --
 */

/* In bytes where the kernel counts bytes, in pages where it counts pages. */
static void limits_as_setrlimit(void **state)
{
    size_t page = page_size();
    struct uf_space_opts opts = {.limit_data = 3 * page + 100,
                                 .limit_as = 5 * page};
    struct uf_space *space = live_space(&opts, 0);
    uintptr_t base = uf_space_base(space);
    uint64_t bytes = 0;

    (void)state;
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_DATA, &bytes), 0);
    assert_int_equal(bytes, 3 * page + 100);
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_AS, &bytes), 0);
    assert_int_equal(bytes, 5 * page);

    /* 3 pages are allowed; a 4th is over the limit in whole pages. */
    assert_true(uf_brk(space, base + 3 * page) == base + 3 * page);
    assert_true(uf_brk(space, base + 3 * page + 1) == base + 3 * page);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_DATA, UF_UNLIMITED), 0);
    assert_true(uf_brk(space, base + 5 * page) == base + 5 * page);
    assert_true(uf_brk(space, base + 5 * page + 1) == base + 5 * page);

    /* Below what is in use: only growth is refused. */
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, page), 0);
    assert_true(uf_brk(space, base + 4 * page) == base + 4 * page);
    assert_true(uf_brk(space, base + 5 * page) == base + 4 * page);
    assert_int_equal(uf_space_set_limit(space, UF_LIMIT_AS, UF_UNLIMITED), 0);
    assert_true(uf_brk(space, base + 9 * page) == base + 9 * page);
    assert_int_equal(uf_space_get_limit(space, UF_LIMIT_AS, &bytes), 0);
    assert_true(bytes == UF_UNLIMITED);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------- populating --
 */

/* Resident without a fault, contents as of a first touch. */
static void populate_makes_resident(void **state)
{
    struct uf_space_opts opts = {.window_pages = 1};
    struct uf_space *space = live_space(&opts, 16);
    uintptr_t base = uf_space_base(space);
    size_t page = page_size();
    unsigned char byte = 1;

    (void)state;
    live_write(base + 5 * page, 42, NULL);
    assert_int_equal(uf_populate(space, base + 4 * page, 4 * page), 0);
    assert_int_equal(live_mincore(base, base + 16 * page), 4);
    assert_int_equal(live_stats(space).resident, 4);
    assert_int_equal(uf_populate(space, base + 8 * page, 1), 0);
    assert_int_equal(live_mincore(base, base + 16 * page), 5);
    live_read(base + 5 * page, &byte, NULL);
    assert_int_equal(byte, 42);
    live_read(base + 6 * page, &byte, NULL);
    assert_int_equal(byte, 0);
    assert_int_equal(uf_populate(space, base, 16 * page), 0);
    assert_int_equal(live_mincore(base, base + 16 * page), 16);
    assert_int_equal(uf_populate(space, base, 16 * page), 0);
    assert_int_equal(live_stats(space).faults, 1);
    assert_int_equal(live_stats(space).pages_installed, 16);
    assert_int_equal(uf_space_destroy(space), 0);
}

/* -------------------------------------------------------------- locked space
 * --
 */

/* All that the break brings is there at once, and counted as locked. */
static void a_locked_space_is_populated(void **state)
{
    struct uf_space_opts opts = {.flags = UF_SPACE_LOCKED, .window_pages = 1};
    struct uf_space *space = live_space(&opts, 10);
    uintptr_t base = uf_space_base(space);
    size_t page = page_size();

    (void)state;
    assert_int_equal(live_mincore(base, base + 10 * page), 10);
    assert_int_equal(live_stats(space).locked_vm, 10);
    live_write(base + 4 * page, 3, NULL);
    uf_brk(space, base + 2 * page);
    assert_int_equal(live_stats(space).locked_vm, 2);
    uf_brk(space, base + 40 * page);
    assert_int_equal(live_mincore(base, base + 40 * page), 40);
    assert_int_equal(live_stats(space).resident, 40);
    assert_int_equal(*(volatile unsigned char *)(base + 4 * page), 0);
    assert_int_equal(live_stats(space).faults, 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

static ssize_t fail_page_3(struct live_pager *p, const struct uf_fill *request)
{
    (void)p;
    return request->offset == 3 * request->page_bytes
               ? -EIO
               : live_fill(request, request->page_bytes);
}

/* A page that cannot be had is left to its first touch; the break has moved,
 * as in the kernel. */
static void a_locked_space_whose_pager_fails(void **state)
{
    struct uf_space_opts opts = {.flags = UF_SPACE_LOCKED, .window_pages = 1};
    struct live_pager p;
    struct uf_space *space;
    size_t page = page_size();

    (void)state;
    live_pager_init(&p, fail_page_3, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 6);
    assert_true(uf_brk(space, 0) == uf_space_base(space) + 6 * page);
    assert_true(live_is_pattern(space, live_page(space, 0), 3 * page));
    assert_int_equal(live_read(live_page(space, 3), NULL, NULL), SIGBUS);
    assert_true(live_is_pattern(space, live_page(space, 4), 2 * page));
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_anywhere),
        cmocka_unit_test(every_size_at_an_address),
        cmocka_unit_test(the_zero_pager_by_name),
        cmocka_unit_test(many_spaces_at_once),
        cmocka_unit_test(outside_is_sigsegv),
        cmocka_unit_test(accounting_step_by_step),
        cmocka_unit_test(residency_by_recount),
        cmocka_unit_test(limits_as_setrlimit),
        cmocka_unit_test(populate_makes_resident),
        cmocka_unit_test(a_locked_space_is_populated),
        cmocka_unit_test(a_locked_space_whose_pager_fails),
    };
    int skipped = live_begin();

    if (skipped)
        return skipped;
    return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
