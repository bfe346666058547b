/* SPDX-License-Identifier: MIT */
/*
 * report: the results as a table, a line as soon as it is known, and as JSON.
 * What was not measured is "-" in the one and null in the other.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* The medians of a result; 0: not measured. */
struct figures {
    double min, max, cpu_ratio;
    struct sample ours, theirs;
    double ours_us, theirs_us; /* what the ratio is of */
};

static struct sample medians(const struct sample *of, size_t n)
{
    return (struct sample){
        bench_median(of, n, offsetof(struct sample, wall_us)),
        bench_median(of, n, offsetof(struct sample, cpu_us)),
        bench_median(of, n, offsetof(struct sample, p50_us)),
        bench_median(of, n, offsetof(struct sample, p99_us)),
        bench_median(of, n, offsetof(struct sample, p999_us))};
}

static struct figures figures_of(const struct result *r)
{
    size_t n = r->row->summary ? 0 : r->n;
    size_t ntheirs = r->row->theirs ? n : 0, member = bench_judged(r->row);
    struct figures f = {.ours = medians(r->ours, n),
                        .theirs = medians(r->theirs, ntheirs)};
    double ratios[BENCH_REPS_MAX];

    memcpy(ratios, r->ratio, sizeof(ratios));
    f.min = bench_percentile(ratios, r->n, 0);
    f.max = bench_percentile(ratios, r->n, 100);
    f.cpu_ratio = f.theirs.cpu_us > 0 ? f.ours.cpu_us / f.theirs.cpu_us : 0;
    f.ours_us = bench_median(r->ours, n, member);
    f.theirs_us = bench_median(r->theirs, ntheirs, member);
    return f;
}

static bool is_met(const struct result *r)
{
    return r->ratio_median <= r->reach;
}

/* ------------------------------------------------------------ table -- */

static void print_number(int width, int digits, double value)
{
    if (value > 0)
        printf(" %*.*f", width, value < 1000 ? digits : 0, value);
    else
        printf(" %*s", width, "-");
}

void report_head(void)
{
    printf("%-50s %-8s %-9s %7s %14s %6s %9s %9s %7s %7s %7s %5s %4s\n", "work",
           "engine", "baseline", "ratio", "min..max", "cpu", "ours us",
           "base us", "p50", "p99", "p99.9", "reach", "met");
}

void report_row(const struct result *r)
{
    struct figures f = figures_of(r);
    char spread[32];

    snprintf(spread, sizeof(spread), "%.2f..%.2f", f.min, f.max);
    printf("%-50s %-8s %-9s", r->row->work, r->row->engine, r->row->baseline);
    print_number(7, 3, r->ratio_median);
    printf(" %14s", spread);
    print_number(6, 2, f.cpu_ratio);
    print_number(9, 2, f.ours_us);
    print_number(9, 2, f.theirs_us);
    print_number(7, 1, f.ours.p50_us);
    print_number(7, 1, f.ours.p99_us);
    print_number(7, 1, f.ours.p999_us);
    print_number(5, 2, r->reach);
    printf(" %4s\n", r->reach <= 0 ? "-" : is_met(r) ? "yes" : "MISS");
    fflush(stdout);
}

/* ------------------------------------------------------------- JSON -- */

static void number(FILE *json, const char *name, double value)
{
    if (value > 0)
        fprintf(json, ",\"%s\":%.4f", name, value);
    else
        fprintf(json, ",\"%s\":null", name);
}

static void one_row(FILE *json, const struct result *r)
{
    struct figures f = figures_of(r);

    fprintf(json,
            "{\"work\":\"%s\",\"engine\":\"%s\",\"baseline\":\"%s\","
            "\"unit\":\"%s\"",
            r->row->work, r->row->engine, r->row->baseline, r->row->unit);
    number(json, "ratio_median", r->ratio_median);
    number(json, "ratio_min", f.min);
    number(json, "ratio_max", f.max);
    number(json, "ours_us", f.ours_us);
    number(json, "baseline_us", f.theirs_us);
    number(json, "cpu_ratio", f.cpu_ratio);
    number(json, "p50_us", f.ours.p50_us);
    number(json, "p99_us", f.ours.p99_us);
    number(json, "p999_us", f.ours.p999_us);
    number(json, "baseline_p50_us", f.theirs.p50_us);
    number(json, "baseline_p99_us", f.theirs.p99_us);
    number(json, "baseline_p999_us", f.theirs.p999_us);
    number(json, "ours_cpu_us", f.ours.cpu_us);
    number(json, "baseline_cpu_us", f.theirs.cpu_us);
    number(json, "reach", r->reach);
    fprintf(json, ",\"met\":%s,\"turns\":%zu}",
            r->reach <= 0 ? "null"
            : is_met(r)   ? "true"
                          : "false",
            r->n);
}

void report_json(FILE *json, const struct result *results, size_t n)
{
    fprintf(json, "[");
    for (size_t i = 0; i < n; i++) {
        fprintf(json, "%s\n ", i == 0 ? "" : ",");
        one_row(json, &results[i]);
    }
    fprintf(json, "\n]\n");
}
