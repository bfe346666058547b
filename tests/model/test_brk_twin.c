/* SPDX-License-Identifier: MIT */
/*
 * brk-twin: random movements of a break, here and in the kernel, are alike.
 *
 *     brk-twin                        the suite: UF_BRK_OPS movements, 100,000
 *                                     if not set, over all kinds of runs
 *     brk-twin --seed S --ops N [--window W] [--native] [--locked]
 *
 * Ends with "N movements, D differences" and exit status 0 if D is 0. See
 * brk_twin.h for how it works.
 */
#include "model/brk_twin.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"

#define SUITE_OPS 100000

/* What is asked for on the command line. */
struct plan {
    uint64_t seed;
    uint64_t ops;
    uint32_t window;
    bool native;
    bool locked; /* in every run; else in some */
};

static bool residency_agrees(const struct exchange *exchange, uint32_t i)
{
    const uint64_t *kernel = exchange->records[SIDE_KERNEL][i].resident;
    const uint64_t *tested = exchange->records[SIDE_TESTED][i].resident;

    for (size_t w = 0; w < AREA_PAGES / BITS; w++) {
        bool superset = (kernel[w] & ~tested[w]) == 0;

        if (exchange->config.window_pages > 1 ? !superset
                                              : kernel[w] != tested[w])
            return false;
    }
    return true;
}

static bool agree(const struct exchange *exchange, uint32_t i)
{
    const struct brk_record *k = &exchange->records[SIDE_KERNEL][i];
    const struct brk_record *t = &exchange->records[SIDE_TESTED][i];

    return k->answer == t->answer && k->brk == t->brk &&
           k->mapped == t->mapped && k->bytes == t->bytes &&
           k->seen == t->seen && k->signal == t->signal && !k->wrong &&
           !t->wrong && residency_agrees(exchange, i);
}

/* The first operation after which they differ, or nops. */
static uint32_t first_difference(const struct exchange *exchange)
{
    uint32_t i = 0;

    while (i < exchange->nops && agree(exchange, i))
        i++;
    return i;
}

/* The same, again if a process's belongings changed under way: then limits
 * bind elsewhere. If they change every time, a difference is why. */
static void run_both(struct pair *pair)
{
    const bool *drifted = pair->exchange->drifted;

    for (int tries = 0; tries < 8; tries++) {
        run_once(pair);
        if (!drifted[SIDE_KERNEL] && !drifted[SIDE_TESTED])
            return;
    }
    if (first_difference(pair->exchange) == pair->exchange->nops) {
        printf("brk-twin: what a side maps beside its heap does not stay\n");
        exit(1);
    }
}

static bool still_differs(struct pair *pair)
{
    run_both(pair);
    return first_difference(pair->exchange) < pair->exchange->nops;
}

/* Takes out part after part, as long as a difference is left. */
static void shrink(struct pair *pair)
{
    struct exchange *exchange = pair->exchange;
    static struct brk_op before[OPS_MAX];

    exchange->nops = first_difference(exchange) + 1;
    for (uint32_t part = exchange->nops / 2; part > 0; part /= 2) {
        for (uint32_t at = 0; at + part <= exchange->nops;) {
            uint32_t nops = exchange->nops;

            memcpy(before, exchange->ops, sizeof(before));
            exchange->nops -= part;
            memmove(&exchange->ops[at], &exchange->ops[at + part],
                    (exchange->nops - at) * sizeof(before[0]));
            if (exchange->nops > 0 && still_differs(pair)) {
                exchange->nops = first_difference(exchange) + 1;
                continue;
            }
            memcpy(exchange->ops, before, sizeof(before));
            exchange->nops = nops;
            at += part;
        }
    }
}

static void report(struct pair *pair, uint64_t seed)
{
    struct exchange *exchange = pair->exchange;
    const struct run_config *config = &exchange->config;
    uint32_t at = first_difference(exchange);

    printf("seed %" PRIu64 ", operation %" PRIu32 ":\n", seed, at);
    op_print(&exchange->ops[at]);
    record_print("kernel", &exchange->records[SIDE_KERNEL][at]);
    record_print("tested", &exchange->records[SIDE_TESTED][at]);
    shrink(pair);
    if (!still_differs(pair)) {
        printf("  does not happen again\n");
        return;
    }
    printf("  shrunk (window %u%s, data_pages %" PRIu64 ", total_pages %" PRIu64
           ", extra_bytes %" PRIu64 "):\n",
           config->window_pages, config->locked ? ", locked" : "",
           config->data_pages, config->total_pages, config->extra_bytes);
    for (uint32_t i = 0; i < exchange->nops; i++)
        op_print(&exchange->ops[i]);
    at = exchange->nops - 1;
    record_print("kernel", &exchange->records[SIDE_KERNEL][at]);
    record_print("tested", &exchange->records[SIDE_TESTED][at]);
}

/* ---------------------------------------------------------------- planning --
 */

