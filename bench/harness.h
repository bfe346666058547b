/* SPDX-License-Identifier: MIT */
/*
 * harness: speed as a ratio, measured side by side.
 *
 * These machines are shared and their clocks tell little on their own, so a row
 * is never a time: it is our time over a baseline's for the same work. Both
 * run in turn, several times, in one process and one run, and change places
 * every turn. What disturbs a turn disturbs both halves of it. The row is the
 * median of ours over the median of theirs; beside it stand the smallest and
 * the largest ratio within one turn.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define BENCH_REPS_MAX 63
#define BENCH_ROWS_MAX 128

/* What one run of one side came to. */
struct sample {
    double wall_us; /* per unit of work */
    double cpu_us;  /* of all threads and children, per unit of work */
    double p50_us;  /* of single touches; 0: not measured */
    double p99_us;
    double p999_us;
};

/* What the ratio of a row is of. */
enum judge { BY_WALL, BY_CPU, BY_P50 };

/* Rows that are not measured: made from the ratios of the rows of a group. */
enum summary { MEASURED, GEOMETRIC_MEAN, SMALLEST };

struct touch;

struct row {
    const char *work;
    const char *engine;
    const char *baseline;
    const char *unit; /* what the times are per */
    double reach;     /* the ratio to stay at or below; 0: none */
    /* Where the same work's ratio on this engine, in an earlier row, is larger
     * than `reach`, it is the reach. NULL: `reach` is. */
    const char *or_engine;
    enum judge judge;
    enum summary summary;
    const char *group; /* of a summary, and of the rows that it is made from */
    /* Does the work once. False: cannot be run here (reason printed). */
    bool (*ours)(const struct row *row, struct sample *ret);
    /* NULL: the row is an absolute value, and reach is in its unit. */
    bool (*theirs)(const struct row *row, struct sample *ret);
    size_t len_bytes; /* parameters of the work */
    unsigned window;
    const char *program;
    const struct touch *touch;
};

/* All turns of a row. */
struct result {
    const struct row *row;
    struct sample ours[BENCH_REPS_MAX], theirs[BENCH_REPS_MAX];
    double ratio[BENCH_REPS_MAX]; /* within a turn */
    size_t n;
    double ratio_median; /* of medians */
    double reach;        /* 0: none */
};

struct bench_opts {
    unsigned reps;
    const char *only; /* substring of work, engine or baseline; NULL: all */
    const char *json; /* file, or NULL */
};

/* Runs the rows that are asked for; prints the table. 0, or 1 if none ran. */
int bench_run(const struct row *rows, size_t nrows,
              const struct bench_opts *opts);

/* For samples: now, and CPU time of this process and its ended children. */
double bench_wall_us(void);
double bench_cpu_us(void);

/* The value of rank `percent` among n values; sorts them. */
double bench_percentile(double *values, size_t n, double percent);

/* Median over the turns of a member of their samples, by its offset. */
double bench_median(const struct sample *samples, size_t n, size_t member);

/* The member of a sample that the row's ratio is of, by its offset. */
size_t bench_judged(const struct row *row);

/* Binds the calling thread to one CPU; -1: to all it may use. */
void bench_bind(int cpu);

/* The work in a forked child, so that it finds a fresh process. */
bool bench_in_child(bool (*work)(const struct row *row, struct sample *ret),
                    const struct row *row, struct sample *ret);

/* What this process has resident, in KiB. */
double bench_resident_kib(void);

/* report.c: the table and the JSON array. */
void report_head(void);
void report_row(const struct result *result);
void report_json(FILE *json, const struct result *results, size_t n);

extern const struct row touch_rows[], huge_rows[], peer_rows[], pinned_rows[],
    thread_rows[], resident_rows[], part_rows[], idle_rows[], map_rows[],
    beside_rows[], program_rows[], mapped_rows[], file_rows[], clone_rows[],
    cold_rows[], image_rows[], checkpoint_rows[];
extern const size_t touch_nrows, huge_nrows, peer_nrows, pinned_nrows,
    thread_nrows, resident_nrows, part_nrows, idle_nrows, map_nrows,
    beside_nrows, program_nrows, mapped_nrows, file_nrows, clone_nrows,
    cold_nrows, image_nrows, checkpoint_nrows;

/* wasm.c; none where there are no guests. */
extern const struct row wasm_rows[];
extern const size_t wasm_nrows;

#endif
