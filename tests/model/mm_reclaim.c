/* SPDX-License-Identifier: MIT */
/*
 * Which pages the host may take when it likes: it is short of memory on
 * somebody else's account, and one side's page goes and the other's stays.
 * Without swap these are what MADV_FREE gave up and clean pages of files on
 * disk; where such a page was once, one may still be.
 */
#include "model/mm_twin.h"

#include <string.h>
#include <sys/mman.h>

#include "base/range.h"

#define WORDS (SPACE_PAGES / BITS)

static bool is_set(const uint64_t *bits, uint64_t page)
{
    return bits[page / BITS] >> (page % BITS) & 1;
}

/* The pages of [at, at + len), clipped to the space. */
static void clip(const struct mm_exchange *exchange, uintptr_t at, uint64_t len,
                 uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t npages = exchange->config.npages;
    uintptr_t base = exchange->base;
    uintptr_t end = at + len < at ? UINTPTR_MAX - page_size() : at + len;
    uint64_t past = end > base ? (align_up(end, page_size()) - base) : 0;

    *ret_first = at > base ? (at - base) / page_size() : 0;
    *ret_end = past / page_size() < npages ? past / page_size() : npages;
}

static void mark(const struct mm_exchange *exchange, uint64_t *bits,
                 uintptr_t at, uint64_t len)
{
    uint64_t page, end;

    clip(exchange, at, len, &page, &end);
    for (; page < end; page++)
        bits[page / BITS] |= (uint64_t)1 << page % BITS;
}

static bool any_marked(const struct mm_exchange *exchange, const uint64_t *bits,
                       uintptr_t at, uint64_t len)
{
    uint64_t page, end;

    clip(exchange, at, len, &page, &end);
    for (; page < end; page++)
        if (is_set(bits, page))
            return true;
    return false;
}

static void note(const struct mm_exchange *exchange,
                 const struct mm_record *record, uint64_t *bits)
{
    const struct mm_args *args = &record->args;
    bool failed = (int64_t)record->result < 0;

    if (record->skipped)
        return;
    if (args->kind == MM_MADVISE && args->flags == MADV_FREE)
        mark(exchange, bits, args->at, args->len);
    else if (args->kind == MM_MMAP && args->file == FILE_DISK && !failed)
        mark(exchange, bits, record->result, args->len);
    else if (args->kind == MM_MREMAP && !failed &&
             any_marked(exchange, bits, args->at, args->len))
        mark(exchange, bits, record->result, args->extra);
}

uint32_t mm_pages_differ(const struct mm_exchange *exchange, uint32_t i,
                         uint64_t *ret_bits)
{
    const uint64_t *kernel = exchange->pages[SIDE_KERNEL][i];
    const uint64_t *tested = exchange->pages[SIDE_TESTED][i];
    uint32_t words = (exchange->config.npages + BITS - 1) / BITS, n = 0;

    memset(ret_bits, 0, WORDS * sizeof(ret_bits[0]));
    for (uint32_t w = 0; w < words; w++) {
        ret_bits[w] = kernel[w] & ~tested[w];
        /* A window brings in more than the kernel does. */
        if (exchange->config.window_pages == 1)
            ret_bits[w] |= tested[w] & ~kernel[w];
        n += (uint32_t)__builtin_popcountll(ret_bits[w]);
    }
    return n;
}

bool mm_reclaimed(const struct mm_exchange *exchange, uint32_t i,
                  uint32_t differ)
{
    const struct mm_args *args = &exchange->records[SIDE_KERNEL][i].args;
    uint64_t may_go[WORDS] = {0}, pages[WORDS];

    if (differ & ~(uint32_t)(ASPECT_RESIDENT | ASPECT_CONTENTS | ASPECT_SEEN))
        return false;
    for (uint32_t j = 0; j <= i; j++)
        note(exchange, &exchange->records[SIDE_KERNEL][j], may_go);
    if (mm_pages_differ(exchange, i, pages) == 0) {
        /* It went before the operation touched it or asked for it. */
        return args->kind == MM_FORK
                   ? any_marked(exchange, may_go, 0, UINTPTR_MAX)
                   : any_marked(exchange, may_go, args->at, args->len);
    }
    for (uint32_t w = 0; w < WORDS; w++)
        if (pages[w] & ~may_go[w])
            return false;
    return true;
}
