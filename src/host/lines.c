/* SPDX-License-Identifier: MIT */
/* See lines.h. */
#include "host/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

int lines_open(struct lines *lines, const char *path)
{
    lines->fd = open(path, O_RDONLY | O_CLOEXEC);
    lines->at = lines->end = lines->buffer;
    return lines->fd < 0 ? -errno : 0;
}

void lines_close(struct lines *lines)
{
    if (lines->fd >= 0)
        close(lines->fd);
    lines->fd = -1;
}

/* Reads more behind what is there. False at the end, or when it is full. */
static bool refill(struct lines *lines)
{
    size_t left = (size_t)(lines->end - lines->at);
    ssize_t n;

    memmove(lines->buffer, lines->at, left);
    lines->at = lines->buffer;
    lines->end = lines->buffer + left;
    /* One byte stays for a NUL. */
    do
        n = read(lines->fd, lines->end, LINES_BYTES - 1 - left);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    lines->end += n;
    return true;
}

char *lines_next(struct lines *lines)
{
    char *line, *newline;

    for (;;) {
        newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
        if (newline || !refill(lines))
            break;
    }
    if (lines->at == lines->end)
        return NULL;
    line = lines->at;
    if (!newline)
        newline = lines->end;
    lines->at = newline < lines->end ? newline + 1 : lines->end;
    *newline = '\0';
    return line;
}
