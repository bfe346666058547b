/* SPDX-License-Identifier: MIT */
/*
 * Templates: a clone is its template, byte for byte, at any address; it does not
 * share what it writes; after a reset it is again what it was, whatever was done
 * to it. What the template holds is kept aside and compared, page by page.
 *
 *     UF_SEED=N UF_BUDGET=OPERATIONS tests/test_live_template
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

#include "host/pages.h"
#include "lib/live.h"
#include "ufault/mman.h"
#include "ufault/template.h"

#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGES 512
#define LEN   (PAGES * page_size())
#define HEAP  32
#define MAPS  4
#define OPS   20000

/* In pages from the base; what lies between is not mapped. */
static const struct {
    size_t start, npages;
    int prot;
} layout[MAPS] = {
    {64, 40, RW},
    {104, 8, PROT_READ},
    {120, 16, PROT_NONE},
    {200, 100, RW | PROT_EXEC},
};

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

/* Half of the pages hold something. */
static void draw_contents(struct uf_space *space, size_t first, size_t npages,
                          uint64_t *seed)
{
    for (size_t i = first; i < first + npages; i++)
        if (draw(seed, 2))
            memset((void *)live_page(space, i), (int)(1 + draw(seed, 255)),
                   page_size() / 2);
}

/* A warmed space; what each page holds is put into `bytes`. */
static struct uf_space *warm_space(char *bytes)
{
    struct uf_space_opts opts = {.len_bytes = LEN};
    struct uf_space *space = live_space(&opts, HEAP);
    uint64_t seed = 7;

    memset(bytes, 0, LEN);
    draw_contents(space, 0, HEAP, &seed);
    memcpy(bytes, (void *)live_page(space, 0), HEAP * page_size());
    for (size_t i = 0; i < MAPS; i++) {
        uintptr_t at = live_page(space, layout[i].start);
        size_t len = layout[i].npages * page_size();

        assert_int_equal(uf_mmap(space, at, len, RW, ANON | MAP_FIXED, -1, 0),
                         at);
        draw_contents(space, layout[i].start, layout[i].npages, &seed);
        memcpy(bytes + layout[i].start * page_size(), (void *)at, len);
        assert_int_equal(uf_mprotect(space, at, len, layout[i].prot), 0);
    }
    return space;
}

struct maps_text {
    uintptr_t base;
    char text[4096];
    size_t len;
};

static int add_line(void *data, const struct uf_vma_info *vma)
{
    struct maps_text *t = data;

    t->len += (size_t)snprintf(
        t->text + t->len, sizeof(t->text) - t->len, "%zx-%zx %d %x %zx\n",
        (size_t)(vma->start - t->base), (size_t)(vma->end - t->base), vma->prot,
        vma->flags, (size_t)vma->offset);
    return 0;
}

static struct maps_text maps_of(struct uf_space *space)
{
    struct maps_text t = {.base = uf_space_base(space)};

    assert_int_equal(uf_space_walk(space, add_line, &t), 0);
    return t;
}

/* Whatever the protection is. */
static void read_anyway(uintptr_t at, size_t len, char *to)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, to, len, (off_t)at), len);
    close(fd);
}

/* Every byte of what the template maps, PROT_NONE included. */
static void assert_is(struct uf_space *space, const char *bytes)
{
    char *copy = malloc(LEN);

    assert_int_equal(uf_brk(space, 0), live_page(space, HEAP));
    assert_memory_equal((void *)live_page(space, 0), bytes, HEAP * page_size());
    for (size_t i = 0; i < MAPS; i++) {
        size_t len = layout[i].npages * page_size();

        read_anyway(live_page(space, layout[i].start), len, copy);
        assert_memory_equal(copy, bytes + layout[i].start * page_size(), len);
    }
    free(copy);
}

struct rig {
    char *bytes;
    struct uf_template *t;
    struct uf_engine *engine;
    struct uf_space_opts opts;
};

static void set_up(struct rig *rig)
{
    struct uf_engine_opts eopts = {.size = sizeof(eopts),
                                   .kind = live_engine_kind()};
    struct uf_space *space;

    rig->bytes = malloc(LEN);
    space = warm_space(rig->bytes);
    assert_int_equal(uf_template_create(space, &rig->t), 0);
    assert_is(space, rig->bytes); /* as it was */
    assert_int_equal(uf_space_destroy(space), 0);
    assert_int_equal(uf_engine_create(&eopts, &rig->engine), 0);
    rig->opts = (struct uf_space_opts){.size = sizeof(rig->opts),
                                       .engine = rig->engine};
}

