/* SPDX-License-Identifier: MIT */
/*
 * fake_script: which call on a fake descriptor fails, and how.
 *
 * Three ways to say it, looked at in this order: rows ("the 3rd copy answers
 * -EAGAIN after one page"), a hold ("every copy answers -ENOMEM until I let
 * go"), and chance by a seed. A fake asks before each call; "no answer" means
 * that the call is made as it is.
 */
#ifndef TESTS_LIB_FAKE_SCRIPT_H
#define TESTS_LIB_FAKE_SCRIPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/uffd.h"

enum fake_op {
    FAKE_READ,
    FAKE_WAIT,
    FAKE_COPY,
    FAKE_ZEROPAGE,
    FAKE_POISON,
    FAKE_WAKE,
    FAKE_REGISTER,
    FAKE_MOVE,
    FAKE_OPS
};

/* Call number `nth` (1 is the first; 0: every call) of `op` answers `err`.
 * `done` is its out field; as many whole pages are done for real as fit. */
struct fake_row {
    enum fake_op op;
    unsigned nth;
    int err;
    int64_t done;
};

#define FAKE_ROWS_MAX 64

struct fake_script {
    pthread_mutex_t mutex; /* guards all below */
    struct fake_row rows[FAKE_ROWS_MAX];
    size_t nrows;
    unsigned calls[FAKE_OPS]; /* made so far, whatever they answered */
    int held[FAKE_OPS];       /* what each call answers; 0: not held */
    uint64_t seed;
    unsigned percent; /* of the calls answered by chance */
};

void fake_script_init(struct fake_script *script);

void fake_script_add(struct fake_script *script, struct fake_row row);

/* Every call of `op` answers err from now on; 0 ends it. */
void fake_script_hold(struct fake_script *script, enum fake_op op, int err);

/* From now on `percent` of the calls answer an errno that the kernel may
 * answer them with. 0 ends it. */
void fake_script_chance(struct fake_script *script, uint64_t seed,
                        unsigned percent);

/* Counts the call; true: it answers *ret. `len_bytes` is what it asks for. */
bool fake_script_next(struct fake_script *script, enum fake_op op,
                      size_t len_bytes, struct uffd_result *ret);

unsigned fake_script_calls(struct fake_script *script, enum fake_op op);

/* How many of `done` bytes a fake does before it fails: whole pages, and less
 * than was asked for, since a call that does everything does not fail. */
size_t fake_done_for_real(int64_t done, size_t len_bytes);

/* A small generator (xorshift); *state must not be 0. */
uint64_t fake_random(uint64_t *state);

/* A number from the environment, or `otherwise`. */
uint64_t fake_env(const char *name, uint64_t otherwise);

#endif
