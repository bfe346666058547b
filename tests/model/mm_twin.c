/* SPDX-License-Identifier: MIT */
/*
 * mm-twin: random operations on a space and in the kernel are alike.
 *
 *     mm-twin                         the suite: UFAULT_MM_TWIN_OPS operations,
 *                                     SUITE_OPS if not set, from the seed
 *                                     UFAULT_MM_TWIN_SEED, in all modes
 *     mm-twin --seed S --ops N [--threads T] [--window] [--without CALL,...]
 *             [--keep-going] [--out FILE]
 *     mm-twin --replay FILE           a list of operations, as printed
 *     mm-twin --self ...              the kernel against itself
 *     mm-twin --meant                 the differences that are meant
 *     mm-twin --count ...             also how often each call succeeded
 *
 * Ends with "N operations, D differences" and exit status 0 if D is 0. A
 * difference is printed with its seed, and shrunk to a list that can be run
 * again. See mm_twin.h for how it works.
 */
#include "model/mm_twin.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* A sanitized process is large and slow to look at, and its threads map memory
 * when they like, where the kernel side has but one free place. */
#ifdef MM_SANITIZED
#define SUITE_OPS       3000
#define WITHOUT_THREADS true
#else
#define SUITE_OPS       200000
#define WITHOUT_THREADS false
#endif
#define SKIPPED 77

struct command {
    struct mm_plan plan;
    const char *replay;
    const char *out;
    bool keep_going;
    bool count;
};

struct tally {
    uint64_t ops;
    uint64_t skipped;
    uint64_t differences;
    uint64_t touches;
    uint64_t done[MM_KINDS][2]; /* succeeded, failed */
};

/* mremap across mappings, the newest of what is followed. */
static bool kernel_is_new_enough(void)
{
    struct utsname name;
    int major = 0, minor = 0;

    uname(&name);
    if (sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
        (major > 6 || (major == 6 && minor >= 17)))
        return true;
    printf("mm-twin: Linux %s is older than the 6.17 that a space follows\n",
           name.release);
    return false;
}

static void count(const struct mm_record *record, struct tally *tally)
{
    bool failed = record->result >= (uint64_t)-4095 || record->signal;

    if (record->skipped)
        tally->skipped++;
    else
        tally->done[record->args.kind][failed]++;
}

static void print_counts(const struct tally *tally)
{
    for (int kind = 0; kind < MM_KINDS; kind++)
        printf("    %-10s %9" PRIu64 " succeeded %9" PRIu64 " failed\n",
               mm_kind_name((enum mm_kind)kind), tally->done[kind][0],
               tally->done[kind][1]);
}

/* Both sides did the list: the difference is reported. */
static void judge(struct mm_pair *pair, bool ended, const char *path,
                  struct tally *tally)
{
    struct mm_exchange *exchange = pair->exchange;
    uint32_t compared = 0;

    if (ended && mm_first_difference(exchange, &compared) == exchange->nops) {
        for (uint32_t i = 0; i < compared; i++)
            count(&exchange->records[SIDE_KERNEL][i], tally);
        tally->ops += compared;
        return;
    }
    tally->ops += exchange->nops;
    tally->differences++;
    mm_report(pair, path);
}

/* Run n of a seed has a seed of its own, so that it can be had alone. */
static void run_plan(const struct command *command, struct tally *tally)
{
    const struct mm_plan *plan = &command->plan;
    struct mm_source source = {.state = plan->seed};
    struct tally mine = {0};
    struct mm_pair pair;

    mm_pair_open(&pair, plan->self, NULL);
    pair.exchange->seed = plan->seed;
    pair.exchange->dump_at = UINT32_MAX;
    while (mine.ops < plan->ops) {
        struct mm_exchange *exchange = pair.exchange;
        uint64_t left = plan->ops - mine.ops;

        mm_make_config(&source, plan, &exchange->config);
        exchange->nops =
            mm_make_ops(&source, plan, &exchange->config, exchange->ops,
                        (uint32_t)(left < OPS_MAX ? left : OPS_MAX));
        judge(&pair, mm_pair_run(&pair), command->out, &mine);
        if (mine.differences > 0 && !command->keep_going)
            break;
    }
    mine.touches = pair.exchange->touches[SIDE_TESTED];
    mm_pair_close(&pair);
    printf("  seed %" PRIu64 ", %s window, %u threads: %" PRIu64
           " operations, %" PRIu64 " of them mean nothing, %" PRIu64
           " touches by threads\n",
           plan->seed, plan->default_window ? "default" : "one-page",
           plan->nthreads, mine.ops, mine.skipped, mine.touches);
    if (command->count)
        print_counts(&mine);
    fflush(stdout);
    tally->ops += mine.ops;
    tally->differences += mine.differences;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static void run_suite(const struct command *command, struct tally *tally)
{
    uint64_t ops = from_environment("UFAULT_MM_TWIN_OPS", SUITE_OPS);
    uint64_t seed = from_environment("UFAULT_MM_TWIN_SEED", 1);
    /* Tenths of the budget. */
    static const struct mm_plan plans[] = {
        {.ops = 7},
        {.ops = 2, .default_window = true},
        {.ops = 1, .nthreads = 2},
    };

    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct command one = *command;

        if (WITHOUT_THREADS && plans[i].nthreads > 0)
            continue;
        one.plan = plans[i];
        one.plan.seed = seed + i;
        one.plan.ops = (plans[i].ops * ops + 9) / 10;
        run_plan(&one, tally);
    }
}

