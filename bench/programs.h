/* SPDX-License-Identifier: MIT */
/* programs: real programs, natively and under `ufault run`. */
#ifndef BENCH_PROGRAMS_H
#define BENCH_PROGRAMS_H

#include "harness.h"

/*
 * Runs a row's program, a shell command in which $RUN is what the program is
 * started under, in a directory with the files of inputs.c: wall and CPU time
 * from start to end, output discarded. `options` of `ufault run`; NULL: $RUN
 * is nothing. False, said why: it does not end with 0.
 */
bool program_run(const struct row *row, const char *options,
                 struct sample *ret);

/* Makes the files, once, and goes to where they are. */
bool program_inputs(void);

/* Runs argv with its output discarded. */
bool program_spawn(char *const argv[], struct sample *ret);

#endif
