/* SPDX-License-Identifier: MIT */
/* See harness.h. */
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double bench_wall_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double usage_us(int who)
{
    struct rusage ru;

    getrusage(who, &ru);
    return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 +
           (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

double bench_cpu_us(void)
{
    return usage_us(RUSAGE_SELF) + usage_us(RUSAGE_CHILDREN);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_percentile(double *values, size_t n, double percent)
{
    size_t i;

    if (n == 0)
        return 0;
    qsort(values, n, sizeof(values[0]), compare);
    i = (size_t)((double)n * percent / 100.0);
    return values[i < n ? i : n - 1];
}

void bench_bind(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (long i = 0; i < sysconf(_SC_NPROCESSORS_CONF); i++)
        if (cpu < 0 || i == cpu)
            CPU_SET((size_t)i, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* All turns of a row. */
struct turns {
    double ratio[BENCH_REPS_MAX], cpu_ratio[BENCH_REPS_MAX];
    double ours[BENCH_REPS_MAX], theirs[BENCH_REPS_MAX];
    double p50[BENCH_REPS_MAX], p99[BENCH_REPS_MAX];
    size_t n;
};

static bool take_turn(const struct row *row, struct turns *t)
{
    struct sample ours = {0}, theirs = {.wall_us = 1, .cpu_us = 1};

    if (row->theirs && !row->theirs(row, &theirs))
        return false;
    if (!row->ours(row, &ours))
        return false;
    t->ours[t->n] = ours.wall_us;
    t->theirs[t->n] = row->theirs ? theirs.wall_us : 0;
    t->ratio[t->n] = ours.wall_us / theirs.wall_us;
    t->cpu_ratio[t->n] = theirs.cpu_us > 0 ? ours.cpu_us / theirs.cpu_us : 0;
    t->p50[t->n] = ours.p50_us;
    t->p99[t->n] = ours.p99_us;
    t->n++;
    return true;
}

static void print_head(void)
{
    printf("%-44s %-8s %-10s %7s %15s %9s %9s %6s %6s\n", "work", "engine",
           "baseline", "ratio", "min..max", "ours us", "base us", "reach",
           "met");
}

static void print_row(const struct row *row, struct turns *t, double ratio)
{
    char spread[32];

    snprintf(spread, sizeof(spread), "%.2f..%.2f",
             bench_percentile(t->ratio, t->n, 0),
             bench_percentile(t->ratio, t->n, 100));
    printf("%-44s %-8s %-10s %7.2f %15s %9.2f %9.2f", row->work, row->engine,
           row->baseline, ratio, spread, bench_percentile(t->ours, t->n, 50),
           bench_percentile(t->theirs, t->n, 50));
    if (row->reach > 0)
        printf(" %6.2f %6s\n", row->reach,
               ratio <= row->reach ? "yes" : "MISS");
    else
        printf(" %6s %6s\n", "-", "-");
    fflush(stdout);
}

static void json_row(FILE *json, const struct row *row, struct turns *t,
                     double ratio, bool first)
{
    fprintf(json,
            "%s\n {\"work\":\"%s\",\"engine\":\"%s\",\"baseline\":\"%s\","
            "\"unit\":\"%s\",\"ratio_median\":%.4f,\"ratio_min\":%.4f,"
            "\"ratio_max\":%.4f,\"ours_us\":%.4f,\"baseline_us\":%.4f,"
            "\"cpu_ratio\":%.4f,\"p50_us\":%.3f,\"p99_us\":%.3f,"
            "\"reach\":%.3f,\"met\":%s}",
            first ? "" : ",", row->work, row->engine, row->baseline, row->unit,
            ratio, bench_percentile(t->ratio, t->n, 0),
            bench_percentile(t->ratio, t->n, 100),
            bench_percentile(t->ours, t->n, 50),
            bench_percentile(t->theirs, t->n, 50),
            bench_percentile(t->cpu_ratio, t->n, 50),
            bench_percentile(t->p50, t->n, 50),
            bench_percentile(t->p99, t->n, 50), row->reach,
            row->reach <= 0       ? "null"
            : ratio <= row->reach ? "true"
                                  : "false");
}

static bool is_wanted(const struct row *row, const char *only)
{
    return !only || strstr(row->work, only) || strstr(row->engine, only);
}

/* One warm-up turn, then the counted ones. */
static bool measure(const struct row *row, unsigned reps, struct turns *t)
{
    t->n = 0;
    if (!take_turn(row, t))
        return false;
    t->n = 0;
    while (t->n < reps)
        if (!take_turn(row, t))
            return false;
    return true;
}

int bench_run(const struct row *rows, size_t nrows,
              const struct bench_opts *opts)
{
    FILE *json = opts->json ? fopen(opts->json, "w") : NULL;
    static struct turns turns;
    bool first = true;

    if (opts->json && !json) {
        perror(opts->json);
        return 1;
    }
    if (json)
        fprintf(json, "[");
    print_head();
    for (size_t i = 0; i < nrows; i++) {
        double ratio;

        if (!is_wanted(&rows[i], opts->only) ||
            !measure(&rows[i], opts->reps, &turns))
            continue;
        ratio = bench_percentile(turns.ratio, turns.n, 50);
        print_row(&rows[i], &turns, ratio);
        if (json)
            json_row(json, &rows[i], &turns, ratio, first);
        first = false;
    }
    if (json) {
        fprintf(json, "\n]\n");
        fclose(json);
    }
    return first;
}
