/* SPDX-License-Identifier: MIT */
/* lines: a text file of the kernel's, line by line, without malloc. */
#ifndef UF_HOST_LINES_H
#define UF_HOST_LINES_H

#include <stddef.h>

#define LINES_BYTES 32768

struct lines {
    int fd;
    char *at; /* unread: [at, end) */
    char *end;
    char buffer[LINES_BYTES];
};

/* 0 or -errno. */
int lines_open(struct lines *lines, const char *path);
void lines_close(struct lines *lines);

/* The next line without its newline, valid until the next call; NULL at the
 * end. A line that is longer than the buffer comes in pieces. */
char *lines_next(struct lines *lines);

#endif
