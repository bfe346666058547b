/* SPDX-License-Identifier: MIT */
/*
 * run_launch: starts the first program under the filter and stands in for it.
 *
 * To whoever started it, ufault behaves as the program: signals sent to it are
 * passed on, those of the terminal reach both and only the program acts on
 * them, it stops when the terminal stops the program, and it ends as the
 * program ended.
 */
#ifndef UF_TOOLS_RUN_LAUNCH_H
#define UF_TOOLS_RUN_LAUNCH_H

#include <stdint.h>
#include <sys/resource.h>

#include "run_options.h"
#include "run_session.h"

struct run_end {
    int status;          /* as wait(2) gives it */
    struct rusage usage; /* with the children that it waited for */
    uint64_t wall_ns;
};

/* Runs the program at `path` to its end. -1, or the status to exit with if it
 * could not be started, said why. */
int run_launch(const struct run_options *options, const char *path,
               const struct session *session, struct run_end *ret);

/* Ends this process as the program ended: with its code, or by its signal. */
_Noreturn void run_end_alike(const struct run_end *end);

#endif
