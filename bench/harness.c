/* SPDX-License-Identifier: MIT */
/* See harness.h. */
#include "harness.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
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

double bench_median(const struct sample *samples, size_t n, size_t member)
{
    double values[BENCH_REPS_MAX];

    for (size_t i = 0; i < n; i++)
        memcpy(&values[i], (const char *)&samples[i] + member,
               sizeof(values[i]));
    return bench_percentile(values, n, 50);
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

bool bench_in_child(bool (*work)(const struct row *row, struct sample *ret),
                    const struct row *row, struct sample *ret)
{
    int fds[2];
    pid_t pid;
    ssize_t n;

    fflush(stdout);
    if (pipe(fds) < 0)
        return false;
    pid = fork();
    if (pid == 0) {
        n = work(row, ret) ? write(fds[1], ret, sizeof(*ret)) : 0;
        fflush(stdout);
        _exit(n != (ssize_t)sizeof(*ret));
    }
    close(fds[1]);
    n = pid < 0 ? 0 : read(fds[0], ret, sizeof(*ret));
    close(fds[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return n == (ssize_t)sizeof(*ret);
}

double bench_resident_kib(void)
{
    unsigned long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    int n = f ? fscanf(f, "%lu %lu", &total, &resident) : 0;

    if (f)
        fclose(f);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024 : 0;
}

size_t bench_judged(const struct row *row)
{
    return row->judge == BY_P50   ? offsetof(struct sample, p50_us)
           : row->judge == BY_CPU ? offsetof(struct sample, cpu_us)
                                  : offsetof(struct sample, wall_us);
}

static double divide(double ours, double theirs)
{
    return theirs > 0 ? ours / theirs : 0;
}

static bool take_turn(struct result *r, unsigned turn)
{
    const struct row *row = r->row;
    struct sample *ours = &r->ours[r->n], *theirs = &r->theirs[r->n];
    size_t member = bench_judged(row);

    *ours = (struct sample){0};
    *theirs = row->theirs ? *ours : (struct sample){1, 1, 1, 1, 1};
    if (row->theirs && turn % 2 == 0 && !row->theirs(row, theirs))
        return false;
    if (!row->ours(row, ours))
        return false;
    if (row->theirs && turn % 2 != 0 && !row->theirs(row, theirs))
        return false;
    r->ratio[r->n] =
        divide(bench_median(ours, 1, member), bench_median(theirs, 1, member));
    r->n++;
    return true;
}

/* One warm-up turn, then the counted ones. */
static bool measure(struct result *r, unsigned reps)
{
    if (!take_turn(r, 0))
        return false;
    r->n = 0;
    while (r->n < reps)
        if (!take_turn(r, (unsigned)r->n))
            return false;
    r->ratio_median =
        divide(bench_median(r->ours, r->n, bench_judged(r->row)),
               bench_median(r->theirs, r->n, bench_judged(r->row)));
    return true;
}

static bool is_in(const struct row *row, const char *group)
{
    return row->summary == MEASURED && row->group &&
           strcmp(row->group, group) == 0;
}

static double combine(enum summary how, double a, double b)
{
    return how == GEOMETRIC_MEAN ? a + log(b) : b < a ? b : a;
}

/* Turn by turn, and of the medians. False: not all of the group were run. */
static bool summarize(struct result *r, const struct result *results, size_t n,
                      size_t nmembers)
{
    enum summary how = r->row->summary;
    double start = how == GEOMETRIC_MEAN ? 0 : HUGE_VAL, found = 0;

    r->n = BENCH_REPS_MAX;
    r->ratio_median = start;
    for (size_t i = 0; i < BENCH_REPS_MAX; i++)
        r->ratio[i] = start;
    for (size_t i = 0; i < n; i++) {
        const struct result *of = &results[i];

        if (!is_in(of->row, r->row->group))
            continue;
        found++;
        r->n = of->n < r->n ? of->n : r->n;
        r->ratio_median = combine(how, r->ratio_median, of->ratio_median);
        for (size_t t = 0; t < r->n; t++)
            r->ratio[t] = combine(how, r->ratio[t], of->ratio[t]);
    }
    if (how == GEOMETRIC_MEAN && found > 0) {
        r->ratio_median = exp(r->ratio_median / found);
        for (size_t t = 0; t < r->n; t++)
            r->ratio[t] = exp(r->ratio[t] / found);
    }
    return found > 0 && found >= (double)nmembers;
}

/* See row.or_engine. */
static double reach_of(const struct row *row, const struct result *results,
                       size_t n)
{
    double reach = row->reach;

    for (size_t i = 0; row->or_engine && i < n; i++)
        if (strcmp(results[i].row->work, row->work) == 0 &&
            strcmp(results[i].row->engine, row->or_engine) == 0 &&
            results[i].ratio_median > reach)
            reach = results[i].ratio_median;
    return reach;
}

static bool is_wanted(const struct row *row, const char *only)
{
    return !only || strstr(row->work, only) || strstr(row->engine, only) ||
           strstr(row->baseline, only);
}

int bench_run(const struct row *rows, size_t nrows,
              const struct bench_opts *opts)
{
    static struct result results[BENCH_ROWS_MAX];
    FILE *json = opts->json ? fopen(opts->json, "w") : NULL;
    size_t n = 0;

    if (opts->json && !json) {
        perror(opts->json);
        return 1;
    }
    report_head();
    for (size_t i = 0; i < nrows && n < BENCH_ROWS_MAX; i++) {
        struct result *r = &results[n];
        size_t nmembers = 0;

        if (!is_wanted(&rows[i], opts->only))
            continue;
        r->row = &rows[i];
        for (size_t j = 0; rows[i].group && j < nrows; j++)
            nmembers += is_in(&rows[j], rows[i].group);
        if (!(rows[i].summary ? summarize(r, results, n, nmembers)
                              : measure(r, opts->reps))) {
            printf("# %s (%s): not measured\n", rows[i].work, rows[i].engine);
            continue;
        }
        r->reach = reach_of(r->row, results, n);
        report_row(r);
        n++;
    }
    if (json)
        report_json(json, results, n);
    if (json && fclose(json) != 0) {
        perror(opts->json);
        return 1;
    }
    return n == 0;
}