/* What came of each operation, and what is there after the last. */
static void tell(const struct mm_exchange *exchange)
{
    static const char *const names[SIDES] = {"kernel", "tested"};

    for (uint32_t i = 0; i < exchange->nops; i++) {
        mm_op_print(stdout, &exchange->ops[i]);
        for (int id = 0; id < SIDES; id++) {
            const struct mm_record *r = &exchange->records[id][i];

            printf("    %s 0x%" PRIx64 " signal %u seen %" PRIx64 "%s\n",
                   names[id], r->result, r->signal, r->seen,
                   r->skipped ? " (skipped)" : "");
        }
    }
    for (int id = 0; id < SIDES; id++)
        printf("%s:\n%s", names[id], exchange->dump[id]);
}

static int replay(const struct command *command, struct tally *tally)
{
    FILE *in = fopen(command->replay, "r");
    struct mm_pair pair;
    struct mm_exchange *exchange;
    char line[512];
    unsigned nth = 0;
    bool ended;

    if (!in) {
        perror(command->replay);
        return 2;
    }
    mm_pair_open(&pair, command->plan.self, NULL);
    exchange = pair.exchange;
    while (fgets(line, sizeof(line), in)) {
        nth++;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (exchange->nops == OPS_MAX ||
            (!mm_config_parse(line, &exchange->config) &&
             !mm_op_parse(line, &exchange->ops[exchange->nops++]))) {
            printf("%s:%u: not an operation\n", command->replay, nth);
            return 2;
        }
    }
    fclose(in);
    exchange->dump_at = exchange->nops - 1;
    ended = mm_pair_run(&pair);
    exchange->dump_at = UINT32_MAX;
    if (ended)
        tell(exchange);
    judge(&pair, ended, command->out, tally);
    mm_pair_close(&pair);
    return 0;
}

/* ---------------------------------------------------------- command line -- */

static int usage(void)
{
    printf(
        "mm-twin [--seed S] [--ops N] [--threads T] [--window] "
        "[--without CALL,...] [--keep-going] [--count] [--out FILE] [--self] "
        "[--replay FILE] [--meant]\n");
    return 2;
}

static bool parse_without(char *names, uint64_t *ret_bits)
{
    char *rest = NULL;

    for (char *name = strtok_r(names, ",", &rest); name;
         name = strtok_r(NULL, ",", &rest)) {
        enum mm_kind kind = mm_kind_named(name);

        if (kind == MM_KINDS)
            return false;
        *ret_bits |= (uint64_t)1 << kind;
    }
    return true;
}

static bool parse_valued(const char *name, char *value, struct command *command)
{
    struct mm_plan *plan = &command->plan;

    if (strcmp(name, "--seed") == 0)
        plan->seed = strtoull(value, NULL, 0);
    else if (strcmp(name, "--ops") == 0)
        plan->ops = strtoull(value, NULL, 0);
    else if (strcmp(name, "--threads") == 0)
        plan->nthreads = (uint32_t)strtoul(value, NULL, 0);
    else if (strcmp(name, "--replay") == 0)
        command->replay = value;
    else if (strcmp(name, "--out") == 0)
        command->out = value;
    else if (strcmp(name, "--without") == 0)
        return parse_without(value, &plan->without);
    else
        return false;
    return plan->nthreads <= THREADS_MAX;
}

static bool parse(int argc, char **argv, struct command *command)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--window") == 0)
            command->plan.default_window = true;
        else if (strcmp(argv[i], "--self") == 0)
            command->plan.self = true;
        else if (strcmp(argv[i], "--count") == 0)
            command->count = true;
        else if (strcmp(argv[i], "--keep-going") == 0)
            command->keep_going = true;
        else if (i + 1 == argc || !parse_valued(argv[i], argv[i + 1], command))
            return false;
        else
            i++;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct command command = {.plan = {.seed = 1, .ops = SUITE_OPS}};
    struct tally tally = {0};

    if (argc == 8 && strcmp(argv[1], "--serve") == 0)
        _exit(mm_side_serve(argv + 2));
    if (argc == 2 && strcmp(argv[1], "--meant") == 0) {
        mm_meant_print(stdout);
        return 0;
    }
    if (!parse(argc, argv, &command))
        return usage();
    if (!kernel_is_new_enough())
        return SKIPPED;
    signal(SIGPIPE, SIG_IGN);
    if (command.replay) {
        if (replay(&command, &tally))
            return 2;
    } else if (argc == 1) {
        run_suite(&command, &tally);
    } else {
        run_plan(&command, &tally);
    }
    printf("%" PRIu64 " operations, %" PRIu64 " differences\n", tally.ops,
           tally.differences);
    return tally.differences == 0 ? 0 : 1;
}
