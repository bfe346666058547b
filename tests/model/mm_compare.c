/* SPDX-License-Identifier: MIT */
/*
 * Two records of one operation, and in what they differ.
 */
#include "model/mm_twin.h"

#include <string.h>

uint32_t mm_differ(const struct mm_exchange *exchange, uint32_t i)
{
    const struct mm_record *k = &exchange->records[SIDE_KERNEL][i];
    const struct mm_record *t = &exchange->records[SIDE_TESTED][i];
    uint64_t pages[SPACE_PAGES / BITS];
    uint32_t differ = 0;

    if (k->result != t->result || k->signal != t->signal ||
        k->skipped != t->skipped || k->wrong || t->wrong)
        differ |= ASPECT_RESULT;
    if (k->seen != t->seen)
        differ |= ASPECT_SEEN;
    if (k->brk != t->brk || k->maps != t->maps)
        differ |= ASPECT_MAPS;
    if (mm_pages_differ(exchange, i, pages) > 0)
        differ |= ASPECT_RESIDENT;
    if (k->contents != t->contents)
        differ |= ASPECT_CONTENTS;
    if (k->flags != t->flags)
        differ |= ASPECT_FLAGS;
    if (memcmp(k->gauges, t->gauges, sizeof(k->gauges)) != 0)
        differ |= ASPECT_GAUGES;
    if (differ || k->args.kind == MM_MREMAP)
        differ = mm_meant(
            &(struct mm_case){
                .config = &exchange->config,
                .kernel = k,
                .tested = t,
                .reclaimed = differ && mm_reclaimed(exchange, i, differ),
            },
            differ);
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
