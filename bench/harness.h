/* SPDX-License-Identifier: MIT */
/*
 * harness: speed as a ratio, measured side by side.
 *
 * These machines are shared and their clocks tell little on their own, so a row
 * is never a time: it is our time over a baseline's for the same work. Both
 * run in turn, several times, in one process and one run; the ratio is taken
 * within each turn, and the row is the median of the turns with the smallest
 * and the largest beside it. What disturbs a turn disturbs both halves of it.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_REPS_MAX 63

/* What one run of one side came to. */
struct sample {
    double wall_us; /* per unit of work */
    double cpu_us;  /* of all threads and children, per unit of work */
    double p50_us;  /* of single touches; 0: not measured */
    double p99_us;
};

struct row {
    const char *work;
    const char *engine;
    const char *baseline;
    const char *unit; /* what wall_us is per */
    double reach;     /* the ratio to stay at or below; 0: none */
    /* Does the work once. False: cannot be run here (reason printed). */
    bool (*ours)(const struct row *row, struct sample *ret);
    /* NULL: the row is an absolute value, and reach is in its unit. */
    bool (*theirs)(const struct row *row, struct sample *ret);
    size_t len_bytes; /* parameters of the work */
    unsigned window;
    const char *program;
};

struct bench_opts {
    unsigned reps;
    bool quick;
    const char *only; /* substring of work or engine; NULL: all */
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

/* Binds the calling thread to one CPU; -1: to all it may use. */
void bench_bind(int cpu);

/* Runs argv with its output discarded. False, said why: it does not end with 0.
 */
bool bench_run_program(char *const argv[], struct sample *ret);

extern const struct row touch_rows[], part_rows[], idle_rows[], map_rows[],
    beside_rows[], program_rows[], mapped_rows[];
extern const size_t touch_nrows, part_nrows, idle_nrows, map_nrows,
    beside_nrows, program_nrows, mapped_nrows;

#endif
