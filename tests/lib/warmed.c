/* SPDX-License-Identifier: MIT */
/* See warmed.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/live.h"
#include "lib/warmed.h"
#include "ufault/mman.h"
#include "ufault/template.h"

#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGES WARMED_PAGES
#define LEN   WARMED_LEN
#define HEAP  WARMED_HEAP
#define MAPS  4

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

uint64_t warmed_draw(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

/* Half of the pages hold something. */
static void draw_contents(struct uf_space *space, size_t first, size_t npages,
                          uint64_t *seed)
{
    for (size_t i = first; i < first + npages; i++)
        if (warmed_draw(seed, 2))
            memset((void *)live_page(space, i),
                   (int)(1 + warmed_draw(seed, 255)), page_size() / 2);
}

struct uf_space *warmed_space(char *bytes)
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

static int add_line(void *data, const struct uf_vma_info *vma)
{
    struct warmed_maps *t = data;

    t->len += (size_t)snprintf(
        t->text + t->len, sizeof(t->text) - t->len, "%zx-%zx %d %x %zx\n",
        (size_t)(vma->start - t->base), (size_t)(vma->end - t->base), vma->prot,
        vma->flags, (size_t)vma->offset);
    return 0;
}

struct warmed_maps warmed_maps(struct uf_space *space)
{
    struct warmed_maps t = {.base = uf_space_base(space)};

    assert_int_equal(uf_space_walk(space, add_line, &t), 0);
    return t;
}

/* Whatever the protection is. False: an absent page that an engine serves. */
static bool read_anyway(uintptr_t at, size_t len, char *to)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t got;

    assert_true(fd >= 0);
    got = pread(fd, to, len, (off_t)at);
    close(fd);
    return got == (ssize_t)len;
}

void warmed_expect(struct uf_space *space, const char *bytes)
{
    char *copy = malloc(LEN);

    assert_int_equal(uf_brk(space, 0), live_page(space, HEAP));
    assert_memory_equal((void *)live_page(space, 0), bytes, HEAP * page_size());
    for (size_t i = 0; i < MAPS; i++) {
        uintptr_t at = live_page(space, layout[i].start);
        size_t len = layout[i].npages * page_size();
        const char *right = bytes + layout[i].start * page_size();

        if (layout[i].prot & PROT_READ)
            assert_memory_equal((void *)at, right, len);
        else if (read_anyway(at, len, copy))
            assert_memory_equal(copy, right, len);
    }
    free(copy);
}

void warmed_expect_closed(struct uf_space *space, const char *bytes)
{
    for (size_t i = 0; i < MAPS; i++) {
        uintptr_t at = live_page(space, layout[i].start);
        size_t len = layout[i].npages * page_size();

        if (layout[i].prot & PROT_READ)
            continue;
        assert_int_equal(uf_mprotect(space, at, len, PROT_READ), 0);
        assert_memory_equal((void *)at, bytes + layout[i].start * page_size(),
                            len);
        assert_int_equal(uf_mprotect(space, at, len, layout[i].prot), 0);
    }
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

/* Some operations, one at least; at most what the budget has left. True: none
 * of them could map. */
static bool do_some(struct uf_space *space, uint64_t *seed, uint64_t *budget)
{
    uint64_t n = 1 + warmed_draw(seed, 400);
    bool writes_only = warmed_draw(seed, 2);

    n = n < *budget ? n : *budget;
    *budget -= n;
    for (uint64_t i = 0; i < n; i++) {
        if (writes_only)
            live_write(live_page(space, warmed_draw(seed, PAGES)), 9, NULL);
        else
            warmed_do(space, seed);
    }
    return writes_only;
}

void warmed_try_resets(struct uf_space *space, const char *bytes)
{
    uint64_t seed = from_environment("UF_SEED", 1);
    uint64_t budget =
        from_environment("UF_BUDGET", LIVE_SANITIZED ? 4000 : 20000);
    struct warmed_maps before = warmed_maps(space), after;

    warmed_expect(space, bytes);
    while (budget > 0) {
        bool writes_only = do_some(space, &seed, &budget);
        uint64_t mmaps = live_stats(space).mmaps;

        assert_int_equal(uf_space_reset(space), 0);
        if (writes_only) /* nothing was laid out again */
            assert_int_equal(live_stats(space).mmaps, mmaps);
        after = warmed_maps(space);
        assert_string_equal(after.text, before.text);
        warmed_expect(space, bytes);
        for (size_t i = HEAP; i < 64; i += 7)
            assert_int_equal(live_read(live_page(space, i), NULL, NULL),
                             SIGSEGV);
        assert_int_equal(live_stats(space).locked_vm, 0);
    }
    warmed_expect_closed(space, bytes);
    live_assert_law(space);
}

void warmed_do(struct uf_space *space, uint64_t *seed)
{
    uintptr_t at = live_page(space, warmed_draw(seed, PAGES - 40));
    size_t len = (1 + warmed_draw(seed, 32)) * page_size();
    const int prots[] = {PROT_NONE, PROT_READ, RW, RW | PROT_EXEC};
    const int advice[] = {MADV_DONTNEED, MADV_FREE,      102,
                          103,           MADV_HUGEPAGE,  MADV_DONTFORK,
                          MADV_DOFORK,   MADV_WILLNEED,  MADV_SEQUENTIAL,
                          MADV_NORMAL,   MADV_NOHUGEPAGE};

    switch (warmed_draw(seed, 200)) {
    case 0:
        uf_mmap(space, at, len, prots[warmed_draw(seed, 4)], ANON | MAP_FIXED,
                -1, 0);
        break;
    case 1:
        uf_munmap(space, at, len);
        break;
    case 2:
        uf_mprotect(space, at, len, prots[warmed_draw(seed, 4)]);
        break;
    case 3:
        uf_mremap(space, at, len, (1 + warmed_draw(seed, 32)) * page_size(),
                  MREMAP_MAYMOVE, 0);
        break;
    case 4:
    case 5:
        uf_sbrk(space, (intptr_t)((warmed_draw(seed, 16)) * page_size()) -
                           (intptr_t)(8 * page_size()));
        break;
    case 6:
    case 7:
        uf_madvise(space, at, len, advice[warmed_draw(seed, 11)]);
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
        if (warmed_draw(seed, 4))
            live_write(at + warmed_draw(seed, page_size()),
                       (unsigned char)warmed_draw(seed, 256), NULL);
        else
            live_read(at, NULL, NULL);
        break;
    }
}
