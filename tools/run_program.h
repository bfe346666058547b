/* SPDX-License-Identifier: MIT */
/*
 * run_program: which file a program's name means, and whether its heap can be
 * served.
 *
 * It can if the dynamic loader that loads us loads it. Static programs have
 * none; set-uid programs and those with file capabilities have one that loads
 * nothing by the environment; programs of another word size or another libc
 * cannot take our library. Better to say so than to run them unserved.
 */
#ifndef UF_TOOLS_RUN_PROGRAM_H
#define UF_TOOLS_RUN_PROGRAM_H

#include <limits.h>

/* Finds `name` as execvp(3) does. 0, or the status to exit with, said why. */
int run_program_find(const char *name, char ret_path[PATH_MAX]);

/* Looks at the file, and for scripts at what runs them. The same. */
int run_program_check(const char *path);

#endif
