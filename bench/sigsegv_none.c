/* SPDX-License-Identifier: MIT */
/* Stands in for sigsegv.c where GNU libsigsegv is not installed. */
#include <stdio.h>

#include "servers.h"

static bool map(const struct wish *wish, struct memory *ret)
{
    (void)wish;
    (void)ret;
    printf("# built without GNU libsigsegv (Debian: libsigsegv-dev)\n");
    return false;
}

const struct server sigsegv = {.map = map};