/* Room beside the heap for both, with either data check the stricter one. */
static void choose_targets(struct pair *pair, uint64_t *state)
{
    struct run_config *config = &pair->exchange->config;
    const struct belongings *b = pair->exchange->belongings;
    uint64_t page = page_size();
    uint64_t data = 0, other = 0, near_extra;

    for (int i = 0; i < SIDES; i++) {
        uint64_t rest = b[i].total_pages - b[i].data_pages;

        data = b[i].data_pages > data ? b[i].data_pages : data;
        other = rest > other ? rest : other;
    }
    config->extra_bytes = b[SIDE_KERNEL].extra_bytes;
    near_extra = config->extra_bytes / page + random_next(state) % 64;
    data += 32 + random_next(state) % 16; /* room for one more of our slabs */
    if (near_extra > 32 + data && random_next(state) % 3 > 0)
        data = near_extra - 32;
    config->data_pages = data;
    config->total_pages = data + other + 4 + random_next(state) % 64;
}

/* Sanitizers map terabytes, and more as they go: no limit binds at a known
 * place then. */
static bool limits_can_be_compared(const struct pair *pair)
{
    return pair->exchange->belongings[SIDE_KERNEL].total_pages < 1 << 24 &&
           pair->exchange->belongings[SIDE_TESTED].total_pages < 1 << 24;
}

static bool may_lock(void)
{
    return geteuid() == 0; /* or RLIMIT_MEMLOCK would be one more limit */
}

static void run_seed(struct pair *pair, const struct plan *plan, bool limits)
{
    struct exchange *exchange = pair->exchange;
    uint64_t state = plan->seed, movements = 0;

    exchange->seed = plan->seed;
    while (movements < plan->ops) {
        exchange->config = (struct run_config){.window_pages = plan->window};
        exchange->config.locked =
            may_lock() && (plan->locked || random_next(&state) % 8 == 0);
        exchange->config.limits = limits && (random_next(&state) & 1);
        if (exchange->config.limits)
            choose_targets(pair, &state);
        exchange->nops = (uint32_t)(16 + random_next(&state) % (OPS_MAX - 16));
        movements += ops_make(&state, exchange->config.limits, exchange->ops,
                              exchange->nops);
        run_both(pair);
        if (first_difference(exchange) < exchange->nops) {
            pair->differences++;
            report(pair, plan->seed);
            break;
        }
    }
    pair->movements += movements;
}

/* Some runs whose records nobody reads, until the sides have mapped what they
 * need and their belongings stay as they are. */
static void warm_up(struct pair *pair)
{
    uint64_t state = 1;

    pair->exchange->config = (struct run_config){.window_pages = 1};
    pair->exchange->nops = OPS_MAX;
    ops_make(&state, false, pair->exchange->ops, OPS_MAX);
    for (int i = 0; i < 3; i++)
        run_once(pair);
}

/* Returns the differences. */
static uint64_t run_plan(const struct plan *plan, uint64_t *movements)
{
    struct pair pair;
    bool limits;

    open_pair(&pair, plan->native);
    warm_up(&pair);
    limits = limits_can_be_compared(&pair);
    run_seed(&pair, plan, limits);
    printf("  seed %" PRIu64 ", %s, window %u%s%s: %" PRIu64 " movements\n",
           plan->seed, plan->native ? "native heap" : "space", plan->window,
           plan->locked ? ", locked" : "", limits ? "" : ", no limits",
           pair.movements);
    close_pair(&pair);
    *movements += pair.movements;
    return pair.differences;
}

static uint64_t run_suite(uint64_t *movements)
{
    const char *budget = getenv("UF_BRK_OPS");
    uint64_t ops = budget ? strtoull(budget, NULL, 10) : SUITE_OPS;
    /* Tenths of the budget. */
    static const struct plan plans[] = {
        {.seed = 1, .ops = 2, .window = 1},
        {.seed = 2, .ops = 2, .window = 1},
        {.seed = 3, .ops = 1, .window = 1, .locked = true},
        {.seed = 4, .ops = 2, .window = 64},
        {.seed = 5, .ops = 2, .window = 1, .native = true},
        {.seed = 6, .ops = 1, .window = 64, .native = true},
    };
    uint64_t differences = 0;

    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct plan plan = plans[i];

        plan.ops = (plan.ops * ops + 9) / 10;
        differences += run_plan(&plan, movements);
    }
    return differences;
}

static int usage(void)
{
    printf("brk-twin [--seed S] [--ops N] [--window W] [--native] "
           "[--locked]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct plan *plan)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--native") == 0)
            plan->native = true;
        else if (strcmp(argv[i], "--locked") == 0)
            plan->locked = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            plan->seed = strtoull(argv[++i], NULL, 0);
        else if (i + 1 < argc && strcmp(argv[i], "--ops") == 0)
            plan->ops = strtoull(argv[++i], NULL, 0);
        else if (i + 1 < argc && strcmp(argv[i], "--window") == 0)
            plan->window = (uint32_t)strtoul(argv[++i], NULL, 0);
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct plan plan = {.seed = 1, .ops = SUITE_OPS, .window = 1};
    uint64_t movements = 0, differences;

    if (argc == 6 && strcmp(argv[1], "--serve") == 0)
        /* At once: what looks for leaks at exit would find no .data. */
        _exit(side_serve(argv + 2));
    if (!parse(argc, argv, &plan))
        return usage();
    signal(SIGPIPE, SIG_IGN);
    differences =
        argc > 1 ? run_plan(&plan, &movements) : run_suite(&movements);
    printf("%" PRIu64 " movements, %" PRIu64 " differences\n", movements,
           differences);
    return differences == 0 ? 0 : 1;
}