static void tear_down(struct rig *rig)
{
    uf_template_unref(rig->t);
    assert_int_equal(uf_engine_destroy(rig->engine), 0);
    free(rig->bytes);
}

static struct uf_space *clone_of(struct rig *rig)
{
    struct uf_space *space;

    assert_int_equal(uf_space_from_template(rig->t, &rig->opts, &space), 0);
    return space;
}

static void a_clone_is_its_template(void **state)
{
    struct uf_space *a, *b;
    struct rig rig;
    unsigned char byte = 0;

    (void)state;
    set_up(&rig);
    a = clone_of(&rig);
    b = clone_of(&rig);
    assert_int_not_equal(uf_space_base(a), uf_space_base(b));
    assert_int_equal(uf_space_len(a), LEN);
    assert_is(a, rig.bytes);
    assert_int_equal(live_write(live_page(a, 3), 77, NULL), 0);
    assert_is(b, rig.bytes);
    /* Its heap grows with memory of the engine's. */
    assert_true(uf_sbrk(a, (intptr_t)(4 * page_size())) > 0);
    assert_int_equal(live_read(live_page(a, HEAP + 3), &byte, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(live_write(live_page(a, HEAP + 3), 5, NULL), 0);
    assert_int_equal(live_read(live_page(a, 110), &byte, NULL), 0);
    assert_int_equal(live_write(live_page(a, 110), 1, NULL), SIGSEGV);
    assert_int_equal(live_read(live_page(a, 121), &byte, NULL), SIGSEGV);
    assert_int_equal(live_read(live_page(a, 150), &byte, NULL), SIGSEGV);
    live_assert_law(a);
    assert_int_equal(uf_space_destroy(a), 0);
    assert_int_equal(uf_space_destroy(b), 0);
    assert_true(uf_template_bytes(rig.t) >= 80 * page_size());
    assert_true(uf_template_bytes(rig.t) <= 130 * page_size());
    tear_down(&rig);
}

/* Something that a guest may do. What it answers is nobody's business here. */
static void do_something(struct uf_space *space, uint64_t *seed)
{
    uintptr_t at = live_page(space, draw(seed, PAGES - 40));
    size_t len = (1 + draw(seed, 32)) * page_size();
    const int prots[] = {PROT_NONE, PROT_READ, RW, RW | PROT_EXEC};
    const int advice[] = {MADV_DONTNEED, MADV_FREE,      102,
                          103,           MADV_HUGEPAGE,  MADV_DONTFORK,
                          MADV_DOFORK,   MADV_WILLNEED,  MADV_SEQUENTIAL,
                          MADV_NORMAL,   MADV_NOHUGEPAGE};

    switch (draw(seed, 200)) {
    case 0:
        uf_mmap(space, at, len, prots[draw(seed, 4)], ANON | MAP_FIXED, -1, 0);
        break;
    case 1:
        uf_munmap(space, at, len);
        break;
    case 2:
        uf_mprotect(space, at, len, prots[draw(seed, 4)]);
        break;
    case 3:
        uf_mremap(space, at, len, (1 + draw(seed, 32)) * page_size(),
                  MREMAP_MAYMOVE, 0);
        break;
    case 4:
    case 5:
        uf_sbrk(space, (intptr_t)((draw(seed, 16)) * page_size()) -
                           (intptr_t)(8 * page_size()));
        break;
    case 6:
    case 7:
        uf_madvise(space, at, len, advice[draw(seed, 11)]);
        break;
    case 8:
        uf_mlock2(space, at, len, UF_MLOCK_ONFAULT);
        break;
    case 9:
        uf_munlock(space, at, len);
        break;
    case 10:
        uf_mmap(space, 0, len, RW, ANON, -1, 0);
        break;
    default:
        if (draw(seed, 4))
            live_write(at + draw(seed, page_size()),
                       (unsigned char)draw(seed, 256), NULL);
        else
            live_read(at, NULL, NULL);
        break;
    }
}

/* After anything at all it is what it was. Most rounds only write, as guests do;
 * others map as well. */
static void a_reset_brings_everything_back(void **state)
{
    uint64_t seed = from_environment("UF_SEED", 1);
    uint64_t budget = from_environment("UF_BUDGET", OPS);
    struct maps_text before, after;
    struct uf_space *space;
    struct rig rig;

    (void)state;
    set_up(&rig);
    space = clone_of(&rig);
    before = maps_of(space);
    assert_is(space, rig.bytes);
    while (budget > 0) {
        uint64_t n = 1 + draw(&seed, 400);
        bool writes_only = draw(&seed, 2);
        uint64_t mmaps;

        n = n < budget ? n : budget;
        budget -= n;
        for (uint64_t i = 0; i < n; i++) {
            if (writes_only)
                live_write(live_page(space, draw(&seed, PAGES)), 9, NULL);
            else
                do_something(space, &seed);
        }
        mmaps = live_stats(space).mmaps;
        assert_int_equal(uf_space_reset(space), 0);
        if (writes_only) /* nothing was laid out again */
            assert_int_equal(live_stats(space).mmaps, mmaps);
        after = maps_of(space);
        assert_string_equal(after.text, before.text);
        assert_is(space, rig.bytes);
        for (size_t i = 0; i < PAGES; i += 37)
            if (i >= HEAP && i < 64)
                assert_int_equal(live_read(live_page(space, i), NULL, NULL),
                                 SIGSEGV);
        assert_int_equal(live_stats(space).locked_vm, 0);
    }
    live_assert_law(space);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

/* What was not written stays where it is. */
static void clean_pages_stay(void **state)
{
    struct page_counts counts;
    struct uf_space *space;
    struct pages *pages;
    struct range part;
    struct rig rig;

    (void)state;
    set_up(&rig);
    space = clone_of(&rig);
    part = (struct range){live_page(space, 200), live_page(space, 300)};
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(live_read(live_page(space, 200 + i), NULL, NULL), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(live_write(live_page(space, 200 + 10 * i), 1, NULL),
                         0);
    assert_int_equal(uf_space_reset(space), 0);
    assert_int_equal(pages_open(&pages), 0);
    assert_int_equal(pages_count(pages, part, &counts), 0);
    pages_close(pages);
    assert_int_equal(counts.present, 100);
    assert_int_equal(counts.file, 95); /* five were copied back */
    assert_is(space, rig.bytes);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

/* No guest sees a byte of the one before, wherever that put it. */
static void a_pool_leaks_nothing(void **state)
{
    struct uf_pool *pool;
    struct rig rig;
    uint64_t seed = 3;

    (void)state;
    set_up(&rig);
    assert_int_equal(uf_pool_create(rig.t, &rig.opts, 2, &pool), 0);
    assert_int_equal(uf_pool_ready(pool), 2);
    for (int round = 0; round < 50; round++) {
        struct uf_space *guests[3];

        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(uf_pool_get(pool, &guests[i]), 0);
            assert_is(guests[i], rig.bytes);
        }
        assert_int_equal(uf_pool_ready(pool), 0);
        for (size_t i = 0; i < 3; i++) {
            for (size_t page = 0; page < PAGES; page++)
                live_write(live_page(guests[i], page) + 99, 0xee, NULL);
            for (int n = 0; n < 20; n++)
                do_something(guests[i], &seed);
            /* More than is kept: it goes. */
            assert_int_equal(uf_pool_put(pool, guests[i]), 0);
        }
        assert_int_equal(uf_pool_ready(pool), 2);
    }
    uf_pool_destroy(pool);
    tear_down(&rig);
}

struct taker {
    pthread_t thread;
    struct uf_pool *pool;
    const char *bytes;
    unsigned wrong;
};

static void *take_and_put(void *arg)
{
    struct taker *t = arg;

    for (int round = 0; round < 100; round++) {
        struct uf_space *guest;

        if (uf_pool_get(t->pool, &guest) != 0) {
            t->wrong++;
            continue;
        }
        if (memcmp((void *)live_page(guest, 0), t->bytes, HEAP * page_size()))
            t->wrong++;
        memset((void *)live_page(guest, 0), 0x5a, HEAP * page_size());
        if (uf_pool_put(t->pool, guest) != 0)
            t->wrong++;
    }
    return NULL;
}

static void threads_share_a_pool(void **state)
{
    struct taker takers[4];
    struct uf_pool *pool;
    struct rig rig;

    (void)state;
    set_up(&rig);
    assert_int_equal(uf_pool_create(rig.t, &rig.opts, 3, &pool), 0);
    for (size_t i = 0; i < 4; i++) {
        takers[i] = (struct taker){.pool = pool, .bytes = rig.bytes};
        pthread_create(&takers[i].thread, NULL, take_and_put, &takers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(takers[i].thread, NULL);
        assert_int_equal(takers[i].wrong, 0);
    }
    assert_true(uf_pool_ready(pool) > 0);
    uf_pool_destroy(pool);
    tear_down(&rig);
}

/* provokes: uf_template_create -EINVAL -EOPNOTSUPP -EFAULT
 * provokes: uf_space_from_template -EINVAL -ENOMEM
 * provokes: uf_space_reset -EINVAL
 * provokes: uf_pool_create -EINVAL
 * provokes: uf_pool_get -EINVAL
 * provokes: uf_pool_put -EINVAL */
static void what_cannot_be(void **state)
{
    struct uf_space_opts opts = {.size = sizeof(opts)};
    struct uf_template *t = NULL;
    struct uf_pool *pool = NULL;
    struct uf_space *space, *other = NULL;
    struct rig rig;
    intptr_t shared;

    (void)state;
    set_up(&rig);
    space = live_space(NULL, 4);
    assert_int_equal(uf_template_create(NULL, &t), -EINVAL);
    assert_int_equal(uf_template_create(space, NULL), -EINVAL);
    shared =
        uf_mmap(space, 0, page_size(), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared > 0);
    assert_int_equal(uf_template_create(space, &t), -EOPNOTSUPP);
    assert_int_equal(uf_space_reset(NULL), -EINVAL);
    assert_int_equal(uf_space_reset(space), -EINVAL);
    assert_int_equal(uf_space_from_template(NULL, NULL, &other), -EINVAL);
    assert_int_equal(uf_space_from_template(rig.t, NULL, NULL), -EINVAL);
    opts.len_bytes = 128 * page_size();
    assert_int_equal(uf_space_from_template(rig.t, &opts, &other), -EINVAL);
    opts.len_bytes = 0;
    opts.limit_as = 16 * page_size();
    assert_int_equal(uf_space_from_template(rig.t, &opts, &other), -ENOMEM);
    opts.limit_as = 0;
    assert_int_equal(uf_pool_create(NULL, NULL, 1, &pool), -EINVAL);
    assert_int_equal(uf_pool_create(rig.t, NULL, 1, NULL), -EINVAL);
    assert_int_equal(uf_pool_create(rig.t, NULL, 65537, &pool), -EINVAL);
    opts.address = live_aligned_address();
    assert_int_equal(uf_pool_create(rig.t, &opts, 1, &pool), -EINVAL);
    assert_int_equal(uf_pool_create(rig.t, NULL, 0, &pool), 0);
    assert_int_equal(uf_pool_get(NULL, &other), -EINVAL);
    assert_int_equal(uf_pool_get(pool, NULL), -EINVAL);
    assert_int_equal(uf_pool_put(NULL, space), -EINVAL);
    assert_int_equal(uf_pool_put(pool, NULL), -EINVAL);
    assert_int_equal(uf_pool_put(pool, space), -EINVAL);
    assert_int_equal(uf_pool_ready(NULL), 0);
    assert_int_equal(uf_template_bytes(NULL), 0);
    uf_pool_destroy(NULL);
    uf_template_unref(NULL);
    assert_null(uf_template_ref(NULL));
    uf_pool_destroy(pool);
    assert_int_equal(uf_space_destroy(space), 0);
    tear_down(&rig);
}

static ssize_t never_fill(struct live_pager *p, const struct uf_fill *r)
{
    (void)p;
    (void)r;
    return -EIO;
}

static void a_page_that_cannot_be_had(void **state)
{
    struct uf_space_opts opts = {0};
    struct uf_template *t = NULL;
    struct uf_space *space;
    struct live_pager p;

    (void)state;
    live_pager_init(&p, never_fill, NULL);
    opts.heap_pager = p.pager;
    space = live_space(&opts, 4);
    assert_int_equal(uf_template_create(space, &t), -EFAULT);
    assert_int_equal(uf_space_destroy(space), 0);
    uf_pager_unref(p.pager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clone_is_its_template),
        cmocka_unit_test(a_reset_brings_everything_back),
        cmocka_unit_test(clean_pages_stay),
        cmocka_unit_test(a_pool_leaks_nothing),
        cmocka_unit_test(threads_share_a_pool),
        cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(a_page_that_cannot_be_had),
    };
    int skipped = live_begin();

    return skipped ? skipped
                   : cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
