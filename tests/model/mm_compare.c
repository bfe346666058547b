/* SPDX-License-Identifier: MIT */
/*
 * Two records of one operation, and in what they differ.
 */
#include "model/mm_twin.h"

#include <string.h>

static bool residency_agrees(const struct mm_exchange *exchange, uint32_t i)
{
    const uint64_t *kernel = exchange->pages[SIDE_KERNEL][i];
    const uint64_t *tested = exchange->pages[SIDE_TESTED][i];
    size_t words = (exchange->config.npages + BITS - 1) / BITS;

    if (exchange->config.window_pages == 1)
        return exchange->records[SIDE_KERNEL][i].resident ==
               exchange->records[SIDE_TESTED][i].resident;
    for (size_t w = 0; w < words; w++)
        if (kernel[w] & ~tested[w])
            return false;
    return true;
}

uint32_t mm_differ(const struct mm_exchange *exchange, uint32_t i)
{
    const struct mm_record *k = &exchange->records[SIDE_KERNEL][i];
    const struct mm_record *t = &exchange->records[SIDE_TESTED][i];
    uint32_t differ = 0;

    if (k->result != t->result || k->signal != t->signal ||
        k->skipped != t->skipped || k->wrong || t->wrong)
        differ |= ASPECT_RESULT;
    if (k->seen != t->seen)
        differ |= ASPECT_SEEN;
    if (k->brk != t->brk || k->maps != t->maps)
        differ |= ASPECT_MAPS;
    if (!residency_agrees(exchange, i))
        differ |= ASPECT_RESIDENT;
    if (k->contents != t->contents)
        differ |= ASPECT_CONTENTS;
    if (k->flags != t->flags)
        differ |= ASPECT_FLAGS;
    if (memcmp(k->gauges, t->gauges, sizeof(k->gauges)) != 0)
        differ |= ASPECT_GAUGES;
    if (differ || k->args.kind == MM_MREMAP)
        differ = mm_meant(&exchange->config, k, t, differ);
    return differ;
}

uint32_t mm_first_difference(const struct mm_exchange *exchange,
                             uint32_t *ret_compared)
{
    uint32_t i = 0, compared = exchange->nops;

    for (; i < exchange->nops; i++) {
        uint32_t differ = mm_differ(exchange, i);

        if (differ & REST_OF_RUN) {
            compared = i;
            i = exchange->nops;
            break;
        }
        if (differ)
            break;
    }
    if (ret_compared)
        *ret_compared = compared;
    return i;
}
