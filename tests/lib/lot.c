/* SPDX-License-Identifier: MIT */
/* See lot.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/live.h"
#include "lib/lot.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static uint32_t lot_state;

static uint32_t lot(uint32_t n)
{
    lot_state = lot_state * 1664525u + 1013904223u;
    return (lot_state >> 8) % n;
}

static int note_mapping(void *data, const struct uf_vma_info *vma)
{
    struct lot_look *w = data;

    for (uintptr_t at = vma->start; at < vma->end; at += page_size()) {
        w->prot[(at - w->base) / page_size()] = vma->prot;
        w->flags[(at - w->base) / page_size()] = vma->flags;
    }
    return 0;
}

/* What is mapped, in any case; and the bytes of what can be read. */
struct lot_look *lot_look(struct uf_space *space, bool bytes)
{
    struct lot_look *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->base = uf_space_base(space);
    w->npages = uf_space_len(space) / page_size();
    assert_true(w->npages <= LOT_PAGES);
    w->brk = uf_brk(space, 0) - w->base;
    w->bytes = calloc(w->npages, page_size());
    assert_non_null(w->bytes);
    memset(w->prot, -1, sizeof(w->prot));
    assert_int_equal(uf_space_walk(space, note_mapping, w), 0);
    for (size_t i = 0; bytes && i < w->npages; i++)
        if (w->prot[i] >= 0) {
            uintptr_t at = w->base + i * page_size();

            if (!(w->prot[i] & PROT_READ))
                assert_int_equal(uf_mprotect(space, at, page_size(), PROT_READ),
                                 0);
            assert_int_equal(uf_copy_in(space, w->bytes + i * page_size(), at,
                                        page_size(), NULL),
                             0);
        }
    return w;
}

void lot_forget(struct lot_look *w)
{
    free(w->bytes);
    free(w);
}

/* A pager's mapping is not inherited by default. */
static uint32_t comparable(uint32_t flags)
{
    return flags & ~(UF_VMA_DONTFORK | UF_VMA_LOCKED);
}

void lot_expect_same_maps(const struct lot_look *a, const struct lot_look *b)
{
    assert_int_equal(a->npages, b->npages);
    assert_int_equal(a->brk, b->brk);
    assert_memory_equal(a->prot, b->prot, sizeof(a->prot));
    for (size_t i = 0; i < a->npages; i++)
        assert_int_equal(comparable(a->flags[i]), comparable(b->flags[i]));
}

void lot_expect_same(const struct lot_look *a, const struct lot_look *b)
{
    lot_expect_same_maps(a, b);
    for (size_t i = 0; i < a->npages; i++)
        assert_memory_equal(a->bytes + i * page_size(),
                            b->bytes + i * page_size(), page_size());
}

/* Writes some pages of [first, first + n), some of them zeros, in kinds that
 * compress and do not. */
static void write_some(struct uf_space *space, size_t first, size_t n)
{
    unsigned char bytes[65536];

    for (size_t i = first; i < first + n; i++) {
        uint32_t kind = lot(4);

        if (kind == 0)
            continue;
        memset(bytes, 0, page_size());
        for (size_t k = 0; kind > 1 && k < page_size(); k += kind == 2 ? 64 : 1)
            bytes[k] = (unsigned char)lot(256);
        assert_int_equal(
            uf_copy_out(space, live_page(space, i), bytes, page_size(), NULL),
            0);
    }
}

void lot_map(struct uf_space *space)
{
    static const int prots[] = {RW, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC,
                                RW};
    static const int advices[] = {MADV_RANDOM,   MADV_SEQUENTIAL, MADV_DONTDUMP,
                                  MADV_DONTFORK, MADV_NORMAL,     MADV_NORMAL};
    size_t first = 300 + lot(LOT_PAGES - 400), n = 1 + lot(60);
    uintptr_t at = live_page(space, first);
    int flags = ANON | MAP_FIXED | (lot(4) == 0 ? MAP_NORESERVE : 0);

    assert_int_equal(uf_mmap(space, at, n * page_size(), RW, flags, -1, 0), at);
    if (lot(6) > 0)
        write_some(space, first, n);
    assert_int_equal(uf_madvise(space, at, n * page_size(), advices[lot(6)]),
                     0);
    assert_int_equal(uf_mprotect(space, at, n * page_size(), prots[lot(5)]), 0);
}

struct uf_space *lot_space(uint32_t seed)
{
    /* Out of the way of what is mapped meanwhile, to come back there. */
    struct uf_space_opts opts = {.len_bytes = LOT_PAGES * page_size(),
                                 .address = live_aligned_address() -
                                            ((uintptr_t)64 << 30)};
    size_t heap = 1 + seed % 200;
    struct uf_space *space = live_space(&opts, heap);

    lot_state = seed;
    write_some(space, 0, heap);
    uf_sbrk(space, (intptr_t)lot(4000));
    if (seed % 3 == 0) /* a heap may have holes */
        assert_int_equal(
            uf_munmap(space, live_page(space, heap / 2), page_size()), 0);
    for (size_t i = 0; i < 24; i++)
        lot_map(space);
    return space;
}
