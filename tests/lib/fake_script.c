/* SPDX-License-Identifier: MIT */
/* See fake_script.h. */
#include "lib/fake_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/range.h"

/* What the kernel may answer each call with, besides success. PARTIAL stands
 * for -EAGAIN after some of the pages. */
#define PARTIAL  1
#define ANSWERS  8
#define NO_WAKES 0

static const int possible[FAKE_OPS][ANSWERS] = {
    [FAKE_READ] = {-EAGAIN, -EINTR},
    [FAKE_WAIT] = {-EINTR, -ENOMEM},
    [FAKE_COPY] = {-EAGAIN, PARTIAL, -EEXIST, -ENOENT, -ENOMEM, -ESRCH, -EINVAL,
                   -EFAULT},
    [FAKE_ZEROPAGE] = {-EAGAIN, PARTIAL, -EEXIST, -ENOENT, -ENOMEM, -ESRCH,
                       -EINVAL},
    [FAKE_POISON] = {-EAGAIN, -EEXIST, -ENOENT, -ENOMEM, -ESRCH, -EINVAL},
    [FAKE_WAKE] = {NO_WAKES},
    [FAKE_MOVE] = {-EAGAIN, PARTIAL, -EEXIST, -ENOENT, -EBUSY, -EINVAL},
};

void fake_script_init(struct fake_script *script)
{
    memset(script, 0, sizeof(*script));
    pthread_mutex_init(&script->mutex, NULL);
}

void fake_script_add(struct fake_script *script, struct fake_row row)
{
    pthread_mutex_lock(&script->mutex);
    if (script->nrows == FAKE_ROWS_MAX)
        abort();
    script->rows[script->nrows++] = row;
    pthread_mutex_unlock(&script->mutex);
}

void fake_script_hold(struct fake_script *script, enum fake_op op, int err)
{
    pthread_mutex_lock(&script->mutex);
    script->held[op] = err;
    pthread_mutex_unlock(&script->mutex);
}

void fake_script_chance(struct fake_script *script, uint64_t seed,
                        unsigned percent)
{
    pthread_mutex_lock(&script->mutex);
    script->seed = seed ? seed : 1;
    script->percent = percent;
    pthread_mutex_unlock(&script->mutex);
}

static bool by_row(struct fake_script *script, enum fake_op op,
                   struct uffd_result *ret)
{
    for (size_t i = 0; i < script->nrows; i++) {
        const struct fake_row *row = &script->rows[i];

        if (row->op != op || (row->nth && row->nth != script->calls[op]))
            continue;
        *ret = (struct uffd_result){row->err, row->done};
        return true;
    }
    return false;
}

static bool by_chance(struct fake_script *script, enum fake_op op,
                      size_t len_bytes, struct uffd_result *ret)
{
    size_t pages = len_bytes / page_size();
    unsigned n = 0;
    int answer;

    if (script->percent == 0 ||
        fake_random(&script->seed) % 100 >= script->percent)
        return false;
    while (n < ANSWERS && possible[op][n] != 0)
        n++;
    if (n == 0)
        return false;
    answer = possible[op][fake_random(&script->seed) % n];
    *ret = (struct uffd_result){answer, answer};
    if (answer == PARTIAL && pages < 2)
        *ret = (struct uffd_result){-EAGAIN, -EAGAIN};
    else if (answer == PARTIAL)
        *ret = (struct uffd_result){
            -EAGAIN, (int64_t)((1 + fake_random(&script->seed) % (pages - 1)) *
                               page_size())};
    return true;
}

bool fake_script_next(struct fake_script *script, enum fake_op op,
                      size_t len_bytes, struct uffd_result *ret)
{
    bool answered;

    pthread_mutex_lock(&script->mutex);
    script->calls[op]++;
    answered = by_row(script, op, ret);
    if (!answered && script->held[op]) {
        *ret = (struct uffd_result){script->held[op], script->held[op]};
        answered = true;
    }
    if (!answered)
        answered = by_chance(script, op, len_bytes, ret);
    pthread_mutex_unlock(&script->mutex);
    return answered;
}

unsigned fake_script_calls(struct fake_script *script, enum fake_op op)
{
    unsigned calls;

    pthread_mutex_lock(&script->mutex);
    calls = script->calls[op];
    pthread_mutex_unlock(&script->mutex);
    return calls;
}

size_t fake_done_for_real(int64_t done, size_t len_bytes)
{
    if (done <= 0 || (uint64_t)done >= len_bytes ||
        !is_aligned((uintptr_t)done, page_size()))
        return 0;
    return (size_t)done;
}

uint64_t fake_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

uint64_t fake_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}
