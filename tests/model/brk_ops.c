/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a break, mostly at the places where an implementation
 * is wrong by one: page bounds, the start, the next mapping, a limit, and the
 * ends of the address space.
 */
#include "model/brk_twin.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/range.h"

uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t n)
{
    return random_next(state) % n;
}

static int64_t either_sign(uint64_t *state, int64_t value)
{
    return (random_next(state) & 1) ? value : -value;
}

/* Whole pages and a byte more or less. */
static int64_t near_bound(uint64_t *state, uint64_t pages)
{
    int64_t page = (int64_t)page_size();
    int64_t off = (int64_t)below(state, 3) - 1;

    return (int64_t)below(state, pages + 1) * page + off;
}

/* Few pages often, many sometimes. */
static int64_t some_bytes(uint64_t *state)
{
    uint64_t pages = (uint64_t)1 << below(state, 9);

    return (int64_t)below(state, pages * page_size());
}

static const int64_t extremes[] = {
    0,
    1,
    -1,
    4095,
    4096,
    -4095,
    -4096,
    -4097,
    -8192,
    INT64_MAX,
    INT64_MIN,
    INT64_MAX - 4095,
    INT64_MIN + 1,
    (int64_t)1 << 47,
    ((int64_t)1 << 47) - 4096,
    (int64_t)1 << 40,
};

static void make_target(uint64_t *state, bool limits, struct brk_op *op)
{
    uint64_t kind = below(state, limits ? 20 : 16);

    if (kind < 5) {
        op->place = FROM_BRK;
        op->delta = either_sign(state, some_bytes(state));
    } else if (kind < 9) {
        op->place = FROM_BRK_PAGE;
        op->delta = either_sign(state, near_bound(state, 3));
    } else if (kind < 11) {
        op->place = FROM_START;
        op->delta = below(state, 4) == 0 ? either_sign(state, 4096)
                                         : near_bound(state, 8);
    } else if (kind < 12) {
        op->place = FROM_START;
        op->delta = some_bytes(state);
    } else if (kind < 14) {
        op->place = FROM_FOREIGN;
        op->delta = near_bound(state, 2) - 2 * (int64_t)page_size();
    } else if (kind < 15) {
        op->place = FROM_END;
        op->delta = near_bound(state, 2) - (int64_t)page_size();
    } else if (kind < 16) {
        op->place = (uint8_t)(below(state, 3) == 0 ? FROM_ZERO : FROM_START);
        op->delta = extremes[below(state, sizeof(extremes) / 8)];
    } else {
        op->place = (uint8_t)(FROM_DATA_LIMIT + below(state, 3));
        op->delta = near_bound(state, 2) - (int64_t)page_size();
    }
}

static void make_touch(uint64_t *state, struct brk_op *op)
{
    op->fill = (uint8_t)(1 + below(state, 255));
    op->len = (uint16_t)(below(state, 8) ? 1 + below(state, 64)
                                         : 1 + below(state, 9000));
    if (below(state, 3) > 0) {
        op->place = FROM_BRK;
        op->delta = -some_bytes(state);
    } else if (below(state, 2) > 0) {
        op->place = FROM_BRK_PAGE;
        op->delta = -(int64_t)below(state, 2 * page_size());
    } else {
        op->place = FROM_START;
        op->delta = some_bytes(state);
    }
}

static void make_limit(uint64_t *state, struct brk_op *op)
{
    static const uint8_t data[] = {FROM_BRK, FROM_BRK_PAGE, FROM_START,
                                   FROM_ZERO, FROM_BRK};
    int64_t page = (int64_t)page_size();

    op->place = data[below(state, sizeof(data))];
    op->fill = (uint8_t)below(state, 2); /* against which check, see side_run */
    if (op->place == FROM_ZERO)
        op->delta = below(state, 2) ? -1 : (int64_t)below(state, 3) * page;
    else
        op->delta = either_sign(state, near_bound(state, 12));
}

static bool make_op(uint64_t *state, bool limits, struct brk_op *op)
{
    uint64_t kind = below(state, limits ? 108 : 100);

    *op = (struct brk_op){0};
    if (kind < 56) {
        op->kind = kind < 36 ? OP_BRK : OP_SBRK;
        make_target(state, limits, op);
        return true;
    }
    if (kind < 92) {
        op->kind = kind < 78 ? OP_WRITE : OP_READ;
        make_touch(state, op);
    } else if (kind < 97) {
        op->kind = OP_FOREIGN_PUT;
        op->place = FROM_BRK_PAGE;
        op->delta = (int64_t)(below(state, 24) * page_size());
    } else if (kind < 100) {
        op->kind = OP_FOREIGN_TAKE;
    } else {
        op->kind = kind < 104 ? OP_LIMIT_DATA : OP_LIMIT_AS;
        make_limit(state, op);
    }
    return false;
}

uint32_t ops_make(uint64_t *state, bool limits, struct brk_op *ops,
                  uint32_t nops)
{
    uint32_t movements = 0;

    for (uint32_t i = 0; i < nops; i++)
        movements += make_op(state, limits, &ops[i]);
    return movements;
}

static const char *const kind_names[OP_KINDS] = {
    "brk",         "sbrk",         "write",      "read",
    "foreign put", "foreign take", "data limit", "as limit"};
static const char *const place_names[PLACES] = {
    "0",           "start",      "break",      "break page", "foreign page",
    "end of area", "data limit", "data pages", "as limit"};

void op_print(const struct brk_op *op)
{
    printf("    %s", kind_names[op->kind]);
    if (op->kind != OP_FOREIGN_TAKE)
        printf(" at %s %+" PRId64, place_names[op->place], op->delta);
    if (op->kind == OP_WRITE)
        printf(", %u bytes of 0x%02x", op->len, op->fill);
    if (op->kind == OP_LIMIT_DATA && op->fill)
        printf(", by pages");
    printf("\n");
}

void record_print(const char *who, const struct brk_record *r)
{
    printf("    %-7s answer 0x%" PRIx64 "%s break 0x%" PRIx64 " mapped %" PRId64
           " bytes %016" PRIx64 " seen %016" PRIx64
           " signal %u self-check %u\n            resident",
           who, r->answer, r->answer == ANSWER_ENOMEM ? " (ENOMEM)" : "",
           r->brk, (int64_t)r->mapped, r->bytes, r->seen, r->signal, r->wrong);
    for (size_t i = 0; i < AREA_PAGES / BITS; i++)
        if (r->resident[i])
            printf(" %zu:%016" PRIx64, i * BITS, r->resident[i]);
    printf("\n");
}
