/* SPDX-License-Identifier: MIT */
/* io_list: requests in a row, first in, first out, linked through themselves.
 * All zeros is an empty one. */
#ifndef UF_STORE_IO_LIST_H
#define UF_STORE_IO_LIST_H

#include "store/store.h"

struct io_list {
    struct store_io *first, *last;
    unsigned n;
};

static inline void io_list_append(struct io_list *list, struct store_io *io)
{
    io->next = NULL;
    if (list->n++ == 0)
        list->first = io;
    else
        list->last->next = io;
    list->last = io;
}

/* The first, or NULL. */
static inline struct store_io *io_list_take(struct io_list *list)
{
    struct store_io *io = list->n > 0 ? list->first : NULL;

    if (io) {
        list->first = io->next;
        list->n--;
    }
    return io;
}

#endif
