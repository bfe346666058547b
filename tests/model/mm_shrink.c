/* SPDX-License-Identifier: MIT */
/*
 * From a run with a difference to the shortest list that still has one: looks
 * at everything after each operation, makes all places absolute where that
 * keeps the difference, takes out part after part, and makes numbers small.
 */
#include "model/mm_twin.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"

#define HANG_MS 3000 /* while a hang is shrunk */

/* Runs; true if the sides differ, or one is lost. Ops behind are dropped. */
static bool differs(struct mm_pair *pair)
{
    struct mm_exchange *exchange = pair->exchange;
    uint32_t at;

    if (exchange->nops == 0)
        return false;
    if (!mm_pair_run(pair)) {
        at = exchange->done[pair->lost_side];
        exchange->nops = at < exchange->nops ? at + 1 : exchange->nops;
        return true;
    }
    at = mm_first_difference(exchange, NULL);
    if (at == exchange->nops)
        return false;
    exchange->nops = at + 1;
    return true;
}

static struct mm_op before[OPS_MAX];
static uint32_t nbefore;

static void keep(const struct mm_exchange *exchange)
{
    memcpy(before, exchange->ops, sizeof(before));
    nbefore = exchange->nops;
}

static void take_back(struct mm_exchange *exchange)
{
    memcpy(exchange->ops, before, sizeof(before));
    exchange->nops = nbefore;
}

static void fix_place(const struct mm_exchange *exchange, uintptr_t base,
                      struct mm_place *place, uintptr_t found)
{
    uint64_t reach = (exchange->config.npages + 2 * ZONE_PAGES) * page_size();

    *place = (struct mm_place){.from = FROM_ZERO, .delta = (int64_t)found};
    if (found >= base - ZONE_PAGES * page_size() && found < base + reach) {
        place->from = FROM_BASE;
        place->delta = (int64_t)(found - base);
    }
}

/* Places as they were found, so that taking out others does not move them. */
static void fix_places(struct mm_pair *pair)
{
    struct mm_exchange *exchange = pair->exchange;
    const struct mm_record *records = exchange->records[SIDE_KERNEL];
    uintptr_t base =
        ((uintptr_t)1 << 46) + exchange->config.offset_pages * page_size();

    keep(exchange);
    for (uint32_t i = 0; i < exchange->nops; i++) {
        struct mm_op *op = &exchange->ops[i];
        const struct mm_args *args = &records[i].args;

        fix_place(exchange, base, &op->at, args->at);
        fix_place(exchange, base, &op->dest, args->dest);
        op->upto = (struct mm_place){0};
        op->len = args->len;
        op->extra = args->extra;
    }
    if (!differs(pair))
        take_back(exchange);
}

static bool without_part(struct mm_pair *pair, uint32_t at, uint32_t part)
{
    struct mm_exchange *exchange = pair->exchange;

    keep(exchange);
    exchange->nops -= part;
    memmove(&exchange->ops[at], &exchange->ops[at + part],
            (exchange->nops - at) * sizeof(before[0]));
    if (differs(pair))
        return true;
    take_back(exchange);
    return false;
}

static bool take_out_parts(struct mm_pair *pair)
{
    struct mm_exchange *exchange = pair->exchange;
    bool any = false;

    for (uint32_t part = exchange->nops / 2; part > 0; part /= 2)
        for (uint32_t at = 0; at + part <= exchange->nops;) {
            bool out = without_part(pair, at, part);

            any |= out;
            if (!out)
                at += part;
        }
    return any;
}

/* Tries other operations in one's place. */
static void try(struct mm_pair *pair, uint32_t i, const struct mm_op *other)
{
    struct mm_exchange *exchange = pair->exchange;

    if (memcmp(&exchange->ops[i], other, sizeof(*other)) == 0)
        return;
    keep(exchange);
    exchange->ops[i] = *other;
    if (!differs(pair))
        take_back(exchange);
}

static void simplify(struct mm_pair *pair)
{
    struct mm_exchange *exchange = pair->exchange;

    for (uint32_t i = 0; i < exchange->nops; i++) {
        struct mm_op op = exchange->ops[i];

        if (op.kind == MM_WRITE && op.len > 1) {
            op.len = 1;
            try(pair, i, &op);
        }
        op = exchange->ops[i];
        if (op.len > page_size() && op.kind != MM_MREMAP) {
            op.len = page_size();
            try(pair, i, &op);
        }
        op = exchange->ops[i];
        for (int bit = 0; op.kind == MM_MMAP && bit < 31; bit++) {
            op = exchange->ops[i];
            op.flags &= ~(1 << bit);
            if (i < exchange->nops)
                try(pair, i, &op);
        }
    }
}

