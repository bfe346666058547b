/* SPDX-License-Identifier: MIT */
/* ahead_record: what the two files of ahead.h share: the record of a set on its
 * way in, and bits by rank, which is the place in the set's order. */
#ifndef UF_FAULT_AHEAD_RECORD_H
#define UF_FAULT_AHEAD_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pairs.h"
#include "base/resident.h"

#define WORD_BITS 64u

struct ahead {
    atomic_uint refs;
    size_t memory_bytes;
    uintptr_t base;
    size_t npages;
    uint32_t leave;
    uint64_t *pages;          /* by rank */
    struct pair *ranks;       /* page -> rank, by page */
    _Atomic uint64_t *taken;  /* by rank: somebody has it come, or had */
    _Atomic uint64_t *ours;   /* by rank: came ahead */
    _Atomic uint64_t *theirs; /* by rank: brought in by a fault */
    struct resident set;      /* by page: of the set */
    atomic_bool is_over;      /* nothing is to come, or will */
    atomic_size_t ntaken;
    atomic_size_t ndone; /* of these, that are dealt with */
    size_t next;         /* the background's */
    /* Where the guest is, as late faults have it: */
    atomic_size_t jump;   /* 1 + the rank to go on at; 0: no news */
    atomic_size_t behind; /* the rank behind what its last fault brings in */
    atomic_uint width;    /* pages that this fault brings in */
    /* 1 + the rank from which it does; 0: nothing to do. */
    atomic_size_t follow;
    atomic_uint followers; /* faults that do so just now */
    _Atomic uint64_t nahead, nlate, nmissed, nleft, nleft_used;
};

/* The last reference frees it; NULL is allowed. */
void ahead_unref(struct ahead *a);

static inline uintptr_t ahead_page_addr(const struct ahead *a, uint64_t page)
{
    return a->base + page * page_size();
}

static inline bool rank_bit(_Atomic uint64_t *words, size_t i)
{
    return (atomic_load_explicit(&words[i / WORD_BITS], memory_order_relaxed) >>
            (i % WORD_BITS)) &
           1;
}

/* True if it was clear. */
static inline bool rank_bit_set(_Atomic uint64_t *words, size_t i)
{
    uint64_t bit = (uint64_t)1 << (i % WORD_BITS);

    return !(atomic_fetch_or_explicit(&words[i / WORD_BITS], bit,
                                      memory_order_relaxed) &
             bit);
}

static inline void rank_bit_clear(_Atomic uint64_t *words, size_t i)
{
    atomic_fetch_and_explicit(&words[i / WORD_BITS],
                              ~((uint64_t)1 << (i % WORD_BITS)),
                              memory_order_relaxed);
}

/* The first rank in [from, end) whose bit is clear; end if there is none. */
static inline size_t rank_next_clear(_Atomic uint64_t *words, size_t from,
                                     size_t end)
{
    while (from < end) {
        uint64_t word = ~atomic_load_explicit(&words[from / WORD_BITS],
                                              memory_order_relaxed) >>
                        (from % WORD_BITS);

        if (word != 0) {
            from += (size_t)__builtin_ctzll(word);
            break;
        }
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return from < end ? from : end;
}

#endif
