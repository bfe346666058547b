/* SPDX-License-Identifier: MIT */
/* file: the file that rows of stores read; made once, in /tmp. */
#ifndef BENCH_FILE_H
#define BENCH_FILE_H

#include "touch.h"

#define FILE_BYTES (256 * MIB)

/* A descriptor; its bytes are in the page cache. -1: said why. */
int file_made(void);

#endif
