/* SPDX-License-Identifier: MIT */
/* See check.h. Writes with write(2) only: the failure may be in a fault. */
#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void put_number(int number)
{
    char digits[12];
    char *p = digits + sizeof(digits) - 1;

    *p = '\0';
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(p);
}

_Noreturn void check_failed(const char *condition, const char *file, int line,
                            const char *function)
{
    put("ufault: bug: ");
    put(file);
    put(":");
    put_number(line);
    put(": ");
    put(function);
    put(": ");
    put(condition);
    put("\n");
    abort();
}
