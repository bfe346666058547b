/* SPDX-License-Identifier: MIT */
/* See looks.h. */
#include "store/looks.h"

#include "base/range.h"
#include "base/sys.h"

/* What is known of a block, with its number and the time: a number of questions,
 * or what came of a look at all of it. */
enum { ALL_THERE = LOOKS_ASKED + 1, NOT_ALL_THERE };

#define TIME_BITS  30
#define STATE_BITS 5
#define TIME_MASK  (((uint64_t)1 << TIME_BITS) - 1)

static uint64_t note(uint64_t block, uint64_t now_ms, unsigned state)
{
    return block << (TIME_BITS + STATE_BITS) |
           (now_ms & TIME_MASK) << STATE_BITS | state;
}

/* 0: nothing, or too long ago. */
static unsigned recall(uint64_t noted, uint64_t block, uint64_t now_ms)
{
    uint64_t then = noted >> STATE_BITS & TIME_MASK;

    if (noted >> (TIME_BITS + STATE_BITS) != block ||
        ((now_ms - then) & TIME_MASK) > LOOKS_MS)
        return 0;
    return noted & ((1u << STATE_BITS) - 1);
}

static bool look(char *start, size_t len_bytes)
{
    unsigned char cached[LOOKS_PAGES];
    size_t npages = len_bytes / page_size();

    if (sys->mincore(start, len_bytes, cached) != 0)
        return false;
    for (size_t i = 0; i < npages; i++)
        if (!(cached[i] & 1))
            return false;
    return true;
}

/* True if all of the block is known to be there. */
static bool ask_block(struct looks *looks, char *view, size_t view_bytes,
                      uint64_t block, uint64_t now_ms)
{
    _Atomic uint64_t *slot = &looks->blocks[block % LOOKS_BLOCKS];
    size_t block_bytes = LOOKS_PAGES * page_size();
    size_t start = block * block_bytes, len_bytes = view_bytes - start;
    unsigned known =
        recall(atomic_load_explicit(slot, memory_order_relaxed), block, now_ms);

    if (known > LOOKS_ASKED)
        return known == ALL_THERE;
    if (len_bytes > block_bytes)
        len_bytes = block_bytes;
    if (known < LOOKS_ASKED)
        known++;
    else
        known = look(view + start, len_bytes) ? ALL_THERE : NOT_ALL_THERE;
    atomic_store_explicit(slot, note(block, now_ms, known),
                          memory_order_relaxed);
    return known == ALL_THERE;
}

bool looks_find(struct looks *looks, char *view, size_t view_bytes,
                uint64_t offset, size_t len_bytes, uint64_t now_ms)
{
    uint64_t block_bytes = LOOKS_PAGES * page_size();
    uint64_t block = offset / block_bytes;

    if ((offset + len_bytes - 1) / block_bytes == block &&
        ask_block(looks, view, view_bytes, block, now_ms))
        return true;
    return look(view + offset, len_bytes);
}
