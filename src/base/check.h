/* SPDX-License-Identifier: MIT */
/*
 * check: assertions at three levels of cost.
 *
 * CHECK_LEVEL 0 (release): nothing is checked. 1 (default): conditions that
 * cost a compare. 2 (presets dev, asan, tsan): whole-structure validators after
 * every mutation, and lock ranks. A failed check is a bug in ufault, never a
 * user's mistake: users' mistakes are answered with -errno.
 */
#ifndef UF_BASE_CHECK_H
#define UF_BASE_CHECK_H

#ifndef CHECK_LEVEL
#define CHECK_LEVEL 1
#endif

/* Prints the failed condition to stderr without malloc or stdio, then aborts.
 */
_Noreturn void check_failed(const char *condition, const char *file, int line,
                            const char *function);

#define CHECK_AT(level, cond)                                                  \
    do {                                                                       \
        if (CHECK_LEVEL >= (level) && !(cond))                                 \
            check_failed(#cond, __FILE__, __LINE__, __func__);                 \
    } while (0)

/* One compare: kept in all but release builds. */
#define CHECK(cond) CHECK_AT(1, cond)
/* A walk over a structure: kept in checking builds only. */
#define CHECK_DEEP(cond) CHECK_AT(2, cond)

#endif
