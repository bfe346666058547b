/* SPDX-License-Identifier: MIT */
/*
 * start.c: what all guests have in common: their doors to the host.
 */
#include <unistd.h>

#include "guest.h"

IMPORT(attempt) void host_attempt(attempted f, void *a, void *b);
IMPORT(give_up) _Noreturn void host_give_up(void);

EXPORT(warm) void guest_warm(void)
{
    warm();
}

EXPORT(serve) void guest_serve(void)
{
    serve();
}

/* The host comes back through here: it knows f by its number alone. */
EXPORT(call) void guest_call(attempted f, void *a, void *b)
{
    f(a, b);
}

EXPORT(attempt) void attempt(attempted f, void *a, void *b)
{
    host_attempt(f, a, b);
}

void give_up(void)
{
    host_give_up();
}

size_t request(void *buffer, size_t max_bytes)
{
    size_t len = 0;
    ssize_t n;

    while (len < max_bytes &&
           (n = read(0, (char *)buffer + len, max_bytes - len)) > 0)
        len += (size_t)n;
    return len;
}

void answer(const void *bytes, size_t len_bytes)
{
    write(1, bytes, len_bytes);
}