/* -------------------------------------------------------------- printing -- */

static void print_differ(FILE *out, uint32_t differ)
{
    static const char *const names[] = {
        "result", "maps", "resident", "contents", "gauges", "flags", "seen"};

    fprintf(out, "# differs:");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (differ >> i & 1)
            fprintf(out, " %s", names[i]);
    fprintf(out, "\n");
}

static void print_record(FILE *out, const struct mm_exchange *exchange,
                         enum mm_side_id id, uint32_t i)
{
    const struct mm_record *r = &exchange->records[id][i];
    const char *line = exchange->dump[id];

    fprintf(out,
            "# %s: result 0x%" PRIx64 " (%" PRId64 ") signal %u seen %" PRIx64
            " brk %" PRIx64 " maps %u resident %u%s",
            id == SIDE_KERNEL ? "kernel" : "tested", r->result,
            (int64_t)r->result, r->signal, r->seen, r->brk, r->nmaps,
            r->nresident, r->skipped ? " skipped" : "");
    if (r->wrong)
        fprintf(out, " WRONG at line %u", r->wrong);
    fprintf(out, "\n");
    while (*line) {
        int len = (int)strcspn(line, "\n");

        fprintf(out, "#   %.*s\n", len, line);
        line += len + (line[len] == '\n');
    }
}

static void print_all(FILE *out, struct mm_pair *pair)
{
    const struct mm_exchange *exchange = pair->exchange;
    uint32_t last = exchange->nops - 1;

    fprintf(out, "# seed %" PRIu64 "\n", exchange->seed);
    mm_config_print(out, &exchange->config);
    for (uint32_t i = 0; i < exchange->nops; i++)
        mm_op_print(out, &exchange->ops[i]);
    if (pair->lost) {
        fprintf(out, "# the %s side %s\n",
                pair->lost_side == SIDE_KERNEL ? "kernel's" : "tested",
                pair->lost);
        return;
    }
    print_differ(out, mm_differ(exchange, last));
    for (int id = 0; id < SIDES; id++)
        print_record(out, exchange, (enum mm_side_id)id, last);
}

/* Which pages one side has and the other has not. */
static void print_pages(FILE *out, const struct mm_exchange *exchange,
                        uint32_t at)
{
    uint64_t bits[SPACE_PAGES / BITS];

    if (mm_pages_differ(exchange, at, bits) == 0)
        return;
    fprintf(out, "# pages that one side has:");
    for (uint32_t page = 0; page < exchange->config.npages; page++) {
        uint64_t bit = (uint64_t)1 << page % BITS;

        if (bits[page / BITS] & bit)
            fprintf(out, " %u %s", page,
                    exchange->pages[SIDE_KERNEL][at][page / BITS] & bit
                        ? "kernel"
                        : "tested");
    }
    fprintf(out, "\n");
}

/* Before it is run again, and may not happen again. */
static void print_first(FILE *out, struct mm_pair *pair)
{
    const struct mm_exchange *exchange = pair->exchange;
    uint32_t at = mm_first_difference(exchange, NULL);

    if (pair->lost || at >= exchange->nops)
        return;
    fprintf(out, "# seed %" PRIu64 ", operation %u of a run: ", exchange->seed,
            at);
    mm_op_print(out, &exchange->ops[at]);
    print_differ(out, mm_differ(exchange, at));
    print_pages(out, exchange, at);
    for (int id = 0; id < SIDES; id++)
        print_record(out, exchange, (enum mm_side_id)id, at);
}

void mm_report(struct mm_pair *pair, const char *path)
{
    struct mm_exchange *exchange = pair->exchange;
    int patience_ms = pair->patience_ms;
    FILE *out;

    if (pair->lost && strcmp(pair->lost, "hangs") == 0)
        pair->patience_ms = HANG_MS;
    exchange->config.deep_every = 1;
    print_first(stdout, pair);
    keep(exchange);
    if (!differs(pair)) {
        take_back(exchange);
        printf("# seed %" PRIu64 ": does not happen again\n", exchange->seed);
    } else {
        if (!pair->lost)
            fix_places(pair);
        while (take_out_parts(pair))
            continue;
        simplify(pair);
        while (take_out_parts(pair))
            continue;
    }
    exchange->dump_at = exchange->nops - 1;
    memset(exchange->dump, 0, sizeof(exchange->dump));
    differs(pair);
    exchange->dump_at = UINT32_MAX;
    print_all(stdout, pair);
    fflush(stdout);
    out = path ? fopen(path, "w") : NULL;
    if (out) {
        print_all(out, pair);
        fclose(out);
    }
    pair->patience_ms = patience_ms;
}
